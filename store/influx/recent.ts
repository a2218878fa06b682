import { copyRow, emptyColumns, type SampleColumns } from "../columns/columns.ts";

/** Nothing of a series is known before this. */
const nowhere = Number.POSITIVE_INFINITY;
const firstSlots = 16_384;
const end = -1;

/**
 * The newest samples of all series in memory, each series complete from some time on: this process is the store's one writer, so what it
 * wrote since it opened is all there is. The KPI engine asks for the last minutes of every series every second; InfluxDB would take longer
 * than that to answer.
 *
 * Samples lie in a ring of slots in order of arrival; each points to the next older one of its series. A slot that is used anew raises
 * its series' `completeFrom` above the sample that is lost, so a walk from the newest to the oldest ends before a pointer that no longer
 * leads to its own series' past.
 */
export type RecentBook = {
  /** From when on the samples of a series are all here; infinite for one of which nothing is known. */
  readonly completeFromMs: (series: number) => number;
  /** Says that nothing of a series at or after a time is stored. */
  readonly begin: (series: number, fromMs: number) => void;
  /** Adds a stored row; each key once. */
  readonly add: (from: SampleColumns, i: number) => void;
  /** Slots of a series from the newest to the oldest that is here. Valid until the next `add`. */
  readonly slots: (series: number) => Generator<number>;
  /** Rows by slot. Replaced when it grows: ask again after each wait. */
  readonly rows: () => SampleColumns;
};

/** A typed array at least as long, with the same content and the rest filled. */
function longer<T extends Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(
  from: T,
  length: number,
  fill: number,
): T {
  const to = new (from.constructor as new (length: number) => T)(length).fill(fill) as T;
  to.set(from);
  return to;
}

/** @param capacity most samples kept; 0 keeps none */
export function recentBook(capacity: number): RecentBook {
  let slots = Math.min(capacity, firstSlots);
  let rows = emptyColumns(slots);
  let older = new Int32Array(slots).fill(end);
  let newest = new Int32Array(1024).fill(end);
  let completeFrom = new Float64Array(1024).fill(nowhere);
  let next = 0;
  let filled = 0;

  function growSlots(): void {
    slots = Math.min(capacity, slots * 4);
    const wider = emptyColumns(slots);
    for (let i = 0; i < rows.length; i += 1) copyRow(rows, i, wider, i);
    rows = wider;
    older = longer(older, slots, end);
  }

  function growSeries(series: number): void {
    if (series < newest.length) return;
    newest = longer(newest, Math.max(series + 1, newest.length * 2), end);
    completeFrom = longer(completeFrom, newest.length, nowhere);
  }

  /** The slot of the next older sample of the same series, or `end`. */
  function olderOf(slot: number, series: number): number {
    const found = older[slot] as number;
    if (found === end || rows.series[found] !== series) return end;
    const ms = rows.sourceMs[found] as number;
    return ms < (rows.sourceMs[slot] as number) && ms >= (completeFrom[series] as number) ? found : end;
  }

  function newestOf(series: number): number {
    const found = newest[series] ?? end;
    if (found === end || rows.series[found] !== series) return end;
    return (rows.sourceMs[found] as number) >= (completeFrom[series] as number) ? found : end;
  }

  /** Empties a slot for reuse. */
  function evict(slot: number): void {
    const series = rows.series[slot] as number;
    const lost = (rows.sourceMs[slot] as number) + 1;
    if (lost > (completeFrom[series] as number)) completeFrom[series] = lost;
    rows.series[slot] = end;
  }

  function add(from: SampleColumns, i: number): void {
    const series = from.series[i] as number;
    const ms = from.sourceMs[i] as number;
    growSeries(series);
    if (ms < (completeFrom[series] as number)) return;
    if (capacity === 0) {
      completeFrom[series] = ms + 1;
      return;
    }
    if (filled === slots && slots < capacity) {
      // The ring is full and still at its first turn here, so the new slots follow the old ones.
      next = slots;
      growSlots();
    }
    const slot = next;
    if (filled === slots) evict(slot);
    else filled += 1;
    next = (slot + 1) % slots;
    // Losing a sample of its own series may have put this one before what is complete.
    if (ms < (completeFrom[series] as number)) {
      rows.series[slot] = end;
      return;
    }
    let newer = end;
    let past = newestOf(series);
    while (past !== end && (rows.sourceMs[past] as number) > ms) {
      newer = past;
      past = olderOf(past, series);
    }
    if (past !== end && rows.sourceMs[past] === ms) {
      // A sample of an unfinished transaction, written again.
      copyRow(from, i, rows, past);
      rows.series[slot] = end;
      return;
    }
    copyRow(from, i, rows, slot);
    older[slot] = past;
    if (newer === end) newest[series] = slot;
    else older[newer] = slot;
  }

  function* walk(series: number): Generator<number> {
    for (let slot = newestOf(series); slot !== end; slot = olderOf(slot, series)) yield slot;
  }

  return {
    completeFromMs: (series) => completeFrom[series] ?? nowhere,
    begin: (series, fromMs) => {
      growSeries(series);
      completeFrom[series] = Math.min(completeFrom[series] as number, fromMs);
    },
    add,
    slots: walk,
    rows: () => rows,
  };
}
