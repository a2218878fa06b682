/** How a fault from outside is checked, whatever the protocol: all complaints are told at once. */

type Check = { readonly test: (value: unknown) => boolean; readonly expected: string };

/** Fields of each kind beside `kind`; a name with "!" at its end is required. */
export type FaultFields<Kind extends string> = Readonly<Record<Kind, Readonly<Record<string, Check>>>>;

export const integer = (min: number, max: number): Check => ({
  test: (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
  expected: `an integer from ${min} to ${max}`,
});
export const oneOf = (words: readonly unknown[]): Check => ({
  test: (value) => words.includes(value),
  expected: `one of ${words.join(", ")}`,
});
export const FLAG: Check = { test: (value) => typeof value === "boolean", expected: "true or false" };
export const POINT: Check = { test: (value) => typeof value === "string", expected: "the name of a point" };
export const DELAY_MS = integer(0, 600_000);

/** The fault as given where its kind is known, and what is wrong with its fields. */
export function checkFault<Kind extends string>(
  kinds: FaultFields<Kind>,
  input: unknown,
): { given?: Readonly<Record<string, unknown>> & { readonly kind: Kind }; errors: string[] } {
  if (typeof input !== "object" || input === null || Array.isArray(input))
    return { errors: ["expected a JSON object"] };
  const given = input as Record<string, unknown> & { kind: Kind };
  const { kind } = given;
  if (typeof kind !== "string" || !Object.hasOwn(kinds, kind)) {
    return { errors: [`kind: found ${JSON.stringify(kind)}, expected one of ${Object.keys(kinds).join(", ")}`] };
  }
  const fields = kinds[kind];
  const errors: string[] = [];
  for (const [key, check] of Object.entries(fields)) {
    const name = key.replace("!", "");
    const value = given[name];
    if (value === undefined && key === name) continue;
    if (!check.test(value)) errors.push(`${name}: found ${JSON.stringify(value)}, expected ${check.expected}`);
  }
  const known = new Set(["kind", ...Object.keys(fields).map((key) => key.replace("!", ""))]);
  for (const name of Object.keys(given)) if (!known.has(name)) errors.push(`${name}: no field of the fault ${kind}`);
  return { given, errors };
}
