import { storedGauge } from "@jilian/domain/gauge-leaf.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { CounterLeaf } from "@jilian/domain/leaf.ts";
import { append } from "@jilian/domain/lists.ts";
import { minuteMs, periodStart } from "@jilian/domain/periods.ts";
import { between, type Readings, seek } from "@jilian/store/columns/readings.ts";
import type {
  ChangedMinute,
  ConnectionRow,
  LeafRow,
  OnlineQuery,
  SeriesId,
  Telemetry,
  Window,
} from "@jilian/store/telemetry.ts";
import { foldCounter, longestGapMs } from "./counter.ts";
import { foldGauge } from "./gauge.ts";
import { cut, runsOf, steps } from "./runs.ts";
import type { Fold } from "./series-folds.ts";
import type { OnlineDevice, SeriesIndex } from "./series-index.ts";

/** Minutes of readings that are held at once, at most (one run of minutes is never split). */
const minutesAtOnce = 5000;
/** Windows of an hour that are held at once. */
const windowsAtOnce = 100;

/** A run of changed minutes of one series, with its first and last new source time. */
type Run = { series: SeriesId; fromMs: number; toMs: number; firstMs: number; lastMs: number };

function runsBySeries(changed: readonly ChangedMinute[]): Run[] {
  const bySeries = new Map<SeriesId, Map<number, ChangedMinute>>();
  for (const change of changed) getOrMake(bySeries, change.series, () => new Map()).set(change.minuteMs, change);
  return [...bySeries].flatMap(([series, byMinute]) =>
    runsOf(byMinute.keys(), minuteMs).map(({ fromMs, toMs }) => {
      const firstMs = (byMinute.get(fromMs) as ChangedMinute).firstMs;
      const lastMs = (byMinute.get(toMs - minuteMs) as ChangedMinute).lastMs;
      return { series, fromMs, toMs, firstMs, lastMs };
    }),
  );
}

/** Cuts runs into parts of bounded length. */
function* partsOf(runs: readonly Run[]): Generator<Run[]> {
  let part: Run[] = [];
  let minutes = 0;
  for (const run of runs) {
    const length = (run.toMs - run.fromMs) / minuteMs;
    if (part.length > 0 && minutes + length > minutesAtOnce) {
      yield part;
      part = [];
      minutes = 0;
    }
    part.push(run);
    minutes += length;
  }
  if (part.length > 0) yield part;
}

/**
 * The minutes that new readings can change: from their predecessor's minute to their successor's (CONTRACTS 4). Of a neighbour that is too
 * far away to be one, only the minute in which that is noted.
 */
export function reach({ columns, first, end }: Readings, { series, firstMs, lastMs }: Run): Window[] {
  const times = columns.sourceMs;
  const [low, high] = [seek(times, first, end, firstMs) - 1, seek(times, first, end, lastMs + 1)];
  const before = low >= first ? (times[low] as number) : firstMs;
  const after = high < end ? (times[high] as number) : lastMs;
  const window = (fromMs: number, toMs: number): Window => ({
    series,
    fromMs: periodStart("minute", fromMs),
    toMs: periodStart("minute", toMs) + minuteMs,
  });
  const fromMs = firstMs - before > longestGapMs ? firstMs - 1 : before;
  if (after - lastMs <= longestGapMs) return [window(fromMs, after)];
  return [window(fromMs, lastMs), window(after - 1, after)];
}

type Span = { window: Window; readings: Readings };
/** Of a window: what is known by readings that are at hand, and what others have to be read for. */
type Parts = { near: Window[]; far: Window[] };

/**
 * Parts a window where it reaches beyond what was read: nothing lies between that and the neighbour, so that all is known of every minute but
 * the neighbour's own.
 */
function partsAt(read: Window, window: Window): Parts {
  const { series, fromMs, toMs } = window;
  if (fromMs >= read.toMs || toMs <= read.fromMs) return { near: [], far: [window] };
  const edges = [fromMs < read.fromMs ? fromMs + minuteMs : fromMs, toMs > read.toMs ? toMs - minuteMs : toMs] as const;
  const pieces = [
    { series, fromMs, toMs: edges[0] },
    { series, fromMs: edges[1], toMs },
  ];
  return {
    near: [{ series, fromMs: edges[0], toMs: edges[1] }],
    far: pieces.filter((piece) => piece.toMs > piece.fromMs),
  };
}

