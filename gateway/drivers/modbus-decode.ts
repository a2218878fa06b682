import type { BcdSign, ByteOrder, Encoding } from "./modbus-config.ts";
import { type RegisterType, registerTypes } from "./modbus-facts.ts";
import type { BcdType } from "./value-types.ts";

/**
 * From registers to values. The Modbus specification orders the bytes of one register only (V1.1b3, 4.2: big-endian); how a wider
 * value lies in several registers is each vendor's own. The four orders, shown on four bytes A (most significant) to D:
 * ABCD big-endian; CDAB registers exchanged; BADC bytes exchanged within each register; DCBA little-endian. With 64 bits the same
 * two exchanges hold for four registers: CDAB is GHEFCDAB, BADC is BADCFEHG, DCBA is HGFEDCBA.
 */
const scratch = Buffer.alloc(8);

/** Types that are read as the processor holds them. */
export type BinaryType = Exclude<RegisterType, BcdType | "string">;

/** Puts the value's bytes in big-endian order; gives where they are. */
function arranged(bytes: Buffer, at: number, length: number, order: ByteOrder): { from: Buffer; at: number } {
  if (order === "ABCD") return { from: bytes, at };
  const exchangeRegisters = order === "CDAB" || order === "DCBA";
  const exchangeBytes = order === "BADC" || order === "DCBA";
  for (let i = 0; i < length; i += 2) {
    const register = at + (exchangeRegisters ? length - 2 - i : i);
    scratch[i] = bytes[exchangeBytes ? register + 1 : register] as number;
    scratch[i + 1] = bytes[exchangeBytes ? register : register + 1] as number;
  }
  return { from: scratch, at: 0 };
}

/**
 * Reads one value at its native width: numbers for up to 32 bits and floats, bigint for 64-bit integers, boolean for a bit.
 * @param bytes register contents as on the wire, two bytes each
 * @param at byte at which the value begins
 * @param bit for `bool`: bit of the register, 0 the least significant
 */
export function decodeRegisters(
  bytes: Buffer,
  at: number,
  type: BinaryType,
  order: ByteOrder,
  bit = 0,
): number | bigint | boolean {
  const value = arranged(bytes, at, 2 * registerTypes[type].registers, order);
  switch (type) {
    case "int16":
      return value.from.readInt16BE(value.at);
    case "uint16":
      return value.from.readUInt16BE(value.at);
    case "int32":
      return value.from.readInt32BE(value.at);
    case "uint32":
      return value.from.readUInt32BE(value.at);
    case "int64":
      return value.from.readBigInt64BE(value.at);
    case "uint64":
      return value.from.readBigUInt64BE(value.at);
    case "float32":
      return value.from.readFloatBE(value.at);
    case "float64":
      return value.from.readDoubleBE(value.at);
    case "bool":
      return ((value.from.readUInt16BE(value.at) >>> bit) & 1) === 1;
  }
}

/** A coil or discrete input: bit `index` of the answer, first in the least significant bit (V1.1b3, 6.1). */
export function decodeBit(bytes: Buffer, index: number): boolean {
  return (((bytes[index >>> 3] as number) >>> (index & 7)) & 1) === 1;
}

/** The bits of a BCD value, most significant first, whatever they say. */
export function bcdBits(bytes: Buffer, at: number, type: BcdType, order: ByteOrder): bigint {
  const length = 2 * registerTypes[type].registers;
  const value = arranged(bytes, at, length, order);
  return BigInt(`0x${value.from.toString("hex", value.at, value.at + length)}`);
}

/**
 * A BCD value: a decimal digit in each four bits. With a sign in the first digit, 0 is plus and F is minus, as in Siemens S7
 * and M-Bus; with one in the first bit, as DL/T 645-2007 has it, three bits are left to the first digit.
 * @returns a number up to 32 bits, else a bigint; undefined where a digit is none
 */
export function decodeBcd(bits: bigint, type: BcdType, sign?: BcdSign): number | bigint | undefined {
  let digits = bits.toString(16).padStart(4 * registerTypes[type].registers, "0");
  let negative = false;
  if (sign === "nibble") {
    negative = digits.startsWith("f");
    if (!negative && !digits.startsWith("0")) return undefined;
    digits = digits.slice(1);
  } else if (sign === "bit") {
    const first = Number.parseInt(digits.slice(0, 1), 16);
    negative = first >= 8;
    digits = (first & 7) + digits.slice(1);
  }
  if (!/^[0-9]+$/.test(digits)) return undefined;
  const size = BigInt(digits);
  const value = negative ? -size : size;
  return type === "bcd16" || type === "bcd32" ? Number(value) : value;
}

const makeDecoder = (encoding: Encoding) => new TextDecoder(encoding, { fatal: true, ignoreBOM: true });
const decoders = new Map<Encoding, ReturnType<typeof makeDecoder>>();

function decoderOf(encoding: Encoding): ReturnType<typeof makeDecoder> {
  const decoder = decoders.get(encoding) ?? makeDecoder(encoding);
  decoders.set(encoding, decoder);
  return decoder;
}

/**
 * A text of two bytes in each register. It ends at the first NUL, since what stands behind one is left of an earlier, longer text; blanks
 * at its end only fill the register.
 * @param order BADC and DCBA: the second character of a register is in its upper byte; texts of several registers go from the first on
 * @returns undefined where a byte is none of the encoding
 */
export function decodeText(
  bytes: Buffer,
  at: number,
  registers: number,
  order: ByteOrder,
  encoding: Encoding,
): string | undefined {
  const own = Buffer.from(bytes.subarray(at, at + 2 * registers));
  if (order === "BADC" || order === "DCBA") own.swap16();
  const end = own.indexOf(0);
  const text = end < 0 ? own : own.subarray(0, end);
  // The standard's decoder of that name takes ASCII for windows-1252.
  if (encoding === "ascii" && text.some((byte) => byte > 0x7f)) return undefined;
  try {
    return decoderOf(encoding).decode(text).replace(/ +$/, "");
  } catch {
    return undefined;
  }
}
