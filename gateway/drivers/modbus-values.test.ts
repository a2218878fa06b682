import { Status } from "@jilian/domain/quality.ts";
import fc from "fast-check";
import pino from "pino";
import { describe, expect, it } from "vitest";
import { deviceWith } from "../test-values.ts";
import { byteOrders } from "./modbus-config.ts";
import { tagDecoder, tagDecoders } from "./modbus-values.ts";

/**
 * The encoder here knows nothing of ours: registers are four hexadecimal digits each, and an order is what is done to that text
 * (BADC exchanges the bytes of a register, CDAB the registers, DCBA both).
 */
const exchanged = (register: string) => register.slice(2) + register.slice(0, 2);
function laid(bigEndian: string, order: string): string {
  let registers = bigEndian.match(/.{4}/g) as string[];
  if (order === "CDAB" || order === "DCBA") registers = registers.reverse();
  if (order === "BADC" || order === "DCBA") registers = registers.map(exchanged);
  return registers.join("");
}
const hexOf = (bits: bigint, width: number) =>
  BigInt.asUintN(width, bits)
    .toString(16)
    .padStart(width / 4, "0");

/** Reads a tag at the second register of an answer: what stands before counts, too. */
function readTag(tag: string, hex: string, device = "") {
  const made = deviceWith([tag], device);
  const [first] = made.tags;
  if (!first) throw new Error("no tag");
  return tagDecoder(first, made)(Buffer.from(`5a5a${hex}5a5a`, "hex"), 1);
}
const good = (value: unknown) => ({ value, status: Status.Good });
const undecodable = { value: null, status: Status.BadDecodingError };
const none = { value: null, status: Status.BadSensorFailure };
const orders = fc.constantFrom(...byteOrders);

describe("numbers in every order, against an encoder of its own", () => {
  it.each([
    ["int16", 16, true],
    ["uint16", 16, false],
    ["int32", 32, true],
    ["uint32", 32, false],
    ["int64", 64, true],
  ] as const)("%s", (type, width, signed) => {
    const [min, max] = signed
      ? [-(2n ** BigInt(width - 1)), 2n ** BigInt(width - 1) - 1n]
      : [0n, 2n ** BigInt(width) - 1n];
    fc.assert(
      fc.property(fc.bigInt({ min, max }), orders, (value, order) => {
        const read = readTag(`type: ${type}, order: ${order}`, laid(hexOf(value, width), order));
        expect(read).toEqual(good(width === 64 ? value : Number(value)));
      }),
    );
  });

  it("uint64 to the last bit, up to what a store can hold", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), orders, (value, order) => {
        const read = readTag(`type: uint64, order: ${order}`, laid(hexOf(value, 64), order));
        expect(read).toEqual(value < 2n ** 63n ? good(value) : { value: null, status: Status.BadOutOfRange });
      }),
    );
  });

  it.each(["float32", "float64"] as const)("%s", (type) => {
    const width = type === "float32" ? 32 : 64;
    const values = type === "float32" ? fc.float({ noNaN: true }) : fc.double({ noNaN: true });
    fc.assert(
      fc.property(values, orders, (value, order) => {
        const view = new DataView(new ArrayBuffer(8));
        if (type === "float32") view.setFloat32(0, value);
        else view.setFloat64(0, value);
        const bits = type === "float32" ? BigInt(view.getUint32(0)) : view.getBigUint64(0);
        const most = type === "float32" ? 3.4028234663852886e38 : Number.MAX_VALUE;
        const expected = Math.abs(value) < most ? good(value) : none;
        expect(readTag(`type: ${type}, order: ${order}`, laid(hexOf(bits, width), order))).toEqual(expected);
      }),
    );
  });
});

