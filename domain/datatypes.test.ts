import { describe, expect, it } from "vitest";
import {
  DataType,
  type DataTypeName,
  fromWire,
  is64Bit,
  isInteger,
  isSupported,
  isText,
  toWire,
  type Value,
  type WireValue,
} from "./datatypes.ts";

type Case = [DataTypeName, Exclude<Value, null>, WireValue];
const int = (value: number): WireValue => ({ case: "intValue", value });
const long = (value: bigint): WireValue => ({ case: "longValue", value });

const cases: Case[] = [
  ["Int8", -1, int(0xffff_ffff)],
  ["Int8", -128, int(0xffff_ff80)],
  ["Int8", 127, int(127)],
  ["Int16", -32_768, int(0xffff_8000)],
  ["Int32", -2_147_483_648, int(0x8000_0000)],
  ["Int32", 2_147_483_647, int(0x7fff_ffff)],
  ["Int64", -5n, long(2n ** 64n - 5n)],
  ["Int64", -(2n ** 63n), long(2n ** 63n)],
  ["Int64", 2n ** 63n - 1n, long(2n ** 63n - 1n)],
  ["UInt8", 255, int(255)],
  ["UInt16", 65_535, int(65_535)],
  ["UInt32", 4_294_967_295, int(4_294_967_295)],
  ["UInt64", 2n ** 64n - 1n, long(2n ** 64n - 1n)],
  ["DateTime", 1_750_000_000_000n, long(1_750_000_000_000n)],
  ["Float", Math.fround(0.1), { case: "floatValue", value: Math.fround(0.1) }],
  ["Double", 0.1, { case: "doubleValue", value: 0.1 }],
  ["Boolean", false, { case: "booleanValue", value: false }],
  ["String", "温度", { case: "stringValue", value: "温度" }],
  ["Text", "", { case: "stringValue", value: "" }],
  ["UUID", "x", { case: "stringValue", value: "x" }],
];

