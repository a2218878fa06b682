import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { decimalOf } from "@jilian/domain/decimal.ts";
import { bands, type Tariff } from "@jilian/domain/tariff.ts";
import { Type } from "typebox";
import { clockTimeSchema, minutesOfDay, repeatedValues, strict } from "./registry-parts.ts";

const price = Type.Optional(Type.Number({ minimum: 0, maximum: 100, description: "CNY per kWh" }));

/**
 * What electricity costs by the time of the day (分时电价: 尖、峰、平、谷). Prices that change with the month are versions of the registry, each
 * from its date.
 */
export const tariffSchema = Type.Object(
  {
    /** In each month they cover the day, each moment once. Times are those of Asia/Shanghai; an end that is not after the begin is on the next day. */
    periods: Type.Array(
      Type.Object(
        {
          kind: Type.Union(bands.map((band) => Type.Literal(band))),
          from: clockTimeSchema,
          to: clockTimeSchema,
          /** Months of the year, 1 to 12, in which it holds; all of them if absent. */
          months: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: 12 }), { minItems: 1, maxItems: 12 })),
        },
        strict,
      ),
      { minItems: 1, maxItems: 100 },
    ),
    pricesCNYPerKWh: Type.Object({ sharp: price, peak: price, flat: price, valley: price }, strict),
  },
  strict,
);

/** Places of a price that figures keep. */
const priceScale = 4;
const dayMinutes = 24 * 60;
const clock = (minute: number) =>
  `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;

/** How often each minute of a day is covered, by the index of the last period that covers it. */
function coverage({ periods }: Tariff, month: number): { times: number; last: number }[] {
  const minutes = Array.from({ length: dayMinutes }, () => ({ times: 0, last: -1 }));
  for (const [i, { from, to, months }] of periods.entries()) {
    if (months && !months.includes(month)) continue;
    const start = minutesOfDay(from);
    const length = minutesOfDay(to) - start;
    for (let m = start; m < start + (length > 0 ? length : length + dayMinutes); m += 1) {
      const minute = minutes[m % dayMinutes] as { times: number; last: number };
      minute.times += 1;
      minute.last = i;
    }
  }
  return minutes;
}

/** The first gap or overlap of a month; months that are the same as one before say nothing again. */
function checkCover(tariff: Tariff, path: string): SemanticFault[] {
  const told = new Set<string>();
  const faults: SemanticFault[] = [];
  for (let month = 1; month <= 12; month += 1) {
    const minutes = coverage(tariff, month);
    const twice = minutes.findIndex(({ times }) => times > 1);
    const never = minutes.findIndex(({ times }) => times === 0);
    const at = twice < 0 ? `${path}/periods` : `${path}/periods/${minutes[twice]?.last}`;
    for (const [minute, where, what] of [
      [twice, at, "covered by one period only"],
      [never, `${path}/periods`, "covered by a period"],
    ] as const) {
      if (minute < 0 || told.has(`${where} ${minute} ${what}`)) continue;
      told.add(`${where} ${minute} ${what}`);
      const expected = `${clock(minute)} ${what}, in month ${month}`;
      faults.push({ path: where, expected, remedy: "correct from, to and months: together they cover the day once" });
    }
  }
  return faults;
}

/** What the schema cannot say of a tariff: that it covers the day without overlap in every month, and has its prices. */
export function checkTariff(tariff: Tariff, path: string): SemanticFault[] {
  const faults = tariff.periods.flatMap(({ from, months = [] }, i) => [
    ...(from === "24:00"
      ? [{ path: `${path}/periods/${i}/from`, expected: "a time before 24:00", remedy: "write 00:00" }]
      : []),
    ...repeatedValues(months, `${path}/periods/${i}/months`, "month"),
  ]);
  for (const band of bands) {
    const price = tariff.pricesCNYPerKWh[band];
    const at = `${path}/pricesCNYPerKWh/${band}`;
    if (price === undefined && tariff.periods.some((period) => period.kind === band))
      faults.push({ path: at, expected: `the price of ${band}, which a period has`, remedy: `add "${band}"` });
    if (price !== undefined && decimalOf(price).scale > priceScale)
      faults.push({ path: at, expected: `at most ${priceScale} decimal places`, remedy: "round the price" });
  }
  return [...faults, ...checkCover(tariff, path)];
}
