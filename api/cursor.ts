import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import type { ParameterFault } from "./problems.ts";

/**
 * A cursor holds the question and the key of the last row given, not a row number: rows that arrive between two pages move nothing, and
 * a range that began as "the last hour" stays the hour it was. Opaque to clients, checked like any other input, grants nothing.
 */
export function encodeCursor(content: unknown): string {
  return Buffer.from(JSON.stringify(content)).toString("base64url");
}

/** Reads a cursor; undefined when it is not one of this kind. */
export function decodeCursor<S extends TSchema>(schema: S, text: string): Static<S> | undefined {
  try {
    const bytes = Buffer.from(text, "base64url");
    // Node skips what is not base64url: a cursor that was cut or joined would pass for a whole one.
    if (bytes.toString("base64url") !== text) return undefined;
    const content: unknown = JSON.parse(bytes.toString());
    return Value.Check(schema, content) ? (content as Static<S>) : undefined;
  } catch {
    return undefined;
  }
}

export const badCursor: ParameterFault = {
  parameter: "cursor",
  found: "text that is not a cursor of this address",
  expected: "the `next` of an earlier page, unchanged",
  remedy: "start again without a cursor",
};

/** Parameters given beside a cursor must say what the cursor says: it would be answered otherwise than asked. */
export function conflicts(
  given: Readonly<Record<string, unknown>>,
  held: Readonly<Record<string, unknown>>,
): ParameterFault[] {
  return Object.entries(given)
    .filter(([name, value]) => value !== undefined && value !== held[name])
    .map(([parameter, value]) => ({
      parameter,
      found: JSON.stringify(value),
      expected: `${JSON.stringify(held[parameter] ?? null)}, as in the question that the cursor belongs to`,
      remedy: "leave it out beside a cursor, or start again without a cursor",
    }));
}
