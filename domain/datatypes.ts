import { arrayText } from "./arrays.ts";
import { type DataSet, dataSetText } from "./data-set.ts";
import { JilianError } from "./errors.ts";

/**
 * Sparkplug B datatype numbers (Sparkplug 3.0, 6.4.16). Templates and property sets (19-21) are not carried by this product. Bytes and File
 * are kept as text in base64, arrays and data sets as JSON (arrays.ts, data-set.ts): they are read from nodes of other make, ours send none.
 */
export const DataType = {
  Int8: 1,
  Int16: 2,
  Int32: 3,
  Int64: 4,
  UInt8: 5,
  UInt16: 6,
  UInt32: 7,
  UInt64: 8,
  Float: 9,
  Double: 10,
  Boolean: 11,
  String: 12,
  DateTime: 13,
  Text: 14,
  UUID: 15,
  DataSet: 16,
  Bytes: 17,
  File: 18,
  Int8Array: 22,
  Int16Array: 23,
  Int32Array: 24,
  Int64Array: 25,
  UInt8Array: 26,
  UInt16Array: 27,
  UInt32Array: 28,
  UInt64Array: 29,
  FloatArray: 30,
  DoubleArray: 31,
  BooleanArray: 32,
  StringArray: 33,
  DateTimeArray: 34,
} as const;
export type DataTypeName = keyof typeof DataType;
export type DataTypeNumber = (typeof DataType)[DataTypeName];

/**
 * A value at its native width: integers up to 32 bits are numbers, 64-bit integers and DateTime are bigints, Float is a number that
 * is exactly representable in 32 bits, Double a number, Boolean a boolean, the text types strings. null: no usable value.
 */
export type Value = boolean | number | bigint | string | null;

/** A value as the payload's oneof holds it (Tahu's sparkplug_b.proto, Payload.Metric.value). */
export type WireValue =
  | { case: "intValue"; value: number }
  | { case: "longValue"; value: bigint }
  | { case: "floatValue"; value: number }
  | { case: "doubleValue"; value: number }
  | { case: "booleanValue"; value: boolean }
  | { case: "stringValue"; value: string }
  | { case: "bytesValue"; value: Uint8Array }
  | { case: "datasetValue"; value: DataSet<ScalarWire> }
  | { case: undefined; value?: undefined };

/** What a property, an element of a data set and all that we send is. */
export type ScalarWire = Exclude<WireValue, { case: "bytesValue" | "datasetValue" }>;

const bits: Partial<Record<number, number>> = { 1: 8, 2: 16, 3: 32, 4: 64, 5: 8, 6: 16, 7: 32, 8: 64, 13: 64 };
const signed = new Set<number>([1, 2, 3, 4]);
const texts = new Set<number>([DataType.String, DataType.Text, DataType.UUID]);
const supported = new Set<number>(Object.values(DataType));

export function isSupported(datatype: number): datatype is DataTypeNumber {
  return supported.has(datatype);
}

export function isInteger(datatype: number): boolean {
  return bits[datatype] !== undefined;
}

/** True for the types that are kept as bigint: Int64, UInt64, DateTime. */
export function is64Bit(datatype: number): boolean {
  return bits[datatype] === 64;
}

export function isText(datatype: number): boolean {
  return texts.has(datatype);
}

function misfit(value: unknown, datatype: number, why: string): JilianError {
  const text = typeof value === "object" && value !== null ? "" : String(value);
  return new JilianError(`value ${text.slice(0, 200)} does not fit datatype ${datatype}: ${why}`, {
    code: "VALUE_MISFIT",
    action: "encode or decode a Sparkplug value",
    remedy: "correct the datatype of the tag in the gateway's configuration, or the node's birth certificate",
  });
}

/**
 * Puts a value into the payload's oneof. Signed integers travel in unsigned fields as two's complement (Sparkplug 3.0, 6.4.16).
 * @throws JilianError VALUE_MISFIT when the value is not one of the datatype, or null
 */
