/**
 * A decoder of the Sparkplug B payload (Sparkplug 3.0, 6.4) by hand, from the bytes of protobuf: it keeps what our own codec repairs or passes
 * over, and a mistake of that codec cannot hide here.
 */

export type RawProperty = { type: number | undefined; isNull: boolean; value: unknown };
export type RawMetric = {
  name?: string;
  alias?: number;
  timestamp?: number;
  datatype?: number;
  isHistorical: boolean;
  isTransient: boolean;
  isNull: boolean;
  /** Keys and values as they came, each a list of its own. */
  properties?: { keys: string[]; values: RawProperty[] };
  /** Which field of the oneof holds the value (10 int to 16 bytes; 17 data set, 18 template), and what is in it. */
  field?: number;
  value?: number | bigint | boolean | string | Uint8Array;
};
export type RawPayload = { timestamp?: number; seq?: number; uuid?: string; metrics: RawMetric[] };

type Field = { number: number; wire: number; value: bigint | Uint8Array };

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Fields of a protobuf message in order. @throws RangeError when the bytes are not one */
function fieldsOf(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: Field[] = [];
  let at = 0;
  function varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = view.getUint8(at);
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a varint of more than ten bytes");
  }
  function take(length: number): Uint8Array {
    if (at + length > bytes.length) throw new RangeError("a field ends after its message");
    at += length;
    return bytes.subarray(at - length, at);
  }
  while (at < bytes.length) {
    const tag = Number(varint());
    const [number, wire] = [tag >>> 3, tag & 7];
    if (number === 0) throw new RangeError("field 0");
    if (wire === 0) found.push({ number, wire, value: varint() });
    else if (wire === 1) found.push({ number, wire, value: take(8) });
    else if (wire === 2) found.push({ number, wire, value: take(Number(varint())) });
    else if (wire === 5) found.push({ number, wire, value: take(4) });
    else throw new RangeError(`wire type ${wire}`);
  }
  return found;
}

function bytesOf({ number, wire, value }: Field, expected: number): Uint8Array {
  if (wire !== expected || typeof value === "bigint") throw new RangeError(`field ${number} has wire type ${wire}`);
  return value;
}

function wholeOf({ number, wire, value }: Field, bits: bigint): bigint {
  if (wire !== 0 || typeof value !== "bigint") throw new RangeError(`field ${number} has wire type ${wire}`);
  if (value >> bits !== 0n) throw new RangeError(`field ${number} has more than ${bits} bits`);
  return value;
}

const textOf = (field: Field): string => utf8.decode(bytesOf(field, 2));
const flagOf = (field: Field): boolean => wholeOf(field, 1n) === 1n;

/** The value of field int, long, float, double, boolean or string of a oneof whose first is `first`. */
function readOneof(field: Field, first: number): number | bigint | boolean | string {
  const viewOf = (wire: number) => {
    const bytes = bytesOf(field, wire);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  switch (field.number - first) {
    case 0:
      return Number(wholeOf(field, 32n));
    case 1:
      return wholeOf(field, 64n);
    case 2:
      return viewOf(5).getFloat32(0, true);
    case 3:
      return viewOf(1).getFloat64(0, true);
    case 4:
      return flagOf(field);
    default:
      return textOf(field);
  }
}

function propertyOf(bytes: Uint8Array): RawProperty {
  const property: RawProperty = { type: undefined, isNull: false, value: undefined };
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) property.type = Number(wholeOf(field, 32n));
    else if (field.number === 2) property.isNull = flagOf(field);
    else if (field.number <= 8) property.value = readOneof(field, 3);
  }
  return property;
}

function propertySetOf(bytes: Uint8Array): NonNullable<RawMetric["properties"]> {
  const set: NonNullable<RawMetric["properties"]> = { keys: [], values: [] };
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) set.keys.push(textOf(field));
    else if (field.number === 2) set.values.push(propertyOf(bytesOf(field, 2)));
  }
  return set;
}

function metricOf(bytes: Uint8Array): RawMetric {
  const metric: RawMetric = { isHistorical: false, isTransient: false, isNull: false };
  for (const field of fieldsOf(bytes)) {
    const { number } = field;
    if (number === 1) metric.name = textOf(field);
    else if (number === 2) metric.alias = Number(wholeOf(field, 64n));
    else if (number === 3) metric.timestamp = Number(wholeOf(field, 64n));
    else if (number === 4) metric.datatype = Number(wholeOf(field, 32n));
    else if (number === 5) metric.isHistorical = flagOf(field);
    else if (number === 6) metric.isTransient = flagOf(field);
    else if (number === 7) metric.isNull = flagOf(field);
    else if (number === 9) metric.properties = propertySetOf(bytesOf(field, 2));
    else if (number >= 10) {
      metric.field = number;
      metric.value = number >= 16 ? bytesOf(field, 2) : readOneof(field, 10);
    }
  }
  return metric;
}

/** Decodes a payload. @throws RangeError, TypeError when the bytes are not a Sparkplug B payload */
export function rawPayload(bytes: Uint8Array): RawPayload {
  const payload: RawPayload = { metrics: [] };
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) payload.timestamp = Number(wholeOf(field, 64n));
    else if (field.number === 2) payload.metrics.push(metricOf(bytesOf(field, 2)));
    else if (field.number === 3) payload.seq = Number(wholeOf(field, 64n));
    else if (field.number === 4) payload.uuid = textOf(field);
  }
  return payload;
}
