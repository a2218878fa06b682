import { demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import type { Cluster } from "./cluster.ts";
import { type Followed, followedPoints } from "./followed.ts";
import { increases, type Matching, type Stored, sums, totals, written, writtenCoal } from "./oracle.ts";
import { expectedRatios, type Line } from "./verify-ratios.ts";

const minuteMs = 60_000;
const hourMs = 3_600_000;
const page = 5000;
type FigureJson = {
  start: string;
  entity: string;
  value: string | null;
  status: string;
  completeness: number | null;
  unit: string;
};

export type Verdict = {
  series: number;
  served: number;
  stored: number;
  /** Changes that OPC UA servers told; of these, stored later than at their source time. */
  told: number;
  moved: number;
  unexplained: string[];
  missing: { point: string; gateway: string; protocol: Followed["protocol"]; timeMs: number }[];
  /** Figures that differ from the oracle's, as text; empty when all are equal. */
  wrong: string[];
  minutes: number;
  hours: number;
  days: number;
  /** Rollovers met on the way. */
  turns: number;
  /** Hours and days that were told as final, and those that were not, as text. */
  finals: number;
  open: string[];
};

/** Every page of an answer. */
async function all<T>(cluster: Cluster, path: string, key: string): Promise<T[]> {
  const found: T[] = [];
  for (let cursor: string | null = null; ; ) {
    const answer: Record<string, unknown> = await cluster.get(
      `${path}&limit=${page}${cursor ? `&cursor=${cursor}` : ""}`,
    );
    found.push(...(answer[key] as T[]));
    cursor = (answer.next ?? null) as string | null;
    if (cursor === null) return found;
  }
}

type Range = { fromMs: number; toMs: number };
/** Hours and days are compared that ended by `finalMs`. */
type FinalRange = Range & { finalMs: number };

/** One point's path: served by the plant, stored by the platform, reading by reading. */
async function follow(
  cluster: Cluster,
  device: string,
  point: Followed,
  { fromMs, toMs }: Range,
  verdict: Verdict,
): Promise<Matching> {
  const served = point.served(toMs);
  const path = `/open/v1/readings?device=${device}&metric=${point.metric}&from=${fromMs}&to=${toMs}`;
  const rows = await all<{ time: string; value: string | null; quality: string }>(cluster, path, "readings");
  const stored: Stored[] = rows
    .filter((r) => r.quality !== "bad")
    .map((r) => ({ atMs: Date.parse(r.time), value: r.value ?? "" }));
  const found = point.match(served, stored);
  verdict.series += 1;
  verdict.served += served.length;
  verdict.stored += stored.length;
  if ("told" in found) {
    verdict.told += found.told;
    verdict.moved += found.moved;
  }
  verdict.unexplained.push(
    ...found.unexplained.map((s) => `${device} ${point.name} ${new Date(s.atMs).toISOString()} ${s.value}`),
  );
  const gateway = device.split("/")[1] as string;
  // The last answers may still be on their way to the store.
  verdict.missing.push(
    ...found.missing
      .filter((m) => m.timeMs < toMs - minuteMs)
      .map(({ timeMs }) => ({ point: `${device} ${point.name}`, gateway, protocol: point.protocol, timeMs })),
  );
  return found;
}

/** Borders of the periods that the range touches at its start and that have ended by its end; days begin at midnight of UTC+8. */
function edgesOf({ fromMs, toMs }: Range, stepMs: number): number[] {
  const offsetMs = 8 * hourMs;
  const first = Math.floor((fromMs + offsetMs) / stepMs) * stepMs - offsetMs;
  return Array.from({ length: Math.max(0, Math.floor((toMs - first) / stepMs) + 1) }, (_, i) => first + i * stepMs);
}

function texts(units: readonly (bigint | null)[], write: (units: bigint) => string = written): (string | null)[] {
  return units.map((each) => (each === null ? null : write(each)));
}

async function compare(
  cluster: Cluster,
  query: string,
  expected: readonly (string | null)[],
  edges: readonly number[],
  verdict: Verdict,
): Promise<number> {
  const figures = await all<FigureJson>(
    cluster,
    `/open/v1/metrics?${query}&from=${edges[0]}&to=${edges.at(-1)}`,
    "figures",
  );
  const byStart = new Map(figures.map((f) => [Date.parse(f.start), f]));
  for (const [i, value] of expected.entries()) {
    const figure = byStart.get(edges[i] as number);
    if ((figure?.value ?? null) !== value) {
      const at = new Date(edges[i] as number).toISOString();
      verdict.wrong.push(`${query} ${at}: ${figure?.value} (${figure?.status}), expected ${value}`);
    }
    if (query.includes("period=minute")) continue;
    if (figure && figure.status !== "provisional") verdict.finals += 1;
    else verdict.open.push(`${query} ${new Date(edges[i] as number).toISOString()}: ${figure?.status}`);
  }
  return expected.length;
}

/** The plant's own counter from its first to its last reading: the truth's registers at these moments. */
function checkTruth({ name, modulus, truthAt }: Followed, found: Matching, total: bigint, verdict: Verdict): void {
  const first = found.readings[0];
  const last = found.readings.at(-1);
  if (!first || !last) return;
  let truth = truthAt(last.servedMs) - truthAt(first.servedMs);
  while (modulus !== undefined && truth < 0n) truth += modulus;
  if (truth !== total) verdict.wrong.push(`${name}: first to last ${written(total)}, the plant says ${written(truth)}`);
}

/**
 * Follows every exact point of every plant from the plant to the interface, and computes every counter's minutes and hours anew.
 * @param range plant time; everything served before `toMs` must have had time to arrive
 */
export async function verify(cluster: Cluster, range: FinalRange): Promise<Verdict> {
  const verdict: Verdict = {
    series: 0,
    served: 0,
    stored: 0,
    told: 0,
    moved: 0,
    unexplained: [],
    missing: [],
    wrong: [],
    minutes: 0,
    hours: 0,
    days: 0,
    turns: 0,
    finals: 0,
    open: [],
  };
  const minutes = edgesOf(range, minuteMs);
  const ended = { ...range, toMs: Math.min(range.toMs, range.finalMs) };
  const hours = edgesOf(ended, hourMs);
  const days = edgesOf(ended, 24 * hourMs);
  const whole = { fromMs: range.fromMs, toMs: range.toMs + 2 * minuteMs };
  const lines: Line[] = [];
  for (const [i, plant] of cluster.simulator.plants.entries()) {
    const demo = demoPlants[i] as (typeof demoPlants)[number];
    const { factory, gateway } = demo;
    for (const point of followedPoints(plant, demo)) {
      const device = `${factory}/${gateway}/${point.device}`;
      const found = await follow(cluster, device, point, whole, verdict);
      if (!point.counter || !/^(energy|production|inspection)\./.test(point.role)) continue;
      const line = totals(found.readings, point.modulus);
      verdict.turns += found.readings.filter((r, n) => r.units < (found.readings[n - 1]?.units ?? r.units)).length;
      const query = `indicator=${point.role}&level=device&entity=${device}`;
      const perMinute = increases(line, minutes);
      const perHour = increases(line, hours);
      verdict.minutes += await compare(cluster, `${query}&period=minute`, texts(perMinute), minutes, verdict);
      verdict.hours += await compare(cluster, `${query}&period=hour`, texts(perHour), hours, verdict);
      verdict.days += await compare(cluster, `${query}&period=day`, texts(increases(line, days)), days, verdict);
      const last = line.at(-1)?.total ?? 0n;
      checkTruth(point, found, last - (line[0]?.total ?? 0n), verdict);
      lines.push({ factory, device: point.device, role: point.role, line });
    }
  }
  await verifySites(cluster, lines, { minute: minutes, hour: hours, day: days }, verdict);
  return verdict;
}

/** The energy of every factory, enterprise and the cluster: the sums of their incoming meters, in kWh and in kgce. */
async function verifySites(
  cluster: Cluster,
  lines: readonly Line[],
  edges: Record<"minute" | "hour" | "day", number[]>,
  verdict: Verdict,
): Promise<void> {
  const factories = demoPlants.map(({ factory }) => factory);
  const sites = [
    ...factories.map((factory) => ({ level: "factory", entity: factory, of: [factory] })),
    { level: "enterprise", entity: "xinghua", of: ["xinghua-casting", "xinghua-rolling"] },
    { level: "enterprise", entity: "nanling", of: ["nanling-extrusion"] },
    { level: "cluster", entity: "yuebei-nonferrous", of: factories },
  ];
  for (const { level, entity, of } of sites) {
    const own = lines.filter(({ factory }) => of.includes(factory));
    const meters = own.filter(({ device }) => device === "incoming-meter");
    for (const period of ["minute", "hour", "day"] as const) {
      const energy = sums(meters.map(({ line }) => increases(line, edges[period])));
      const query = (indicator: string) => `indicator=${indicator}&level=${level}&entity=${entity}&period=${period}`;
      const ask = (indicator: string, expected: readonly (string | null)[]) =>
        compare(cluster, query(indicator), expected, edges[period], verdict);
      verdict[`${period}s`] +=
        (await ask("energy.electricity", texts(energy))) +
        (await ask("energy.comprehensive", texts(energy, writtenCoal)));
      const ratios = expectedRatios(own, edges[period]);
      for (const [i, { indicator, periods }] of (ratios[0] ?? []).entries()) {
        if (!periods.includes(period)) continue;
        verdict[`${period}s`] += await ask(
          indicator,
          ratios.map((found) => found[i]?.value ?? null),
        );
      }
    }
  }
}

/** The counts of the whole cluster in every minute, hour and day of a range in which everything was connected. */
export async function verifyCounts(cluster: Cluster, range: Range, counts: Record<string, string>): Promise<string[]> {
  const wrong: string[] = [];
  for (const [indicator, value] of Object.entries(counts)) {
    for (const [period, lengthMs] of [
      ["minute", minuteMs],
      ["hour", hourMs],
      ["day", 24 * hourMs],
    ] as const) {
      const edges = edgesOf(range, lengthMs);
      if (edges.length < 2) continue;
      const query = `indicator=${indicator}&level=cluster&period=${period}&from=${edges[0]}&to=${edges.at(-1)}`;
      const figures = await all<FigureJson>(cluster, `/open/v1/metrics?${query}`, "figures");
      if (figures.length !== edges.length - 1) wrong.push(`${query}: ${figures.length} figures`);
      wrong.push(
        ...figures.filter((f) => f.value !== value).map((f) => `${query} ${f.start}: ${f.value}, expected ${value}`),
      );
    }
  }
  return wrong;
}
