import { type Calendar, dateNumber, type ShiftTimes, type Weekday, weekdays } from "@jilian/domain/calendar.ts";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { atScale, decimalOf } from "@jilian/domain/decimal.ts";
import { type MachinePlan, runTimeScale } from "@jilian/domain/machine-sums.ts";
import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;
const clockTime = Type.String({
  pattern: "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
  description: "HH:MM, Asia/Shanghai",
});
const shiftTimes = {
  from: clockTime,
  /** Not after `from`: on the next day. */
  to: clockTime,
};
const date = Type.String({ pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description: "YYYY-MM-DD" });

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
            date,
            untilDate: Type.Optional(date),
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

const stateCode = Type.Union([
  Type.Integer({ description: "code as the PLC gives it" }),
  Type.String({ minLength: 1, maxLength: 60, description: "text as the PLC gives it" }),
]);
const runTimeMs = Type.Number({ minimum: 0.001, maximum: 2_678_400_000, description: "ms for one piece" });

/** What the registry can say of a machine, all of it optional: without it figures of equipment are null with a reason. */
export const machineFields = {
  /** Which codes of `machine.state` mean production (ISO 22400-2 APT). */
  states: Type.Optional(Type.Object({ running: Type.Array(stateCode, { minItems: 1, maxItems: 50 }) }, strict)),
  /** Planned run time per item (ISO 22400-2 PRI), ms: of every product, or by product. */
  plannedRunTimePerItemMs: Type.Optional(
    Type.Union([runTimeMs, Type.Record(Type.String({ minLength: 1, maxLength: 100 }), runTimeMs)]),
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
  const codes = (fields.states?.running ?? []).map(String);
  const calendar = fields.calendar ? checkCalendar(fields.calendar, `${path}/calendar`) : [];
  return [...misplaced, ...repeated(codes, `${path}/states/running`, "state code"), ...calendar];
}

/** Each repetition in a list of plain values. */
function repeated(values: readonly string[], path: string, what: string): SemanticFault[] {
  return values.flatMap((value, i) =>
    values.indexOf(value) === i
      ? []
      : [{ path: `${path}/${i}`, expected: `a ${what} named once`, remedy: "remove the repetition" }],
  );
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
    faults.push(...repeated(days, `${path}/shifts/${i}/days`, "day of the week"));
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

/**
 * What figures need of a machine, from the registry.
 * @param calendar the device's own or its factory's
 */
export function planOf(fields: MachineFields, calendar: Calendar | undefined): MachinePlan {
  const rates = fields.plannedRunTimePerItemMs;
  const exact = (ms: number | undefined) => (ms === undefined ? undefined : atScale(decimalOf(ms), runTimeScale));
  const all = typeof rates === "number" ? exact(rates) : undefined;
  const byProduct = new Map(
    typeof rates === "object" ? Object.entries(rates).map(([product, ms]) => [product, exact(ms)]) : [],
  );
  return {
    calendar,
    runningCodes: fields.states && new Set(fields.states.running.map(String)),
    plannedRunTime:
      rates === undefined
        ? undefined
        : (product) => all ?? (product === undefined ? undefined : byProduct.get(product)),
  };
}