/**
 * What is left of the parts of a window between those that other runs of the same series fold: what lies between two sparse readings is
 * reached by both, and would be folded twice.
 * @param fromMs up to there everything is folded by the runs before
 * @param toMs from there on the next run folds
 */
function betweenRuns({ near, far }: Parts, fromMs: number, toMs: number): Parts {
  const own = near.map((one) => ({ ...one, fromMs: Math.max(one.fromMs, fromMs), toMs: Math.min(one.toMs, toMs) }));
  return {
    near: own.filter((one) => one.toMs > one.fromMs),
    far: far.filter((one) => one.toMs > fromMs && one.fromMs < toMs),
  };
}

/** The spans that runs of changed minutes reach, each with the readings that it depends on. @param runs those of a series in order */
async function spansOf(telemetry: Telemetry, runs: readonly Run[]): Promise<Span[]> {
  const wide = runs.map(
    ({ series, fromMs, toMs }): Window => ({ series, fromMs: fromMs - minuteMs, toMs: toMs + minuteMs }),
  );
  const read = await telemetry.readWithNeighbours(wide);
  const spans: Span[] = [];
  const distant: Window[] = [];
  let doneMs = 0;
  for (const [i, run] of runs.entries()) {
    const readings = read[i] as Readings;
    const next = runs[i + 1];
    if (runs[i - 1]?.series !== run.series) doneMs = 0;
    const nextMs = next?.series === run.series ? next.fromMs : Number.POSITIVE_INFINITY;
    let untilMs = doneMs;
    for (const window of reach(readings, run)) {
      const { near, far } = betweenRuns(partsAt(wide[i] as Window, window), doneMs, nextMs);
      append(distant, far);
      for (const own of near) spans.push({ window: own, readings });
      untilMs = Math.max(untilMs, Math.min(window.toMs, nextMs));
    }
    doneMs = untilMs;
  }
  const found = await telemetry.readWithNeighbours(distant);
  return [...spans, ...distant.map((window, i) => ({ window, readings: found[i] as Readings }))];
}

/** Folds minutes that are of one fold; of a gauge into the columns in which the store keeps its leaves (domain/gauge-leaf.ts). */
function foldPiece({ counter, gauge }: Fold, readings: Readings, fromMs: number, toMs: number): CounterLeaf[] {
  if (counter) return foldCounter(readings, counter, fromMs, toMs);
  return gauge ? foldGauge(readings, gauge, fromMs, toMs).map(storedGauge) : [];
}

/** Folds a window of a series, in the minutes in which it is a counter or a gauge. */
function foldWindow(index: SeriesIndex, { series, fromMs, toMs }: Window, readings: Readings): LeafRow[] {
  const folds = index.foldsOf(series);
  return cut(folds, fromMs, toMs).flatMap((piece) => {
    const { of: fold } = piece;
    const own = folds.length === 1 ? readings : between(readings, fold.sinceMs, fold.untilMs);
    const leaves = foldPiece(fold, own, piece.fromMs, piece.toMs);
    return leaves.map((leaf, m) => ({ series, minuteMs: piece.fromMs + m * minuteMs, leaf }));
  });
}

/** Folds changed minutes of counters and gauges, span by span: however many long gaps there are, the leaves of one are held at a time. */
export async function* foldCounters(
  telemetry: Telemetry,
  index: SeriesIndex,
  changed: readonly ChangedMinute[],
): AsyncGenerator<LeafRow[]> {
  for (const runs of partsOf(runsBySeries(changed.filter((c) => index.isSummed(c.series)))))
    for (const { window, readings } of await spansOf(telemetry, runs)) yield foldWindow(index, window, readings);
}

