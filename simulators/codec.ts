/**
 * Raw register values and their words. Nothing here is shared with the gateway's decoder, on purpose: the test beside
 * this file holds it to byte sequences worked out by hand.
 */
import { type NumericType, SIGNALS } from "./register-layout.ts";
import type { ByteOrder, Point } from "./register-map.ts";

/** A register's value at its own width: bigint for integers, number for floats, boolean for bits. */
export type RawValue = bigint | number | boolean;

const scratch = Buffer.alloc(8);

function writeBigEndian(type: NumericType, value: bigint | number): number {
  switch (type) {
    case "uint16":
      return scratch.writeUInt16BE(Number(value));
    case "int16":
      return scratch.writeInt16BE(Number(value));
    case "uint32":
      return scratch.writeUInt32BE(Number(value));
    case "int32":
      return scratch.writeInt32BE(Number(value));
    case "float32":
      return scratch.writeFloatBE(Number(value));
    case "uint64":
      return scratch.writeBigUInt64BE(BigInt(value));
    case "int64":
      return scratch.writeBigInt64BE(BigInt(value));
    case "float64":
      return scratch.writeDoubleBE(Number(value));
  }
}

/**
 * Writes a value into words (host numbers of 16 bits, most significant byte first on the wire) from `offset` on.
 * Throws a RangeError where the value does not fit its type.
 */
export function encodeWords(
  type: NumericType,
  order: ByteOrder,
  value: bigint | number,
  words: Uint16Array,
  offset: number,
): void {
  const count = writeBigEndian(type, value) / 2;
  const swapRegisters = order === "CDAB" || order === "DCBA";
  const swapBytes = order === "BADC" || order === "DCBA";
  for (let i = 0; i < count; i++) {
    const at = 2 * (swapRegisters ? count - 1 - i : i);
    words[offset + i] = swapBytes ? scratch.readUInt16LE(at) : scratch.readUInt16BE(at);
  }
}

/** Base units of the truth in one count of a point's register (for floats: in one engineering unit). */
export function baseUnitsPerCount(point: Pick<Point, "name" | "signal" | "scale">): number {
  const units = (SIGNALS[point.signal].perUnit * point.scale.numerator) / point.scale.denominator;
  if (!Number.isInteger(units)) throw new RangeError(`${point.name}: a count must be a whole number of base units`);
  return units;
}

/** The raw value of a point whose true quantity is `value` base units: the floor at the register's resolution. */
export function rawValue(
  point: Pick<Point, "name" | "signal" | "scale" | "type" | "modulus">,
  value: number,
): RawValue {
  if (point.type === "bool") return value !== 0;
  const units = baseUnitsPerCount(point);
  if (point.type === "float64") return value / units;
  if (point.type === "float32") return Math.fround(value / units);
  const counts = BigInt(Math.floor(value / units));
  return point.modulus === null ? counts : counts % point.modulus;
}