describe("BCD", () => {
  const kinds = [
    ["bcd16", 4],
    ["bcd32", 8],
    ["bcd48", 12],
    ["bcd64", 16],
  ] as const;
  const sized = (digits: number, size: bigint) => (digits > 8 ? size : Number(size));

  it.each(kinds)("%s in every order, unsigned and with both signs", (type, digits) => {
    const signs = fc.constantFrom("", "nibble", "bit");
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** BigInt(digits) - 1n }),
        fc.boolean(),
        signs,
        orders,
        (drawn, minus, sign, order) => {
          const size =
            sign === "nibble"
              ? drawn % 10n ** BigInt(digits - 1)
              : sign === "bit"
                ? drawn % (8n * 10n ** BigInt(digits - 1))
                : drawn;
          const plain = size.toString().padStart(digits, "0");
          const marks = { nibble: "f", bit: (8 + Number(plain[0])).toString(16), "": plain[0] };
          const hex = minus ? `${marks[sign as "nibble"]}${plain.slice(1)}` : plain;
          const negative = minus && sign !== "" && size !== 0n;
          const tag = `type: ${type}, order: ${order}${sign === "" ? "" : `, sign: ${sign}`}`;
          expect(readTag(tag, laid(hex, order))).toEqual(good(sized(digits, negative ? -size : size)));
        },
      ),
    );
  });

  it.each(kinds)("%s with a digit that is none is bad, and says so", (type, digits) => {
    const place = fc.integer({ min: 0, max: digits - 1 });
    fc.assert(
      fc.property(place, fc.constantFrom(..."abcdef"), orders, (at, digit, order) => {
        const hex = `${"1".repeat(at)}${digit}${"1".repeat(digits - 1 - at)}`;
        expect(readTag(`type: ${type}, order: ${order}`, laid(hex, order))).toEqual(undecodable);
      }),
    );
  });

  it("a sign nibble is 0 or F, and a minus nothing is nothing", () => {
    for (const first of "123456789abcde")
      expect(readTag("type: bcd16, sign: nibble", `${first}123`)).toEqual(undecodable);
    expect(readTag("type: bcd16, sign: nibble", "f000").value).toBe(0);
    expect(readTag("type: bcd16, sign: bit", "8000").value).toBe(0);
    expect(readTag("type: bcd32, sign: bit", "9234567a")).toEqual(undecodable);
  });
});

describe("texts", () => {
  /** Characters with the bytes that the standards' tables give them. */
  const characters = {
    ascii: [
      ["A", "41"],
      ["z", "7a"],
      ["0", "30"],
      ["-", "2d"],
      [" ", "20"],
    ],
    "utf-8": [
      ["A", "41"],
      ["é", "c3a9"],
      ["温", "e6b8a9"],
      ["度", "e5baa6"],
      ["🔥", "f09f94a5"],
    ],
    gbk: [
      ["A", "41"],
      ["联", "c1aa"],
      ["系", "cfb5"],
      ["温", "cec2"],
      ["度", "b6c8"],
      ["运", "d4cb"],
      ["行", "d0d0"],
    ],
  } as const;
  const padded = (hex: string, registers: number, filler: string) => hex.padEnd(4 * registers, filler);

  it.each(["ascii", "utf-8", "gbk"] as const)(
    "%s of any length, filled with NULs or blanks, both byte orders",
    (encoding) => {
      const drawn = fc.array(fc.constantFrom(...(characters[encoding] as readonly (readonly [string, string])[])), {
        maxLength: 20,
      });
      fc.assert(
        fc.property(
          drawn,
          fc.constantFrom("00", "20"),
          fc.constantFrom("ABCD", "BADC"),
          fc.nat(3),
          (list, filler, order, more) => {
            const hex = list.map(([, bytes]) => bytes).join("");
            const registers = Math.max(1, Math.ceil(hex.length / 4)) + more;
            const tag = `type: string, encoding: ${encoding}, lengthRegisters: ${registers}, order: ${order}`;
            const text = list
              .map(([character]) => character)
              .join("")
              .replace(/ +$/, "");
            expect(readTag(tag, laid(padded(hex, registers, filler), order))).toEqual(good(text));
          },
        ),
      );
    },
  );

  it("go from the first register on in a device whose numbers have their words exchanged", () => {
    const text = (order: string, hex: string) =>
      readTag("type: string, lengthRegisters: 2", hex, `order: ${order}`).value;
    expect(["ABCD", "CDAB"].map((order) => text(order, "50554d50"))).toEqual(["PUMP", "PUMP"]);
    expect(["BADC", "DCBA"].map((order) => text(order, "5550504d"))).toEqual(["PUMP", "PUMP"]);
  });

  it("end at a NUL: what is left of a longer text before is none of it, whatever its bytes", () => {
    expect(readTag("type: string, lengthRegisters: 4", "4f4b00fe41424344")).toEqual(good("OK"));
    expect(readTag("type: string, lengthRegisters: 2", "00000000")).toEqual(good(""));
  });

  it.each([
    ["ascii", "41800000"],
    ["ascii", "ffff0000"],
    ["utf-8", "c3280000"],
    ["utf-8", "41e6b8"],
    ["gbk", "41ff0000"],
    ["gbk", "ceceb6"],
  ])("with bytes that are no %s are bad: %s", (encoding, hex) => {
    const registers = Math.ceil(hex.length / 4);
    const tag = `type: string, encoding: ${encoding}, lengthRegisters: ${registers}`;
    expect(readTag(tag, padded(hex, registers, "0"))).toEqual(undecodable);
  });
});