describe("values on the wire", () => {
  it.each(cases)("%s %s, there and back", (name, value, wire) => {
    expect(toWire(DataType[name], value)).toEqual(wire);
    expect(fromWire(DataType[name], wire)).toBe(value);
  });

  it("are read as other encoders write them: own width, other integer field, float in double", () => {
    expect(fromWire(DataType.Int8, int(0xff))).toBe(-1);
    expect(fromWire(DataType.Int16, int(0xfffe))).toBe(-2);
    expect(fromWire(DataType.Int32, long(2n ** 64n - 7n))).toBe(-7);
    expect(fromWire(DataType.Int32, long(0xffff_fff9n))).toBe(-7);
    expect(fromWire(DataType.Int64, int(12))).toBe(12n);
    expect(fromWire(DataType.UInt32, long(4_000_000_000n))).toBe(4_000_000_000);
    expect(fromWire(DataType.Float, { case: "doubleValue", value: 0.1 })).toBe(Math.fround(0.1));
    expect(fromWire(DataType.Double, { case: "floatValue", value: 0.5 })).toBe(0.5);
  });

  it("accept a safe number for a 64-bit integer", () => {
    expect(toWire(DataType.Int64, -5)).toEqual(long(2n ** 64n - 5n));
    expect(() => toWire(DataType.Int64, 2 ** 53)).toThrow(expect.objectContaining({ code: "VALUE_MISFIT" }));
  });

  it.each<[DataTypeName, Exclude<Value, null>]>([
    ["Int8", 128],
    ["Int8", -129],
    ["UInt8", -1],
    ["UInt8", 256],
    ["Int32", 2_147_483_648],
    ["UInt32", -1],
    ["UInt32", 1.5],
    ["Int16", Number.NaN],
    ["Int32", 5n],
    ["Int64", 2n ** 63n],
    ["UInt64", -1n],
    ["UInt64", 2n ** 64n],
    ["DateTime", "2026"],
    ["Boolean", 1],
    ["Float", "1"],
    ["Float", 1e300],
    ["Double", 1n],
    ["String", 1],
    ["Bytes", "x"],
  ])("refuse %s %s", (name, value) => {
    expect(() => toWire(DataType[name], value)).toThrow(expect.objectContaining({ code: "VALUE_MISFIT" }));
  });

  it.each<[DataTypeName, WireValue]>([
    ["Int32", { case: "doubleValue", value: 1 }],
    ["Int64", { case: "stringValue", value: "1" }],
    ["Boolean", int(1)],
    ["String", int(1)],
    ["Double", int(1)],
    ["Bytes", { case: "stringValue", value: "AA==" }],
    ["Double", { case: "bytesValue", value: new Uint8Array(8) }],
    ["Int16Array", { case: "bytesValue", value: new Uint8Array(3) }],
    ["BooleanArray", { case: "bytesValue", value: new Uint8Array(3) }],
    ["BooleanArray", { case: "bytesValue", value: new Uint8Array([9, 0, 0, 0, 0xff]) }],
    ["StringArray", { case: "bytesValue", value: new Uint8Array([0x61]) }],
    ["StringArray", { case: "bytesValue", value: new Uint8Array([0xff, 0]) }],
  ])("refuse to read %s from %o", (name, wire) => {
    expect(() => fromWire(DataType[name], wire)).toThrow(expect.objectContaining({ code: "VALUE_MISFIT" }));
  });

  // The examples of Sparkplug 3.0, 6.4.17.
  it.each<[DataTypeName, number[], string]>([
    ["Bytes", [0, 255], "AP8="],
    ["File", [], ""],
    ["Int8Array", [0xef, 0x7b], "[-17,123]"],
    ["Int16Array", [0xd0, 0x8a, 0x30, 0x75], "[-30000,30000]"],
    ["Int32Array", [0xff, 0xff, 0xff, 0xff], "[-1]"],
    ["Int64Array", [0, 0, 0, 0, 0, 0, 0, 0x80], "[-9223372036854775808]"],
    ["UInt8Array", [0x17, 0xfa], "[23,250]"],
    ["UInt16Array", [0x1e, 0x00, 0x88, 0xff], "[30,65416]"],
    ["UInt32Array", [0x34, 0x00, 0x00, 0xff], "[4278190132]"],
    ["UInt64Array", [255, 255, 255, 255, 255, 255, 255, 255], "[18446744073709551615]"],
    ["FloatArray", [0xcd, 0xcc, 0xcc, 0x3d, 0, 0, 0xc0, 0x7f], "[0.1,null]"],
    ["DoubleArray", [0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f], "[0.1]"],
    ["BooleanArray", [12, 0, 0, 0, 0x34, 0xd0], "[false,false,true,true,false,true,false,false,true,true,false,true]"],
    ["StringArray", [0x41, 0xc3, 0xa4, 0, 0, 0x22, 0], '["Aä","","\\""]'],
    ["StringArray", [], "[]"],
    ["DateTimeArray", [0xc7, 0xd0, 0x90, 0x75, 0x24, 0x01, 0, 0], "[1256102875335]"],
  ])("read %s %j as text", (name, bytes, text) => {
    // Not at the beginning of its memory, as in a payload.
    const value = new Uint8Array([9, ...bytes]).subarray(1);
    expect(fromWire(DataType[name], { case: "bytesValue", value })).toBe(text);
  });

  const table = (types: number[], rows: WireValue[][], columns = types.map((_, i) => `c${i}`)): WireValue => ({
    case: "datasetValue",
    value: { columns, types, rows: rows.map((row) => ({ elements: row.map((value) => ({ value: value as never })) })) },
  });

  it("read a data set as text", () => {
    const { Int8, UInt64, Float, String: Text, DateTime, Boolean: Flag } = DataType;
    const float: WireValue = { case: "floatValue", value: Math.fround(0.1) };
    const text: WireValue = { case: "stringValue", value: '"温"' };
    const row = [int(0xff), long(2n ** 64n - 1n), float, text, long(1n), { case: undefined }] satisfies WireValue[];
    expect(fromWire(DataType.DataSet, table([Int8, UInt64, Float, Text, DateTime, Flag], [row, row]))).toBe(
      '{"columns":["c0","c1","c2","c3","c4","c5"],"types":["Int8","UInt64","Float","String","DateTime","Boolean"],"rows":[[-1,18446744073709551615,0.1,"\\"温\\"",1,null],[-1,18446744073709551615,0.1,"\\"温\\"",1,null]]}',
    );
  });

  it.each<[string, WireValue]>([
    ["a row too short", table([3, 3], [[int(1)]])],
    ["a column too many", table([3], [[int(1)]], ["a", "b"])],
    ["a type that no table has", table([22], [[int(1)]])],
    ["an element of another type", table([12], [[int(1)]])],
  ])("refuse a data set with %s", (_, wire) => {
    expect(() => fromWire(DataType.DataSet, wire)).toThrow(expect.objectContaining({ code: "VALUE_MISFIT" }));
  });

  it("read nothing as null, whatever the datatype", () => {
    for (const datatype of Object.values(DataType)) expect(fromWire(datatype, { case: undefined })).toBeNull();
  });
});

it("knows the kinds of the datatypes", () => {
  const those = (test: (n: number) => boolean) =>
    Object.entries(DataType)
      .filter(([, n]) => test(n))
      .map(([name]) => name);
  expect(those(is64Bit)).toEqual(["Int64", "UInt64", "DateTime"]);
  expect(those(isText)).toEqual(["String", "Text", "UUID"]);
  expect(those(isInteger)).toEqual([
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "DateTime",
  ]);
  expect([0, 19, 20, 21, 35].some(isSupported)).toBe(false);
  expect(those(isSupported)).toHaveLength(31);
});
