import { describe, expect, it } from "vitest";
import { encodeWords, rawValue } from "./codec.ts";
import { toHex } from "./raw-client.ts";
import type { NumericType } from "./register-layout.ts";
import { BYTE_ORDERS, registerMapOf } from "./register-map.ts";

/** Worked out by hand: IEEE 754 and two's complement big endian, then shuffled by the definition of each order. */
const GOLDEN: readonly [NumericType, bigint | number, abcd: string, cdab: string, badc: string, dcba: string][] = [
  ["uint16", 0x1234n, "12 34", "12 34", "34 12", "34 12"],
  ["int16", -2n, "ff fe", "ff fe", "fe ff", "fe ff"],
  ["uint32", 0x12345678n, "12 34 56 78", "56 78 12 34", "34 12 78 56", "78 56 34 12"],
  ["int32", -19088744n, "fe dc ba 98", "ba 98 fe dc", "dc fe 98 ba", "98 ba dc fe"],
  ["float32", -123.456, "c2 f6 e9 79", "e9 79 c2 f6", "f6 c2 79 e9", "79 e9 f6 c2"],
  [
    "uint64",
    0xfedcba9876543210n,
    "fe dc ba 98 76 54 32 10",
    "32 10 76 54 ba 98 fe dc",
    "dc fe 98 ba 54 76 10 32",
    "10 32 54 76 98 ba dc fe",
  ],
  [
    "int64",
    -81985529216486896n,
    "fe dc ba 98 76 54 32 10",
    "32 10 76 54 ba 98 fe dc",
    "dc fe 98 ba 54 76 10 32",
    "10 32 54 76 98 ba dc fe",
  ],
  [
    "float64",
    123.456,
    "40 5e dd 2f 1a 9f be 77",
    "be 77 1a 9f dd 2f 40 5e",
    "5e 40 2f dd 9f 1a 77 be",
    "77 be 9f 1a 2f dd 5e 40",
  ],
];

describe("encodeWords", () => {
  for (const [type, value, ...bytes] of GOLDEN) {
    for (const [i, order] of BYTE_ORDERS.entries()) {
      it(`${type} ${value} in ${order} is ${bytes[i]}`, () => {
        const words = new Uint16Array(6).fill(0xaaaa);
        encodeWords(type, order, value, words, 1);
        const count = (bytes[0].length + 1) / 6;
        expect(toHex(Array.from(words).flatMap((word) => [word >> 8, word & 0xff]) as unknown as Uint8Array)).toBe(
          `aa aa ${bytes[i]} ${"aa aa ".repeat(5 - count).trim()}`,
        );
      });
    }
  }

  it("refuses a value that does not fit", () => {
    expect(() => encodeWords("uint16", "ABCD", 65_536n, new Uint16Array(1), 0)).toThrow(RangeError);
    expect(() => encodeWords("int32", "ABCD", 2n ** 31n, new Uint16Array(2), 0)).toThrow(RangeError);
    expect(() => encodeWords("uint64", "ABCD", -1n, new Uint16Array(4), 0)).toThrow(RangeError);
  });
});

describe("rawValue", () => {
  const point = (name: string) => {
    const found = registerMapOf("copper-casting").points.find((candidate) => candidate.name === name);
    if (found === undefined) throw new Error(name);
    return found;
  };

  it("is the floor at the register's resolution", () => {
    // 12.345678 kWh: in Wh, in hundredths and in tenths of a kWh.
    expect(rawValue(point("incoming-meter/energy-import"), 12_345_678)).toBe(12_345n);
    expect(rawValue(point("feeder-1/energy-import"), 12_345_678)).toBe(1_234n);
    expect(rawValue(point("feeder-3/energy-import"), 12_345_678)).toBe(123n);
    expect(rawValue(point("feeder-2/power-reactive"), -150)).toBe(-2n);
  });

  it("starts again at 0 at the modulus", () => {
    expect(rawValue(point("feeder-3/energy-import"), 99_999_999_999)).toBe(999_999n);
    expect(rawValue(point("feeder-3/energy-import"), 100_000_000_000)).toBe(0n);
    expect(rawValue(point("machine-1/inspection-inspected"), 65_536)).toBe(0n);
  });

  it("keeps a float at its own width", () => {
    expect(rawValue(point("incoming-meter/power-active"), 123_456)).toBe(123.456);
    expect(rawValue(point("feeder-1/power-active"), 123_456)).toBe(123.45600128173828);
  });
});
