import { copyRow, emptyColumns, pickRows, type SampleColumns } from "./columns.ts";

const absent = -1;

/** Rows by series number, each the latest at its source of those it was shown. */
export type Newest = {
  /** Source time is -1 where there is none. Replaced when it grows: ask again after each wait. */
  readonly columns: (last: number) => SampleColumns;
  readonly note: (from: SampleColumns, i: number) => void;
  readonly rows: () => SampleColumns;
};

export function createNewest(): Newest {
  const room = (size: number) => {
    const wider = emptyColumns(size);
    wider.sourceMs.fill(absent);
    return wider;
  };
  let columns = room(1024);
  const present = () => Array.from(columns.sourceMs.keys()).filter((i) => columns.sourceMs[i] !== absent);

  function grow(last: number): SampleColumns {
    if (last < columns.length) return columns;
    const wider = room(Math.max(last + 1, columns.length * 2));
    for (const i of present()) copyRow(columns, i, wider, i);
    columns = wider;
    return columns;
  }

  return {
    columns: grow,
    note: (from, i) => {
      const series = from.series[i] as number;
      const to = grow(series);
      // Equal when the sample of an unfinished transaction was written again.
      if ((from.sourceMs[i] as number) >= (to.sourceMs[series] as number)) copyRow(from, i, to, series);
    },
    rows: () => pickRows(columns, present()),
  };
}
