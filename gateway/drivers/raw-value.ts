import type { Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { SentinelTest } from "./sentinels.ts";
import type { ValueType } from "./value-types.ts";

const maxFloat32 = 2 ** 127 * (2 - 2 ** -23);
const maxInt64 = 2n ** 63n - 1n;
/** Longest text that is kept: a tag is no place for documents, and the outbox is bounded. */
const maxTextLength = 4096;

/**
 * The status of a raw value. Instruments say "no value" with NaN, an infinity or the greatest float (3.4e38): all become
 * BadSensorFailure. An unsigned 64-bit integer beyond 2^63-1 cannot be stored (CONTRACTS 5), a time before 1970 not be sent, a text
 * beyond 4,096 characters not be kept: BadOutOfRange.
 */
export function statusOfRaw(value: Exclude<Value, null>, type: ValueType): number {
  if (type === "float32") return Math.abs(value as number) < maxFloat32 ? Status.Good : Status.BadSensorFailure;
  if (type === "float64") return Math.abs(value as number) < Number.MAX_VALUE ? Status.Good : Status.BadSensorFailure;
  if (type === "uint64") return (value as bigint) <= maxInt64 ? Status.Good : Status.BadOutOfRange;
  if (type === "datetime") return (value as bigint) >= 0n ? Status.Good : Status.BadOutOfRange;
  if (type === "string") return (value as string).length <= maxTextLength ? Status.Good : Status.BadOutOfRange;
  return Status.Good;
}

/** A raw value as it is passed on: null, with the reason, where it is one of the tag's sentinels (BadSensorFailure) or not usable. */
export function usableValue(
  value: Exclude<Value, null>,
  type: ValueType,
  sentinels?: SentinelTest,
): { value: Value; status: number } {
  const status = sentinels?.isValue(value) ? Status.BadSensorFailure : statusOfRaw(value, type);
  return { value: status === Status.Good ? value : null, status };
}
