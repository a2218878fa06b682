import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { Stored } from "./compare.ts";
import { type Meter, type MetricName, pointName } from "./meters.ts";
import type { World, WorldGateway } from "./world.ts";

const dayMs = 86_400_000;
const page = 5000;

/** The stored readings of one metric, by source time, each as often as the store gives it. */
export async function storedOf(
  world: World,
  { entity }: Meter,
  metric: MetricName,
  fromMs = Date.now() - dayMs,
): Promise<Stored[]> {
  const found: Stored[] = [];
  const path = `/open/v1/readings?device=${entity}&metric=${metric}&from=${fromMs}&to=${Date.now() + dayMs}&limit=${page}`;
  for (let cursor: string | null = ""; cursor !== null; ) {
    const answer: { readings: { time: string; value: string | null; quality: string }[]; next: string | null } =
      await world.get(cursor === "" ? path : `${path}&cursor=${cursor}`);
    for (const { time, value, quality } of answer.readings) {
      if (quality !== "bad") found.push({ atMs: Date.parse(time), value: value ?? "" });
    }
    cursor = answer.next;
  }
  return found;
}

/** By how much the gateway's clock was before the platform's (behind, where negative) when readings were written, ms, of those stored since. */
export async function clockSkewsMs(world: World, { entity }: Meter, sinceMs: number): Promise<number[]> {
  const now = Date.now();
  const path = `/open/v1/readings?device=${entity}&metric=${pointName}&from=${now - dayMs}&to=${now + dayMs}&limit=${page}`;
  const found: number[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const answer: { readings: { gatewayTime: string; ingestTime: string }[]; next: string | null } = await world.get(
      cursor === "" ? path : `${path}&cursor=${cursor}`,
    );
    for (const { gatewayTime, ingestTime } of answer.readings) {
      const arrivedMs = Date.parse(ingestTime);
      if (arrivedMs >= sinceMs) found.push(Date.parse(gatewayTime) - arrivedMs);
    }
    cursor = answer.next;
  }
  return found;
}

/** Looks for answers in the store, and remembers from where on it has to look. */
export type StoreSearch = ReturnType<typeof storeSearch>;

/** @param perCall how many series are asked for in one call of `missing`: those not asked for longest, of the others what is known counts */
export function storeSearch(world: World, perCall = Number.POSITIVE_INFINITY) {
  const fromMs = new Map<string, number>();
  /** Values seen stored, and the newest source time, by series: nothing that is stored is asked for again. */
  const seen = new Map<string, { values: Set<string>; newestMs: number | undefined; askedTurn: number }>();
  let turn = 0;

  function wantedOf(gateway: WorldGateway, meter: Meter, metric: MetricName, since: number, until: number) {
    const answers = meter.answers()[metric];
    const left = meter.unread(answers, gateway.killsMs);
    const key = `${meter.entity}/${metric}`;
    const known = getOrMake(seen, key, () => ({ values: new Set<string>(), newestMs: undefined, askedTurn: 0 }));
    const wanted = answers.filter((one) => one.servedMs >= since && one.servedMs <= until && !left.has(one));
    const missing = () => wanted.filter(({ value }) => !known.values.has(value));
    const ask = async (): Promise<void> => {
      turn += 1;
      known.askedTurn = turn;
      const rows = await storedOf(world, meter, metric, fromMs.get(key));
      for (const { value } of rows) known.values.add(value);
      known.newestMs = rows.at(-1)?.atMs ?? known.newestMs;
    };
    return { gateway: gateway.id, meter, metric, known, missing, ask };
  }

  return {
    /** Answers of a time that are not stored, but for those that were never read. */
    missing: async (since: number, until: number, gateways: readonly WorldGateway[] = world.gateways) => {
      const all = gateways.flatMap((gateway) =>
        gateway.meters.flatMap((meter) => meter.metrics.map((name) => wantedOf(gateway, meter, name, since, until))),
      );
      const open = all.filter(({ missing }) => missing().length > 0);
      open.sort((a, b) => a.known.askedTurn - b.known.askedTurn);
      for (const { ask } of open.slice(0, perCall)) await ask();
      return open.flatMap(({ gateway, meter, metric, missing }) =>
        missing().map((answer) => ({ gateway, meter, metric, answer })),
      );
    },
    /** Everything so far is stored: what comes is later. */
    advance: (): void => {
      for (const [key, { newestMs }] of seen) if (newestMs !== undefined) fromMs.set(key, newestMs - 60_000);
    },
  };
}

/** Whether everything that a gateway has read since a time is stored. */
export async function allStored(world: World, gateway: WorldGateway, sinceMs: number): Promise<boolean> {
  return (await storeSearch(world).missing(sinceMs, Date.now(), [gateway])).length === 0;
}
