import { type ByteOrder, type RegisterType, registerTypes } from "./modbus-config.ts";

/**
 * From registers to values. The Modbus specification orders the bytes of one register only (V1.1b3, 4.2: big-endian); how a wider
 * value lies in several registers is each vendor's own. The four orders, shown on four bytes A (most significant) to D:
 * ABCD big-endian; CDAB registers exchanged; BADC bytes exchanged within each register; DCBA little-endian. With 64 bits the same
 * two exchanges hold for four registers: CDAB is GHEFCDAB, BADC is BADCFEHG, DCBA is HGFEDCBA.
 */
const scratch = Buffer.alloc(8);

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
  type: RegisterType,
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
