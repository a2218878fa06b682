import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { decodeNumber, integerTypeOf, type NumberFormat, parseFormat } from "./dlt645-decode.ts";

function format(text: string, signed = false): NumberFormat {
  const parsed = parseFormat(text, signed);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}
const decode = (hex: string, of: NumberFormat) => decodeNumber(Buffer.from(hex.replaceAll(" ", ""), "hex"), of);
const good = (value: number | bigint) => ({ value, status: Status.Good });

describe("decodeNumber", () => {
  it.each([
    ["78 56 34 12", "XXXXXX.XX", false, 12_345_678],
    ["99 99 99 99", "XXXXXX.XX", false, 99_999_999],
    ["00 00 00 80", "XXXXXX.XX", false, 80_000_000],
    ["00 00", "X.XXX", true, 0],
    // The sign is the top bit of the digit that is sent last (no published frame has one: made by hand).
    ["56 34 92", "XX.XXXX", true, -123_456],
    ["99 99 79", "XX.XXXX", true, 799_999],
    ["99 99 f9", "XX.XXXX", true, -799_999],
    ["00 90", "X.XXX", true, -1000],
    ["01 80", "X.XXX", true, -1],
    ["12 90 78 56 34 12", "NNNNNNNNNNNN", false, 123_456_789_012n],
    ["12 90 78 56 34 92", "XXXXXXXXXXXX", true, -123_456_789_012n],
  ])("reads %s as %s, signed %s: %s counts", (hex, text, signed, counts) => {
    expect(decode(hex, format(text, signed))).toEqual(good(counts));
  });

  it.each([
    ["ff ff", "XXX.X", false, Status.BadSensorFailure],
    ["ff ff ff", "XX.XXXX", true, Status.BadSensorFailure],
    ["ff 22", "XXX.X", false, Status.BadDecodingError],
    ["0a 00", "XXX.X", false, Status.BadDecodingError],
    ["00 a0", "XXX.X", false, Status.BadDecodingError],
    ["00 fa", "X.XXX", true, Status.BadDecodingError],
    ["", "XXX.X", false, Status.BadDecodingError],
    ["00 00 00", "XXX.X", false, Status.BadDecodingError],
  ])("takes %s for no value of %s, signed %s", (hex, text, signed, status) => {
    expect(decode(hex, format(text, signed))).toEqual({ value: null, status });
  });
});

it("reads formats, and refuses what is none", () => {
  expect(format("XXXXXX.XX")).toEqual({ digits: 8, places: 2, signed: false });
  expect(format("NN.NNNN", true)).toEqual({ digits: 6, places: 4, signed: true });
  for (const text of ["", "X", ".XX", "XXX.", "XX.X.X", "123.4", "X".repeat(18)]) {
    expect(parseFormat(text, false), text).toBeUndefined();
  }
});

it("counts in the integer that holds every count of the format", () => {
  expect(integerTypeOf(format("XXXXXX.XX"))).toBe("uint32");
  expect(integerTypeOf(format("XX.XXXX", true))).toBe("int32");
  expect(integerTypeOf(format("XXXXXXXXXX"))).toBe("uint64");
  expect(integerTypeOf(format("XXXXXXXXXX", true))).toBe("int64");
});
