import { isUsable, type SampleColumns } from "../columns/columns.ts";
import { createNewest } from "../columns/newest.ts";

/**
 * The newest sample of each series and the newest usable one. They answer `latest`, tell the writer which samples are certainly new, and
 * give a sensor that has been dead for days its last value without a query.
 */
export type NewestBook = {
  /** Source time of the newest sample by series number, -1 for none; has room for numbers to `last`. */
  readonly newestMs: (last: number) => Float64Array;
  /** The newest usable sample by series number, its time -1 for none; has room for numbers to `last`. */
  readonly usable: (last: number) => SampleColumns;
  /** Notes a row, stored or read. */
  readonly note: (from: SampleColumns, i: number) => void;
  readonly all: () => SampleColumns;
};

export function newestBook(): NewestBook {
  const newest = createNewest();
  const usable = createNewest();
  return {
    newestMs: (last) => newest.columns(last).sourceMs,
    usable: usable.columns,
    note: (from, i) => {
      newest.note(from, i);
      if (isUsable(from, i)) usable.note(from, i);
    },
    all: newest.rows,
  };
}
