import { type Calendar, dateNumber, type ShiftTimes, type Weekday, weekdays } from "@jilian/domain/calendar.ts";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { atScale, decimalOf } from "@jilian/domain/decimal.ts";
import { type MachinePlan, runTimeScale } from "@jilian/domain/machine-sums.ts";
import { type Static, Type } from "typebox";
import {
  clockTimeSchema,
  dateSchema,
  nameSchema,
  productIdSchema,
  repeatedValues,
  runTimeSchema,
  stateCode,
  strict,
} from "./registry-parts.ts";

const shiftTimes = {
  /** What people call it: 早班. */
  name: Type.Optional(nameSchema),
  from: clockTimeSchema,
  /** Not after `from`: on the next day. */
  to: clockTimeSchema,
};

/** Planned busy time (ISO 22400-2 PBT), see domain/calendar.ts. */
export const calendarSchema = Type.Object(
  {
    shifts: Type.Array(
      Type.Object(
        {
          days: Type.Array(Type.Unsafe<Weekday>(Type.Union(weekdays.map((day) => Type.Literal(day)))), {
            minItems: 1,
            maxItems: 7,
            description: "days on which the shift begins",
          }),
          ...shiftTimes,
        },
        strict,
      ),
      { maxItems: 50 },
    ),
    /** Dates on which other shifts begin: none on holidays. */
    exceptions: Type.Optional(
      Type.Array(
        Type.Object(
          {
            date: dateSchema,
            untilDate: Type.Optional(dateSchema),
            shifts: Type.Array(Type.Object(shiftTimes, strict), { maxItems: 50 }),
          },
          strict,
        ),
        { maxItems: 1000 },
      ),
    ),
  },
  strict,
);

/** What the registry can say of a machine, all of it optional: without it figures of equipment are null with a reason. */
export const machineFields = {
  /** Which codes of `machine.state` mean production (ISO 22400-2 APT). */
  states: Type.Optional(
    Type.Object(
      {
        running: Type.Array(stateCode, { minItems: 1, maxItems: 50 }),
        /** Those of set-up (换型调整), which net equipment effectiveness counts as used time. */
        setup: Type.Optional(Type.Array(stateCode, { minItems: 1, maxItems: 50 })),
      },
      strict,
    ),
  ),
  /** Planned run time per item (ISO 22400-2 PRI), ms: of every product, or by product. */
  plannedRunTimePerItemMs: Type.Optional(Type.Union([runTimeSchema, Type.Record(productIdSchema, runTimeSchema)])),
  /** What it makes, by id of the registry's products. */
  products: Type.Optional(Type.Array(productIdSchema, { minItems: 1, maxItems: 200 })),
  /** The metric whose process capability (Cp, Cpk) is watched, with its specification limits in the unit of the metric. */
  capability: Type.Optional(
    Type.Object(
      {
        metric: nameSchema,
        lowerLimit: Type.Optional(Type.Number()),
        upperLimit: Type.Optional(Type.Number()),
      },
      strict,
    ),
  ),
  /** Planned busy time of this machine; otherwise the factory's. */
  calendar: Type.Optional(calendarSchema),
  /** True for the machine whose good production is the factory's output: of machines in series the last. */
  output: Type.Optional(Type.Boolean()),
};
const machineSchema = Type.Object(machineFields);
type MachineFields = Static<typeof machineSchema>;

/** Machine fields that another kind of device must not have. */
export function checkMachineFields(fields: MachineFields, kind: string, path: string): SemanticFault[] {
  const own = kind === "machine" ? [] : (Object.keys(machineFields) as (keyof MachineFields)[]);
  const misplaced = own
    .filter((key) => fields[key] !== undefined)
    .map((key) => ({
      path: `${path}/${key}`,
      expected: "nothing: only machines have one",
      remedy: 'remove it or set "kind: machine"',
    }));
  const { lowerLimit, upperLimit } = fields.capability ?? { lowerLimit: 0 };
  if (lowerLimit === undefined ? upperLimit === undefined : upperLimit !== undefined && upperLimit <= lowerLimit)
    misplaced.push({
      path: `${path}/capability/upperLimit`,
      expected: "lowerLimit, upperLimit or both, and the upper above the lower",
      remedy: "take them from the specification",
    });
  const codes = (fields.states?.running ?? []).map(String);
  const setup = (fields.states?.setup ?? []).map(String);
  const calendar = fields.calendar ? checkCalendar(fields.calendar, `${path}/calendar`) : [];
  return [
    ...misplaced,
    ...repeatedValues(fields.products ?? [], `${path}/products`, "product"),
    ...repeatedValues(codes, `${path}/states/running`, "state code"),
    ...repeatedValues(setup, `${path}/states/setup`, "state code"),
    ...(setup.some((code) => codes.includes(code))
      ? [{ path: `${path}/states/setup`, expected: "no code of running", remedy: "keep each code in one of them" }]
      : []),
    ...calendar,
  ];
}

