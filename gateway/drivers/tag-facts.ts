import { counterRoles, type Role } from "@jilian/domain/roles.ts";
import type { CommonDevice, CommonTag } from "./tag-config.ts";
import { naturalModulus } from "./value-types.ts";

/** What follows from a tag's configuration while the gateway runs, without the schemas that it was checked by: they stay out of memory. */

export function isCounter({ role }: Pick<CommonTag, "role">): boolean {
  return role !== undefined && (counterRoles as readonly Role[]).includes(role);
}

/** Whether a counter is derived from this tag: then it counts up, though it has no role of its own. */
export function isCounted({ name }: Pick<CommonTag, "name">, { derived = [] }: Pick<CommonDevice, "derived">): boolean {
  return derived.some((one) => isCounter(one) && one.of.some(({ tag }) => tag === name));
}

/** Width of the range that a value moves in, in its unit; undefined where none is given. */
export function spanOf({ euRange, range }: Pick<CommonTag, "euRange" | "range">): number | undefined {
  if (euRange !== undefined) return Math.abs(euRange.max - euRange.min);
  return range?.min === undefined || range.max === undefined ? undefined : range.max - range.min;
}

/** Counts after which an input of a derived counter starts again from 0. */
export function inputModulus(tag: CommonTag): bigint | undefined {
  return tag.modulusCounts === undefined ? naturalModulus(tag.type) : BigInt(tag.modulusCounts);
}
