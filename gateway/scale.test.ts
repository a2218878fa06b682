import { DataType, type DataTypeNumber } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { countsInUnit, createScaler, isWithin } from "./scale.ts";

const by = (numerator: number, denominator: number) => ({ numerator, denominator });
const scaled = (native: DataTypeNumber, n: number, d: number, raw: number | bigint) =>
  createScaler(native, by(n, d)).scale(raw);

describe("createScaler", () => {
  it.each([
    [DataType.UInt16, 1, 1, DataType.UInt16],
    [DataType.Float, 7, 7, DataType.Float],
    [DataType.UInt16, 10, 1, DataType.Int64],
    [DataType.Int32, 20, 10, DataType.Int64],
    [DataType.UInt32, 1, 100, DataType.Double],
    [DataType.UInt64, 3, 2, DataType.Double],
    [DataType.Float, 10, 1, DataType.Double],
    [DataType.Double, 1, 2, DataType.Double],
  ])("type %i by %i/%i becomes %i", (native, n, d, datatype) => {
    expect(createScaler(native, by(n, d)).datatype).toBe(datatype);
  });

  it.each([
    [DataType.UInt32, 1, 100, 123_456, 1234.56],
    [DataType.UInt32, 1, 1000, 4_294_967_295, 4_294_967.295],
    [DataType.Int16, -1, 10, 123, -12.3],
    [DataType.UInt16, 1, 8, 1, 0.125],
    [DataType.UInt16, 10, 1, 65_535, 655_350n],
    [DataType.Int64, 2, 1, -(2n ** 62n), -(2n ** 63n)],
    [DataType.UInt64, 1, 1000, 1_234_567_890_123_456n, 1_234_567_890_123.456],
    // The shortest float32 form counts: 0.1f is 0.1, not 0.10000000149011612.
    [DataType.Float, 10, 1, Math.fround(0.1), 1],
    [DataType.Float, 1, 1000, Math.fround(230.4), 0.2304],
    [DataType.Double, 3, 10, 0.1, 0.03],
  ])("type %i by %i/%i: %d", (native, n, d, raw, value) => {
    expect(scaled(native, n, d, raw)).toEqual({ value, status: Status.Good });
  });

  it("says when no double stands for the exact decimal", () => {
    const { value, status } = scaled(DataType.UInt64, 1, 1000, 9_223_372_036_854_775_807n);
    expect(value).toBe(Number("9223372036854775.807"));
    expect(status).toBe(Status.UncertainDataSubNormal);
    // 2^63-1 in thousandths has 19 digits; the same number of thousandths with 16 digits is exact.
    expect(scaled(DataType.UInt64, 1, 1000, 9_223_372_036_854_775n).status).toBe(Status.Good);
  });

  it("refuses a product beyond 64 bits, and one beyond the doubles", () => {
    const refused = { value: null, status: Status.BadOutOfRange };
    expect(scaled(DataType.Int64, 2, 1, 2n ** 62n)).toEqual(refused);
    expect(scaled(DataType.Double, 1000, 1, 1e306)).toEqual(refused);
    expect(scaled(DataType.Double, -1000, 7, 1e306)).toEqual(refused);
  });

  it("gives the nearest number where the factor has no finite decimal", () => {
    expect(scaled(DataType.Int16, 5, 9, 100)).toEqual({ value: 500 / 9, status: Status.Good });
    expect(scaled(DataType.Int64, 1, 3, 2n ** 62n).value).toBeCloseTo(2 ** 62 / 3, -3);
  });

  it("gives every count of an integer as its exact decimal, over all magnitudes", () => {
    const places = new Map([
      [10, 1],
      [100, 2],
      [1000, 3],
      [1_000_000, 6],
    ]);
    let seed = 1n;
    for (let i = 0; i < 4000; i += 1) {
      seed = (seed * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) % 2n ** 64n;
      const raw = BigInt.asIntN(64, seed) >> BigInt(10 + (i % 53));
      for (const [denominator, scale] of places) {
        const digits = (raw < 0n ? -raw : raw).toString().padStart(scale + 1, "0");
        const text = `${raw < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
        const trimmed = text.replace(/\.?0+$/, "");
        const { value, status } = scaled(DataType.Int64, 1, denominator, raw);
        expect(value).toBe(Number(text));
        const held = /e/.test(String(value)) ? undefined : String(value);
        if (status === Status.Good && held !== undefined) expect(held).toBe(trimmed);
        if (digits.length <= 15) expect(status).toBe(Status.Good);
      }
    }
  });
});

it("gives counts in the unit as decimal strings", () => {
  expect(countsInUnit(2n ** 32n, by(1, 100))).toBe("42949672.96");
  expect(countsInUnit(1n, by(1, 8))).toBe("0.125");
  expect(countsInUnit(1n, by(5, 9))).toBeUndefined();
});

it("measures a change of numbers and of 64-bit integers, and lets a change of kind through", () => {
  expect([isWithin(0.5, 1, 1.4), isWithin(0.5, 1, 1.5), isWithin(3, 10n, 8n), isWithin(2, 10n, 8n)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect([isWithin(9, null, 1), isWithin(9, 1n, 1), isWithin(9, true, false)]).toEqual([false, false, false]);
});
