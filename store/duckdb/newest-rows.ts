import type { DuckDBValue } from "@duckdb/node-api";
import { minuteMs } from "@jilian/domain/periods.ts";

/** Compares rows by columns of numbers or of texts. */
function byColumns(columns: readonly (readonly DuckDBValue[])[]) {
  return (a: number, b: number): number => {
    for (const column of columns) {
      const [x, y] = [column[a] as number | string, column[b] as number | string];
      if (x !== y) return x < y ? -1 : 1;
    }
    return 0;
  };
}

/** Minutes since 1970 that have room beside the number of a series. */
const mostMinutes = 2 ** 31;

/** One value for the key of a row. */
function keyOf(key: readonly (readonly DuckDBValue[])[]): (row: number) => string | number {
  const [series = [], minutes = []] = key;
  const textOf = (row: number) => key.map((column) => column[row]).join("\u0000");
  if (key.length !== 2 || typeof series[0] !== "number") return textOf;
  // Of a series and a minute one number, exact below 2^53: a text costs several times as much. A clock may be wrong by millennia.
  return (row) => {
    const minute = (minutes[row] as number) / minuteMs;
    return minute >= 0 && minute < mostMinutes ? (series[row] as number) * mostMinutes + minute : textOf(row);
  };
}

/** Numbers of the rows that count, in order: of each key the one with the greatest version. @param of which rows are asked for */
export function newestRows(
  key: readonly (readonly DuckDBValue[])[],
  order: readonly (readonly DuckDBValue[])[],
  versions: readonly DuckDBValue[],
  of: (row: number) => boolean,
): number[] {
  const newest = new Map<string | number, number>();
  const idOf = keyOf(key);
  for (let row = 0; row < versions.length; row += 1) {
    if (!of(row)) continue;
    const id = idOf(row);
    const before = newest.get(id);
    if (before === undefined || (versions[row] as number) > (versions[before] as number)) newest.set(id, row);
  }
  return [...newest.values()].sort(byColumns(order));
}
