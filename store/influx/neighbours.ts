import { isUsable, pickRows, type SampleColumns } from "../columns/columns.ts";
import { readingsOf, seek } from "../columns/readings.ts";
import { type Span, spansOf } from "../columns/windows.ts";
import type { Window } from "../telemetry.ts";
import type { ReadingWindows } from "../thread/engine.ts";
import type { RecentBook } from "./recent.ts";
import { notBad } from "./samples.ts";
import { concat, type SampleReader } from "./spans.ts";
import { within } from "./text.ts";

/** How far neighbours are sought, step by step: most are a heartbeat away, and only what is not found costs a longer search. */
const reachesMs = [120_000, 1_800_000, 28_800_000, 259_200_000, Number.POSITIVE_INFINITY];
/** Rows asked for at first; more when they have no value, which a status that is not bad hardly ever goes with. */
const firstLimit = 1;
const mostLimit = 10_000;

type Side = "before" | "after";

/** What memory knows of a span: its usable samples with its neighbours, but for the one before where `before` is false. */
type Remembered = { rows: SampleColumns; before: boolean };

/** Undefined where memory does not reach back over the span. */
function fromRecent({ series, fromMs, toMs }: Span, recent: RecentBook): Remembered | undefined {
  if (recent.completeFromMs(series) > fromMs) return undefined;
  const rows = recent.rows();
  const inside: number[] = [];
  let after: number | undefined;
  let before: number | undefined;
  for (const slot of recent.slots(series)) {
    if (!isUsable(rows, slot)) continue;
    const ms = rows.sourceMs[slot] as number;
    if (ms >= toMs) after = slot;
    else if (ms >= fromMs) inside.push(slot);
    else {
      before = slot;
      break;
    }
  }
  const slots = [after, ...inside, before].filter((slot) => slot !== undefined).reverse();
  // Nothing is older than what is complete from the beginning.
  return { rows: pickRows(rows, slots), before: before !== undefined || recent.completeFromMs(series) === 0 };
}

type Sought = { series: number; edgeMs: number; nearMs: number; limit: number };

/** The time to search on one side of an edge, from where the last search ended. */
function reachOf({ edgeMs, nearMs }: Sought, side: Side, farMs: number): string {
  return side === "before" ? within(edgeMs - farMs, edgeMs - nearMs) : within(edgeMs + nearMs, edgeMs + farMs);
}

/** The usable sample nearest to each edge on one side, by index of the edge; those with none are left out. */
export async function nearest(
  reader: SampleReader,
  edges: readonly { series: number; edgeMs: number }[],
  side: Side,
): Promise<Map<number, SampleColumns>> {
  const found = new Map<number, SampleColumns>();
  let sought = new Map(edges.map((edge, i) => [i, { ...edge, nearMs: 0, limit: firstLimit }]));
  for (const farMs of reachesMs) {
    const further = new Map<number, Sought>();
    while (sought.size > 0) {
      const entries = [...sought];
      const asked = entries.map(([, one]) => ({
        series: one.series,
        where: `${reachOf(one, side, farMs)} AND ${notBad}`,
        order: side === "before" ? ("DESC" as const) : ("ASC" as const),
        limit: one.limit,
      }));
      const answers = await reader.pick(asked);
      sought = new Map();
      for (const [k, [i, one]] of entries.entries()) {
        const rows = answers[k] as SampleColumns;
        const hit = Array.from(rows.kind.keys()).find((row) => isUsable(rows, row));
        if (hit !== undefined) found.set(i, pickRows(rows, [hit]));
        else if (rows.length < one.limit) further.set(i, { ...one, nearMs: farMs, limit: firstLimit });
        else sought.set(i, { ...one, nearMs: beyond(one, rows, side), limit: Math.min(one.limit * 16, mostLimit) });
      }
    }
    sought = further;
  }
  return found;
}

/** Distance from an edge to just beyond the last of some rows that had no value. */
function beyond({ edgeMs }: Sought, rows: SampleColumns, side: Side): number {
  const ms = rows.sourceMs[rows.length - 1] as number;
  return side === "before" ? edgeMs - ms : ms + 1 - edgeMs;
}