function checkTimes(shifts: readonly ShiftTimes[], path: string): SemanticFault[] {
  return shifts.flatMap(({ from }, i) =>
    from === "24:00"
      ? [{ path: `${path}/${i}/from`, expected: "a time before 24:00", remedy: "write 00:00 of the next day" }]
      : [],
  );
}

/** What the schema of a calendar cannot say: dates that exist, exceptions in order and apart. */
export function checkCalendar(calendar: Calendar, path: string): SemanticFault[] {
  const faults = [...checkTimes(calendar.shifts, `${path}/shifts`)];
  for (const [i, { days }] of calendar.shifts.entries())
    faults.push(...repeatedValues(days, `${path}/shifts/${i}/days`, "day of the week"));
  const dates = new Map<number, number>();
  for (const [i, { date: first, untilDate = first, shifts }] of (calendar.exceptions ?? []).entries()) {
    const at = `${path}/exceptions/${i}`;
    faults.push(...checkTimes(shifts, `${at}/shifts`));
    const [from, to] = [dateNumber(first), dateNumber(untilDate)];
    for (const [key, number] of [
      ["date", from],
      ["untilDate", to],
    ] as const)
      if (number === undefined && (key === "date" || untilDate !== first))
        faults.push({ path: `${at}/${key}`, expected: "a date that exists", remedy: "correct the date" });
    if (from === undefined || to === undefined) continue;
    if (to < from || to - from > 366) {
      const expected = `a date from ${first} to a year later`;
      faults.push({ path: `${at}/untilDate`, expected, remedy: "correct the two dates" });
      continue;
    }
    const other = Array.from({ length: to - from + 1 }, (_, d) => dates.get(from + d)).find((n) => n !== undefined);
    if (other !== undefined)
      faults.push({
        path: `${at}/date`,
        expected: `dates of no other exception (overlaps ${path}/exceptions/${other})`,
        remedy: "keep one of them for each date",
      });
    for (let d = from; d <= to; d += 1) dates.set(d, i);
  }
  return faults;
}

/** Planned run time per item of the registry's products, ms, by product. */
export type ProductRates = ReadonlyMap<string, number>;

/**
 * What figures need of a machine, from the registry. A machine's own planned run time of a product comes before its one of every product,
 * and both before the product's.
 * @param calendar the device's own or its factory's
 * @param products rates of the products, which a machine that lists what it makes has of these only
 */
export function planOf(
  fields: MachineFields,
  calendar: Calendar | undefined,
  products: ProductRates = new Map(),
): MachinePlan {
  const own = fields.plannedRunTimePerItemMs;
  const exact = (ms: number | undefined) => (ms === undefined ? undefined : atScale(decimalOf(ms), runTimeScale));
  const made = fields.products;
  const rates = new Map<string, number>();
  for (const [product, ms] of products) if (!made || made.includes(product)) rates.set(product, ms);
  if (typeof own === "object") for (const [product, ms] of Object.entries(own)) rates.set(product, ms);
  const every = typeof own === "number" ? exact(own) : undefined;
  const byProduct = new Map([...rates].map(([product, ms]) => [product, exact(ms)]));
  return {
    calendar,
    runningCodes: fields.states && new Set(fields.states.running.map(String)),
    setupCodes: fields.states?.setup && new Set(fields.states.setup.map(String)),
    plannedRunTime:
      own === undefined && rates.size === 0
        ? undefined
        : (product) => every ?? (product === undefined ? undefined : byProduct.get(product)),
  };
}
