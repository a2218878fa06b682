/** The oracle: in which band of a factory's tariff a minute lies. */
import { hour, minute } from "./oracle-readings.ts";
import { type OraclePlace, wallClock } from "./oracle-sites.ts";

export const bands = ["sharp", "peak", "flat", "valley"] as const;
export type Band = (typeof bands)[number];

const tables = new WeakMap<object, Map<number, Band[]>>();
const day = 24 * hour;

/** The bands of the minutes of a day; days of one month have the same. */
function bandsOfDay(place: OraclePlace, number: number): Band[] {
  const tariff = place.file.tariff ?? {};
  const table = tables.get(tariff) ?? new Map<number, Band[]>();
  tables.set(tariff, table);
  const start = number * day - 8 * hour;
  // Months count from 1, below every number of a day.
  const month = Number(wallClock(start).date.slice(5, 7));
  const found =
    table.get(number) ??
    table.get(month) ??
    Array.from({ length: 1440 }, (_, m): Band => findBand(place, start + m * minute));
  table.set(number, found);
  table.set(month, found);
  return found;
}

/** The band of the minute that begins at a time; flat without a tariff. */
export function bandAt(place: OraclePlace, at: number): Band {
  const number = Math.floor((at + 8 * hour) / day);
  const known = tables.get(place.file.tariff ?? {})?.get(number) ?? bandsOfDay(place, number);
  return known[(at + 8 * hour - number * day) / minute] as Band;
}

function findBand(place: OraclePlace, at: number): Band {
  const { date, time } = wallClock(at);
  const found = place.file.tariff?.periods.find(
    ({ from, to, months }) =>
      (!months || months.includes(Number(date.slice(5, 7)))) &&
      (to > from ? time >= from && time < to : time >= from || time < to),
  );
  return found?.kind ?? "flat";
}
