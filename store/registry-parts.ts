import { dateNumber } from "@jilian/domain/calendar.ts";
import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { Type } from "typebox";

/** Schema parts and checks that several parts of the registry share. */
export const strict = { additionalProperties: false } as const;

export const idSchema = Type.String({
  pattern: idPattern,
  description: "lower-case id, used in topics and addresses; never change it later",
});
export const nameSchema = Type.String({ minLength: 1, maxLength: 100, description: "name shown to people" });
export const wordsSchema = Type.String({ minLength: 1, maxLength: 60 });

export const dateSchema = Type.String({
  pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
  description: "YYYY-MM-DD",
});
export const clockTimeSchema = Type.String({
  pattern: "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
  description: "HH:MM, Asia/Shanghai",
});
/** Product names as gateways give them with their tags. */
export const productIdSchema = Type.String({ minLength: 1, maxLength: 100 });
export const runTimeSchema = Type.Number({
  minimum: 0.001,
  maximum: 2_678_400_000,
  description: "ms for one piece",
});

/** A code of a state. */
export const stateCode = Type.Union([
  Type.Integer({ description: "code as the PLC gives it" }),
  Type.String({ minLength: 1, maxLength: 60, description: "text as the PLC gives it" }),
]);

/** Minutes since midnight of `HH:MM`. */
export function minutesOfDay(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

type NamedDate = Readonly<Record<string, string | undefined>>;

/** Faults of two dates, each named by its key: that they exist, and that the second is not before the first. */
export function orderedDates(path: string, first: NamedDate, last: NamedDate = {}): SemanticFault[] {
  const named = [...Object.entries(first), ...Object.entries(last)];
  const faults = named.flatMap(([key, text]) =>
    text === undefined || dateNumber(text) !== undefined
      ? []
      : [{ path: `${path}/${key}`, expected: "a date that exists", remedy: "correct the date" }],
  );
  if (faults.length > 0) return faults;
  const [[, from] = [], [key, until] = []] = named;
  if (from === undefined || until === undefined || until >= from) return faults;
  return [{ path: `${path}/${key}`, expected: `a date from ${from} on`, remedy: "correct the two dates" }];
}

/** Each repetition in a list of plain values. */
export function repeatedValues(values: readonly (string | number)[], path: string, what: string): SemanticFault[] {
  return values.flatMap((value, i) =>
    values.indexOf(value) === i
      ? []
      : [{ path: `${path}/${i}`, expected: `a ${what} named once`, remedy: "remove the repetition" }],
  );
}