export function toWire(datatype: number, value: Exclude<Value, null>): ScalarWire {
  const width = bits[datatype];
  if (width === 64) {
    const whole =
      typeof value === "bigint"
        ? value
        : typeof value === "number" && Number.isSafeInteger(value)
          ? BigInt(value)
          : undefined;
    if (whole === undefined) throw misfit(value, datatype, "not an integer");
    const fits = signed.has(datatype) ? BigInt.asIntN(64, whole) === whole : BigInt.asUintN(64, whole) === whole;
    if (!fits) throw misfit(value, datatype, "out of range");
    return { case: "longValue", value: BigInt.asUintN(64, whole) };
  }
  if (width !== undefined) {
    if (typeof value !== "number" || !Number.isInteger(value)) throw misfit(value, datatype, "not an integer");
    const low = signed.has(datatype) ? -(2 ** (width - 1)) : 0;
    if (value < low || value >= low + 2 ** width) throw misfit(value, datatype, "out of range");
    return { case: "intValue", value: value >>> 0 };
  }
  if (datatype === DataType.Float && typeof value === "number") {
    const overflows = Number.isFinite(value) && !Number.isFinite(Math.fround(value));
    if (overflows) throw misfit(value, datatype, "out of range");
    return { case: "floatValue", value };
  }
  if (datatype === DataType.Double && typeof value === "number") return { case: "doubleValue", value };
  if (datatype === DataType.Boolean && typeof value === "boolean") return { case: "booleanValue", value };
  if (isText(datatype) && typeof value === "string") return { case: "stringValue", value };
  throw misfit(value, datatype, "wrong kind");
}

/**
 * Reads a value by the datatype of its birth certificate. Tolerant where encoders in the field differ: integers up to 32 bits are
 * accepted from either integer field, sign-extended at their own width.
 * @throws JilianError VALUE_MISFIT when the field cannot hold the datatype
 */
export function fromWire(datatype: number, wire: WireValue): Value {
  if (wire.case === undefined) return null;
  const width = bits[datatype];
  if (width !== undefined) {
    if (wire.case !== "intValue" && wire.case !== "longValue") throw misfit(wire.value, datatype, `field ${wire.case}`);
    const whole = BigInt(wire.value);
    // A negative Int32 of some encoders arrives as a 64-bit two's complement in long_value: cutting to the width reads both.
    const cut = signed.has(datatype) ? BigInt.asIntN(width, whole) : BigInt.asUintN(width, whole);
    return width === 64 ? cut : Number(cut);
  }
  if (datatype === DataType.Float || datatype === DataType.Double) {
    if (wire.case !== "floatValue" && wire.case !== "doubleValue")
      throw misfit(wire.value, datatype, `field ${wire.case}`);
    return datatype === DataType.Float ? Math.fround(wire.value) : wire.value;
  }
  if (datatype === DataType.Boolean && wire.case === "booleanValue") return wire.value;
  if (isText(datatype) && wire.case === "stringValue") return wire.value;
  if (wire.case === "bytesValue") {
    const text = bytesText(datatype, wire.value);
    if (text !== undefined) return text;
  }
  if (wire.case === "datasetValue" && datatype === DataType.DataSet) {
    const text = dataSetText(wire.value, elementName, fromWire);
    if (text !== undefined) return text;
  }
  throw misfit(wire.value, datatype, `field ${wire.case}`);
}

const names = new Map<number, string>(Object.entries(DataType).map(([name, datatype]) => [datatype, name]));

/** The name of a datatype that an element of a data set may have (Sparkplug 3.0, 6.4.16: basic types). */
function elementName(datatype: number): string | undefined {
  return datatype <= DataType.Text ? names.get(datatype) : undefined;
}

/** What a type that travels as bytes is kept as; undefined when the bytes are none of it. */
function bytesText(datatype: number, bytes: Uint8Array): string | undefined {
  if (datatype === DataType.Bytes || datatype === DataType.File) return Buffer.from(bytes).toString("base64");
  return datatype >= DataType.Int8Array && datatype <= DataType.DateTimeArray ? arrayText(datatype, bytes) : undefined;
}