/**
 * The usable sample nearest to each span on one side, by index of the span. After a series' newest usable sample there is none, and for a
 * span after it, it is the one before: only the rest is sought.
 */
async function neighbours(
  spans: readonly Span[],
  of: readonly number[],
  side: Side,
  reader: SampleReader,
  usable: SampleColumns,
): Promise<Map<number, SampleColumns>> {
  const found = new Map<number, SampleColumns>();
  const sought: number[] = [];
  const edgeMs = ({ fromMs, toMs }: Span) => (side === "before" ? fromMs : toMs);
  for (const i of of) {
    const span = spans[i] as Span;
    const newestMs = usable.sourceMs[span.series] ?? -1;
    if (newestMs >= edgeMs(span)) sought.push(i);
    // Copied now, because the next write may replace it.
    else if (side === "before" && newestMs >= 0) found.set(i, pickRows(usable, [span.series]));
  }
  const edges = sought.map((i) => ({ series: (spans[i] as Span).series, edgeMs: edgeMs(spans[i] as Span) }));
  for (const [k, rows] of await nearest(reader, edges, side)) found.set(sought[k] as number, rows);
  return found;
}

/** Usable samples of spans with their neighbours: from memory where it reaches back far enough, else from InfluxDB. */
async function readSpans(
  spans: readonly Span[],
  reader: SampleReader,
  recent: RecentBook,
  usable: SampleColumns,
): Promise<SampleColumns[]> {
  const remembered = spans.map((span) => fromRecent(span, recent));
  const absent = Array.from(spans.keys()).filter((i) => !remembered[i]);
  const headless = Array.from(spans.keys()).filter((i) => !remembered[i]?.before);
  const [before, after, read] = [
    await neighbours(spans, headless, "before", reader, usable),
    await neighbours(spans, absent, "after", reader, usable),
    await reader.windows(
      absent.map((i) => spans[i] as Span),
      notBad,
    ),
  ];
  const inside = new Map(absent.map((i, k) => [i, read[k] as SampleColumns]));
  return spans.map((_, i) => {
    const rows = remembered[i]?.rows ?? (inside.get(i) as SampleColumns);
    const usableRows = Array.from(rows.kind.keys()).filter((row) => isUsable(rows, row));
    const own = remembered[i] ? rows : pickRows(rows, usableRows);
    return concat([before.get(i), own, after.get(i)].filter((part) => part !== undefined));
  });
}

/** Where each part begins when they follow each other. */
function startsOf(parts: readonly SampleColumns[]): Int32Array<ArrayBuffer> {
  const starts = new Int32Array(parts.length);
  for (let i = 1; i < parts.length; i += 1) starts[i] = (starts[i - 1] as number) + (parts[i - 1]?.length ?? 0);
  return starts;
}

/**
 * For each window its usable samples and the nearest usable one before and after, from memory where it reaches back far enough.
 * @param usable the newest usable sample by series number, at least as new as every acknowledged write
 */
export async function readNeighbours(
  windows: readonly Window[],
  reader: SampleReader,
  recent: RecentBook,
  usable: SampleColumns,
): Promise<ReadingWindows> {
  const { spans, spanOf } = spansOf(windows);
  const rowsOf = await readSpans(spans, reader, recent, usable);
  const firsts = new Int32Array(windows.length);
  const counts = new Int32Array(windows.length);
  const starts = startsOf(rowsOf);
  for (const [i, { fromMs, toMs }] of windows.entries()) {
    const span = spanOf[i] as number;
    const times = (rowsOf[span] as SampleColumns).sourceMs;
    const first = Math.max(0, seek(times, 0, times.length, fromMs) - 1);
    const end = Math.min(times.length, seek(times, 0, times.length, toMs) + 1);
    firsts[i] = (starts[span] as number) + first;
    counts[i] = Math.max(0, end - first);
  }
  return { rows: readingsOf(concat(rowsOf)), firsts, counts };
}
