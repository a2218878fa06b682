import { minuteMs } from "@jilian/domain/periods.ts";
import type { SampleColumns } from "../columns/columns.ts";
import type { ChangedColumns } from "../columns/packing.ts";

/** The minutes of a transaction: what `changedMinutes` answers, by series and minute. */
type Change = { series: number; minute: number; first: number; last: number };

/** More series than a store will have; minutes times this stay below 2^53 until the year 2262. */
const seriesRoom = 2 ** 25;

/** Collects changed minutes; `columns` gives them by series and minute. */
export function changeSet() {
  const found = new Map<number, Change>();

  function add(series: number, firstMs: number, lastMs: number): void {
    const minute = Math.floor(firstMs / minuteMs);
    const key = minute * seriesRoom + series;
    const known = found.get(key);
    if (!known) found.set(key, { series, minute, first: firstMs, last: lastMs });
    else {
      known.first = Math.min(known.first, firstMs);
      known.last = Math.max(known.last, lastMs);
    }
  }

  return {
    add,
    addColumns: ([series = empty, , firsts = empty, lasts = empty]: ChangedColumns) => {
      for (const [i, id] of series.entries()) add(id, firsts[i] as number, lasts[i] as number);
    },
    columns: (): ChangedColumns => {
      const sorted = [...found.values()].sort((a, b) => a.series - b.series || a.minute - b.minute);
      const column = (of: (change: Change) => number) => Float64Array.from(sorted, of);
      return [
        column((c) => c.series),
        column((c) => c.minute * minuteMs),
        column((c) => c.first),
        column((c) => c.last),
      ];
    },
  };
}

const empty = new Float64Array(0);

/** The minutes that some rows of a batch change. */
export function changesOf(batch: SampleColumns, rows: readonly number[]): ChangedColumns {
  const found = changeSet();
  for (const i of rows) found.add(batch.series[i] as number, batch.sourceMs[i] as number, batch.sourceMs[i] as number);
  return found.columns();
}

const digits = (n: number) => n.toString(36);
const number = (text: string) => Number.parseInt(text, 36);

/** Ascending numbers as runs of differences: 5, 6, 7, 9 is `5+2,2`. */
function writeRuns(ids: readonly number[]): string {
  const runs: string[] = [];
  let before = 0;
  for (let i = 0; i < ids.length; ) {
    const first = ids[i] as number;
    let length = 0;
    while (ids[i + length + 1] === first + length + 1) length += 1;
    runs.push(length === 0 ? digits(first - before) : `${digits(first - before)}+${digits(length)}`);
    before = first + length;
    i += length + 1;
  }
  return runs.join(",");
}

function* readRuns(text: string): Generator<number> {
  let at = 0;
  for (const run of text.split(",")) {
    const [step = "", more] = run.split("+");
    at += number(step);
    yield at;
    for (let left = more === undefined ? 0 : number(more); left > 0; left -= 1) yield ++at;
  }
}

/**
 * Changed minutes as a text of base-36 numbers: `minute:first-last=series/first=series;...`, first and last in milliseconds of the
 * minute. Metrics that a gateway reads in one block share their times and have neighbouring numbers, so a poll of a device costs some ten
 * characters, however many metrics it has.
 */
export function writeChanges([series = empty, minutes = empty, firsts = empty, lasts = empty]: ChangedColumns): string {
  const groups = new Map<number, Map<string, number[]>>();
  for (const [i, id] of series.entries()) {
    const startMs = minutes[i] as number;
    const [first, last] = [(firsts[i] as number) - startMs, (lasts[i] as number) - startMs];
    const span = first === last ? digits(first) : `${digits(first)}-${digits(last)}`;
    const minute = groups.get(startMs) ?? new Map<string, number[]>();
    const ids = minute.get(span) ?? [];
    ids.push(id);
    groups.set(startMs, minute.set(span, ids));
  }
  return [...groups]
    .map(([startMs, spans]) => {
      const told = [...spans].map(([span, ids]) => `${span}=${writeRuns(ids)}`);
      return `${digits(startMs / minuteMs)}:${told.join("/")}`;
    })
    .join(";");
}

/** Hands each changed minute of a text to `add`. */
export function readChanges(text: string, add: (series: number, firstMs: number, lastMs: number) => void): void {
  if (text === "") return;
  for (const minute of text.split(";")) {
    const [index = "", spans = ""] = minute.split(":");
    const startMs = number(index) * minuteMs;
    for (const group of spans.split("/")) {
      const [span = "", ids = ""] = group.split("=");
      const [first = "", last = first] = span.split("-");
      for (const id of readRuns(ids)) add(id, startMs + number(first), startMs + number(last));
    }
  }
}