describe("sentinels", () => {
  it.each([
    ["type: int16, sentinels: ['0x8000']", "8000", "8001", -32_767],
    ["type: int16, sentinels: [-1]", "ffff", "fffe", -2],
    ["type: uint16, sentinels: [0xFFFF]", "ffff", "fffe", 65_534],
    ["type: int32, sentinels: ['0x7FFFFFFF'], order: CDAB", "ffff7fff", "fffe7fff", 2_147_483_646],
    ["type: uint64, sentinels: ['0xFFFFFFFFFFFFFFFF']", "f".repeat(16), `${"0".repeat(15)}1`, 1n],
    ["type: int64, sentinels: [-1]", "f".repeat(16), `${"f".repeat(15)}e`, -2n],
    ["type: float32, sentinels: [-9999.9]", "c61c3f9a", "c61c3f9b", -9999.9013671875],
    ["type: float32, sentinels: ['0x4B18967F']", "4b18967f", "4b18967e", 9_999_998],
    ["type: float64, sentinels: [-9999]", "c0c3878000000000", "c0c3870000000000", -9998],
    ["type: bcd16, sentinels: ['0xFFFF']", "ffff", "1234", 1234],
    ["type: bcd16, sentinels: [9999]", "9999", "9998", 9998],
    ["type: bcd64, sentinels: ['0xFFFFFFFFFFFFFFFF', 0]", "0".repeat(16), `${"0".repeat(14)}12`, 12n],
  ])("%s: %s means none, %s does not", (tag, hex, other, value) => {
    expect(readTag(tag, hex)).toEqual(none);
    expect(readTag(tag, other)).toEqual(good(value));
  });

  it("of a device hold for tags of their width, and not for one that has its own", () => {
    const device = "sentinels: ['0x8000', '0x7FFFFFFF', -7]";
    expect(readTag("type: int16", "8000", device)).toEqual(none);
    expect(readTag("type: int32", "00008000", device)).toEqual(good(32_768));
    expect(readTag("type: int32", "7fffffff", device)).toEqual(none);
    expect(readTag("type: int32", "fffffff9", device)).toEqual(none);
    const own = deviceWith(["type: int16, sentinels: []", "type: int16", "type: int32"], device);
    const read = (i: number) => tagDecoder(own.tags[i] as (typeof own.tags)[0], own)(Buffer.from("8000", "hex"), 0);
    expect([read(0), read(1)]).toEqual([good(-32_768), none]);
  });
});

it("a tag that cannot be decoded is logged once, until it can", () => {
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => lines.push(JSON.parse(line).msg) });
  const device = deviceWith(["type: bcd16", "type: string, lengthRegisters: 1, encoding: gbk"]);
  const [bcd, text] = tagDecoders(device, log);
  for (const hex of ["000a", "000b", "0001", "000c"]) bcd?.(Buffer.from(hex, "hex"), 0);
  text?.(Buffer.from("ffff", "hex"), 0);
  expect(lines).toEqual([
    "no digits of bcd16: check address, type and order",
    "no digits of bcd16: check address, type and order",
    "no text in gbk: check address, type and order",
  ]);
});
