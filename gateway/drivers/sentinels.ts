import { is64Bit } from "@jilian/domain/datatypes.ts";
import { integerBounds, isBcd, isFloatType, isIntegerType, type ValueType, valueTypes } from "./value-types.ts";

/** A value that means "none": a number as the tag would read it before scaling, or its bits in hexadecimal, all digits written. */
export type Sentinel = number | string;
export type WithSentinels = { readonly sentinels?: readonly Sentinel[] | undefined };
type TypedTag = WithSentinels & { readonly type: ValueType };

export type SentinelTest = {
  readonly isValue: (value: unknown) => boolean;
  /** The same of the bits as they were read: a BCD register that says "none" holds no digits. */
  readonly isPattern: (bits: bigint) => boolean;
};

/** Bits of a type that can have sentinels; 0 for the others. */
function widthOf(type: ValueType): number {
  if (isFloatType(type)) return type === "float32" ? 32 : 64;
  return valueTypes[type].bits;
}

export function hasSentinels(type: ValueType): boolean {
  return widthOf(type) > 0;
}

/** Whether a sentinel can occur in values of this type. Hexadecimal ones belong to types of as many bits as they have digits for. */
export function sentinelFits(sentinel: Sentinel, type: ValueType): boolean {
  if (typeof sentinel === "string") return 4 * (sentinel.length - 2) === widthOf(type);
  if (isFloatType(type)) return true;
  if (!isIntegerType(type) || !Number.isSafeInteger(sentinel)) return false;
  const { min, max } = integerBounds(type);
  return sentinel >= min && sentinel <= max;
}

/** The value of this type that has these bits. */
function valueOfBits(hex: string, type: ValueType): number | bigint {
  const bytes = Buffer.from(hex.slice(2), "hex");
  if (type === "float32") return bytes.readFloatBE(0);
  if (type === "float64") return bytes.readDoubleBE(0);
  const { bits } = valueTypes[type];
  const whole = type.startsWith("u") ? BigInt(hex) : BigInt.asIntN(bits, BigInt(hex));
  return bits === 64 ? whole : Number(whole);
}

function valueOfNumber(sentinel: number, type: ValueType): number | bigint {
  if (type === "float32") return Math.fround(sentinel);
  return is64Bit(valueTypes[type].datatype) ? BigInt(sentinel) : sentinel;
}

/**
 * How to tell the values of a tag that mean "none": by its own sentinels where it has any, an empty list included, else by those of its
 * device that fit its type.
 * @returns undefined where there are none to tell
 */
export function sentinelTest(tag: TypedTag, device: WithSentinels): SentinelTest | undefined {
  const { type } = tag;
  const fitting = (tag.sentinels ?? device.sentinels ?? []).filter((sentinel) => sentinelFits(sentinel, type));
  if (fitting.length === 0) return undefined;
  const values = new Set<unknown>();
  const patterns = new Set<bigint>();
  for (const sentinel of fitting) {
    if (typeof sentinel === "number") values.add(valueOfNumber(sentinel, type));
    else if (isBcd(type)) patterns.add(BigInt(sentinel));
    else values.add(valueOfBits(sentinel, type));
  }
  return { isValue: (value) => values.has(value), isPattern: (bits) => patterns.has(bits) };
}
