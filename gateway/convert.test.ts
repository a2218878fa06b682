import { DataType } from "@jilian/domain/datatypes.ts";
import { Status, statusName } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { fits } from "./births.ts";
import { converterOf } from "./convert.ts";
import { definitionOf } from "./definitions.ts";
import { deviceWith } from "./test-values.ts";

const of = (tag: string) => {
  const device = deviceWith([tag]);
  const [only] = device.tags;
  if (!only) throw new Error("no tag");
  return { ...converterOf(only), definition: definitionOf(device, only, false) };
};
/** `value status` of raw values, all good as read; every value fits the datatype of its birth. */
function converted(tag: string, ...raws: (number | bigint)[]): string[] {
  const { convert, datatype } = of(tag);
  return raws.map((raw) => {
    const { value, status } = convert({ value: raw, status: Status.Good });
    expect(fits(datatype, value)).toBe(true);
    return `${value} ${statusName(status)}`;
  });
}

describe("offset", () => {
  it.each([
    ["type: uint16, scale: { offset: -40 }", DataType.Int64, 0, "-40 Good"],
    ["type: uint16, scale: { denominator: 10, offset: -273.15 }", DataType.Double, 2982, "25.05 Good"],
    ["type: int16, scale: { numerator: 9, denominator: 5, offset: 32 }", DataType.Double, -401, "-689.8 Good"],
    ["type: float32, scale: { offset: 0.1 }", DataType.Double, Math.fround(0.2), "0.3 Good"],
    [
      "type: int16, scale: { numerator: 5, denominator: 9, offset: -1 }",
      DataType.Double,
      100,
      "54.55555555555556 Good",
    ],
    ["type: uint16, scale: { offset: '-0.00000000000000001' }", DataType.Double, 1, "1 UncertainDataSubNormal"],
  ])("%s", (tag, datatype, raw, shown) => {
    expect(of(tag).datatype).toBe(datatype);
    expect(converted(tag, raw)).toEqual([shown]);
  });

  it("keeps 64-bit integers to the last digit, and says where it cannot", () => {
    const tag = "type: int64, scale: { offset: 7 }";
    expect(converted(tag, 2n ** 53n, 2n ** 63n - 8n, 2n ** 63n - 7n)).toEqual([
      "9007199254740999 Good",
      "9223372036854775807 Good",
      "null BadOutOfRange",
    ]);
  });
});

describe("rawRange to euRange", () => {
  it("is exact at and between the ends; beyond them the value goes on and is uncertain, never clamped", () => {
    const tag = "type: int16, rawRange: { min: 0, max: 27648 }, euRange: { min: -50, max: 150 }, unit: Cel";
    expect(converted(tag, 0, 13_824, 27_648, -1, 32_767)).toEqual([
      "-50 Good",
      "50 Good",
      "150 Good",
      "-50.0072337962963 UncertainEngineeringUnitsExceeded",
      "187.02980324074073 UncertainEngineeringUnitsExceeded",
    ]);
  });

  it("falls where the engineering range is the other way round; `range` outside of it is bad all the same", () => {
    const tag = "type: uint16, rawRange: { min: 4000, max: 20000 }, euRange: { min: 100, max: 0 }, range: { min: -5 }";
    expect(converted(tag, 4000, 20_000, 20_400, 24_000)).toEqual([
      "100 Good",
      "0 Good",
      "-2.5 UncertainEngineeringUnitsExceeded",
      "-25 BadOutOfRange",
    ]);
  });

  it("tells the resolution of a count where that is a decimal", () => {
    const resolution = (max: number) =>
      of(`type: uint16, rawRange: { min: 0, max: ${max} }, euRange: { min: 0, max: 10 }`).definition.resolution;
    expect([resolution(4000), resolution(27_648)]).toEqual(["0.0025", undefined]);
  });
});

describe("enumeration", () => {
  it("gives texts, as a String metric, or the product's state codes, as Int32", () => {
    const texts = "type: uint16, enumeration: { 0: off, 0x10: 运行 }";
    expect(of(texts).datatype).toBe(DataType.String);
    expect(converted(texts, 0, 16)).toEqual(["off Good", "运行 Good"]);
    const codes = "type: int64, enumeration: { 3: 1, -1: 4 }, role: machine.state, unit: '1'";
    expect(of(codes).datatype).toBe(DataType.Int32);
    expect(converted(codes, 3n, -1n)).toEqual(["1 Good", "4 Good"]);
    expect(of(codes).definition).not.toHaveProperty("resolution");
  });

  it("has no value for a number that is not listed: as it is, it could be the code of another state", () => {
    expect(converted("type: uint16, enumeration: { 3: 1 }", 1)).toEqual(["null BadOutOfRange"]);
    const { convert } = of("type: uint16, enumeration: { 3: 1 }");
    expect(convert({ value: null, status: Status.BadTimeout })).toEqual({ value: null, status: Status.BadTimeout });
    expect(convert({ value: 3, status: Status.Uncertain })).toEqual({ value: 1, status: Status.Uncertain });
  });
});

it("of two reasons the worse is told, of two as bad the first", () => {
  const { convert } = of("type: int64, scale: { numerator: 4 }");
  const beyond = { value: 2n ** 62n, status: Status.UncertainLastUsableValue };
  expect(convert(beyond)).toEqual({ value: null, status: Status.BadOutOfRange });
  const ranged = of("type: uint16, rawRange: { min: 0, max: 10 }, euRange: { min: 0, max: 1 }");
  const { status } = ranged.convert({ value: 11, status: Status.UncertainLastUsableValue });
  expect(status).toBe(Status.UncertainLastUsableValue);
});

it("a BCD counter starts again where its digits end", () => {
  const definition = (tag: string) =>
    of(`${tag}, unit: kWh, role: energy.import, scale: { denominator: 100 }`).definition;
  expect(definition("type: bcd32")).toMatchObject({ modulus: "1000000", resolution: "0.01" });
  expect(definition("type: bcd48, modulusCounts: 100000000")).toMatchObject({ modulus: "1000000" });
});

it("a percent deadband is of the span, and told in the unit", () => {
  const deadband = (tag: string) => of(`type: int16, ${tag}`).definition.deadband;
  expect(deadband("deadbandPercent: 0.1, rawRange: { min: 0, max: 10 }, euRange: { min: 150, max: -50 }")).toBe(0.2);
  expect(deadband("deadbandPercent: 2.5, range: { min: -10, max: 30 }")).toBe(1);
});
