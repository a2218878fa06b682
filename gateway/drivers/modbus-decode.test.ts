import { describe, expect, it } from "vitest";
import type { ByteOrder } from "./modbus-config.ts";
import { type BinaryType, decodeBit, decodeRegisters } from "./modbus-decode.ts";

/**
 * Worked out by hand: each value's big-endian bytes, then the four ways in which they lie in registers.
 * -2 as int16 is FFFE; 1/3 as float32 is 3EAAAAAB; -0.15625 is BE200000; pi as float64 is 400921FB54442D18.
 */
const golden: [BinaryType, number | bigint, Record<ByteOrder, string>][] = [
  ["uint16", 0x1234, { ABCD: "1234", CDAB: "1234", BADC: "3412", DCBA: "3412" }],
  ["int16", -2, { ABCD: "fffe", CDAB: "fffe", BADC: "feff", DCBA: "feff" }],
  ["uint32", 0x89abcdef, { ABCD: "89abcdef", CDAB: "cdef89ab", BADC: "ab89efcd", DCBA: "efcdab89" }],
  ["int32", -19_088_744, { ABCD: "fedcba98", CDAB: "ba98fedc", BADC: "dcfe98ba", DCBA: "98badcfe" }],
  ["float32", 11_184_811 / 2 ** 25, { ABCD: "3eaaaaab", CDAB: "aaab3eaa", BADC: "aa3eabaa", DCBA: "abaaaa3e" }],
  ["float32", -0.15625, { ABCD: "be200000", CDAB: "0000be20", BADC: "20be0000", DCBA: "000020be" }],
  [
    "uint64",
    0x0123456789abcdefn,
    { ABCD: "0123456789abcdef", CDAB: "cdef89ab45670123", BADC: "23016745ab89efcd", DCBA: "efcdab8967452301" },
  ],
  [
    "int64",
    -81_985_529_216_486_896n,
    { ABCD: "fedcba9876543210", CDAB: "32107654ba98fedc", BADC: "dcfe98ba54761032", DCBA: "1032547698badcfe" },
  ],
  [
    "float64",
    Math.PI,
    { ABCD: "400921fb54442d18", CDAB: "2d18544421fb4009", BADC: "0940fb214454182d", DCBA: "182d4454fb210940" },
  ],
];

describe("decodeRegisters", () => {
  for (const [type, value, orders] of golden) {
    for (const [order, text] of Object.entries(orders)) {
      it(`${type} ${order} ${text}`, () => {
        // Behind two other bytes: the position counts, too.
        expect(decodeRegisters(Buffer.from(`a5a5${text}a5a5`, "hex"), 2, type, order as ByteOrder)).toBe(value);
      });
    }
  }

  it("takes a bit of a register, counted from the least significant, in the device's byte order", () => {
    const bytes = Buffer.from("8001", "hex");
    const bits = Array.from({ length: 16 }, (_, bit) => decodeRegisters(bytes, 0, "bool", "ABCD", bit));
    expect(bits.map(Number).join("")).toBe("1000000000000001");
    expect(decodeRegisters(Buffer.from("0100", "hex"), 0, "bool", "BADC", 0)).toBe(true);
    expect(decodeRegisters(Buffer.from("0100", "hex"), 0, "bool", "ABCD", 8)).toBe(true);
  });

  it("leaves the bytes it reads from as they are", () => {
    const bytes = Buffer.from("0123456789abcdef", "hex");
    decodeRegisters(bytes, 0, "uint64", "DCBA");
    expect(bytes.toString("hex")).toBe("0123456789abcdef");
  });
});

it("takes coils from the least significant bit, over byte bounds (V1.1b3, 6.1: the example CD 6B 05)", () => {
  const bytes = Buffer.from("cd6b05", "hex");
  const coils = Array.from({ length: 19 }, (_, i) => Number(decodeBit(bytes, i)));
  expect(coils.join("")).toBe("1011001111010110101");
});