/** Folds windows of whole minutes of counters and gauges, whatever has changed in them. */
export async function* foldWindows(
  telemetry: Telemetry,
  index: SeriesIndex,
  windows: readonly Window[],
): AsyncGenerator<LeafRow[]> {
  const wanted = windows.filter(({ series }) => index.isSummed(series));
  for (let i = 0; i < wanted.length; i += windowsAtOnce) {
    const some = wanted.slice(i, i + windowsAtOnce);
    const found = await telemetry.readWithNeighbours(some);
    for (const [w, window] of some.entries()) yield foldWindow(index, window, found[w] as Readings);
  }
}

type Asked = { fromMs: number; toMs: number; queries: OnlineQuery[] };

/**
 * Runs of minutes of devices, in few questions: most devices report all the time, and their runs differ by a minute or two at the ends. What
 * is asked beyond a run comes out as it was.
 */
function together(minutes: ReadonlyMap<OnlineQuery, ReadonlySet<number>>): Asked[] {
  const runs = [...minutes].flatMap(([query, set]) =>
    runsOf(set, minuteMs, { holes: 15 }).map(({ fromMs, toMs }): Asked => ({ fromMs, toMs, queries: [query] })),
  );
  const asked: Asked[] = [];
  for (const run of runs.sort((a, b) => a.fromMs - b.fromMs || a.toMs - b.toMs)) {
    const last = asked.at(-1);
    const united = Math.max(last?.toMs ?? 0, run.toMs) - (last?.fromMs ?? 0);
    const longest = 2 * minuteMs + 1.5 * Math.min(run.toMs - run.fromMs, (last?.toMs ?? 0) - (last?.fromMs ?? 0));
    if (last && run.fromMs <= last.toMs && united <= longest) {
      last.toMs = Math.max(last.toMs, run.toMs);
      append(last.queries, run.queries);
    } else asked.push(run);
  }
  return asked;
}

/** Online time of the devices in the minutes that changed samples reach: a sample keeps its device online for its series' window. */
export async function* foldConnections(
  telemetry: Telemetry,
  index: SeriesIndex,
  changed: readonly ChangedMinute[],
): AsyncGenerator<ConnectionRow[]> {
  const minutes = new Map<OnlineQuery, Set<number>>();
  const devices = new Map<string, OnlineDevice>();
  for (const { series, minuteMs: minute, lastMs } of changed) {
    const device = index.deviceOf(series);
    if (!device) continue;
    devices.set(device.device, device);
    for (const at of steps(minute, lastMs + index.windowOf(series), minuteMs))
      getOrMake(minutes, device.queryAt(at), () => new Set()).add(at);
  }
  // A device whose births changed has a query of its own for each part of the time: it answers for that part alone.
  for (const { queries, fromMs, toMs } of together(minutes))
    for (const [query, rows] of await onlineOf(telemetry, queries, fromMs, toMs))
      yield rows.filter((row) => devices.get(row.device)?.queryAt(row.minuteMs) === query);
}

/** What each query answers. */
async function onlineOf(
  telemetry: Telemetry,
  queries: readonly OnlineQuery[],
  fromMs: number,
  toMs: number,
): Promise<[OnlineQuery, ConnectionRow[]][]> {
  const asked = [...new Set(queries)];
  const rows = await telemetry.onlineMs(asked, fromMs, toMs);
  const each = rows.length / asked.length;
  return asked.map((query, i) => [query, rows.slice(i * each, (i + 1) * each)]);
}

/** Online time of devices in all minutes of [fromMs, toMs), whatever has changed in them. */
export async function* foldOnline(
  telemetry: Telemetry,
  devices: readonly OnlineDevice[],
  fromMs: number,
  toMs: number,
): AsyncGenerator<ConnectionRow[]> {
  const inside = new Set(devices.flatMap(({ changes }) => changes.filter((at) => at > fromMs && at < toMs)));
  const edges = [fromMs, ...[...inside].sort((a, b) => a - b), toMs];
  for (const [i, edge] of edges.slice(0, -1).entries())
    yield await telemetry.onlineMs(
      devices.map(({ queryAt }) => queryAt(edge)),
      edge,
      edges[i + 1] as number,
    );
}
