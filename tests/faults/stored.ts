import { type Answer, type Stored, unread } from "./compare.ts";
import { type Meter, type MetricName, metricNames } from "./meters.ts";
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

export type Missing = { gateway: string; meter: Meter; metric: MetricName; answer: Answer };

/** Looks for answers in the store, and remembers from where on it has to look. */
export type StoreSearch = ReturnType<typeof storeSearch>;

export function storeSearch(world: World) {
  const fromMs = new Map<string, number>();

  async function missingOf(gateway: WorldGateway, meter: Meter, metric: MetricName, since: number, until: number) {
    const answers = meter.answers()[metric];
    const wanted = answers.filter(({ servedMs }) => servedMs >= since && servedMs <= until);
    const key = `${meter.entity}/${metric}`;
    const rows = await storedOf(world, meter, metric, fromMs.get(key));
    const values = new Set(rows.map(({ value }) => value));
    const left = unread(answers, gateway.killsMs);
    return wanted
      .filter((answer) => !values.has(answer.value) && !left.has(answer))
      .map((answer): Missing => ({ gateway: gateway.id, meter, metric, answer }));
  }

  return {
    /** Answers of a time that are not stored, but for those that were never read. */
    missing: async (since: number, until: number, gateways: readonly WorldGateway[] = world.gateways) => {
      const found: Missing[] = [];
      for (const gateway of gateways) {
        for (const meter of gateway.meters) {
          for (const metric of metricNames) found.push(...(await missingOf(gateway, meter, metric, since, until)));
        }
      }
      return found;
    },
    /** Everything so far is stored: what comes is later. */
    advance: async (): Promise<void> => {
      for (const { meters } of world.gateways) {
        for (const meter of meters) {
          for (const metric of metricNames) {
            const key = `${meter.entity}/${metric}`;
            const newest = (await storedOf(world, meter, metric, fromMs.get(key))).at(-1);
            if (newest) fromMs.set(key, newest.atMs - 60_000);
          }
        }
      }
    },
  };
}

/** Whether everything that a gateway has read since a time is stored. */
export async function allStored(world: World, gateway: WorldGateway, sinceMs: number): Promise<boolean> {
  return (await storeSearch(world).missing(sinceMs, Date.now(), [gateway])).length === 0;
}
