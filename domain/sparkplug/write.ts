import { toWire, type Value } from "../datatypes.ts";
import type { OutMetric, OutPayload, Properties } from "./payload.ts";

/**
 * Writes Sparkplug B payloads (sparkplug_b.proto beside this file), byte for byte as the library that reads them would, without its message
 * objects: on a box with thousands of values a second these were most of what sending costs.
 */

/** Wire types of protobuf, in the lowest three bits of a tag; the rest is the field's number. */
const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
const tag = (field: number, type: number): number => field * 8 + type;

const payloadTag = {
  timestamp: tag(1, wire.varint),
  metric: tag(2, wire.bytes),
  seq: tag(3, wire.varint),
  uuid: tag(4, wire.bytes),
  body: tag(5, wire.bytes),
} as const;
const metricTag = {
  name: tag(1, wire.bytes),
  alias: tag(2, wire.varint),
  timestamp: tag(3, wire.varint),
  datatype: tag(4, wire.varint),
  isHistorical: tag(5, wire.varint),
  isTransient: tag(6, wire.varint),
  isNull: tag(7, wire.varint),
  properties: tag(9, wire.bytes),
} as const;
const setTag = { key: tag(1, wire.bytes), value: tag(2, wire.bytes) } as const;
const propertyTag = { type: tag(1, wire.varint), isNull: tag(2, wire.varint) } as const;
/** Numbers of `int_value`, the first field of the oneof of a metric and of a property. */
const metricValueField = 10;
const propertyValueField = 3;

/** Kept from one payload to the next; one that was large is given up. */
const scratchBytes = 16_384;
let scratch = Buffer.allocUnsafeSlow(scratchBytes);
let at = 0;

function room(bytes: number): void {
  if (at + bytes <= scratch.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(2 * scratch.length, at + bytes));
  scratch.copy(larger, 0, 0, at);
  scratch = larger;
}

/** @param whole 0 to 2^53. Division, since bit operators end at 2^32. */
function putVarint(whole: number): void {
  room(10);
  let rest = whole;
  while (rest > 0x7fffffff) {
    scratch[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  for (; rest > 0x7f; rest >>>= 7) scratch[at++] = (rest & 0x7f) | 0x80;
  scratch[at++] = rest;
}

/** @throws RangeError for what is no whole number of 64 bits */
function putWhole(whole: number | bigint): void {
  if (typeof whole === "number" && whole >= 0 && Number.isSafeInteger(whole)) {
    putVarint(whole);
    return;
  }
  const wide = BigInt(whole);
  if (BigInt.asUintN(64, wide) !== wide) throw new RangeError(`${wide} is no unsigned number of 64 bits`);
  room(10);
  let rest = wide;
  for (; rest > 0x7fn; rest >>= 7n) scratch[at++] = Number(rest & 0x7fn) | 0x80;
  scratch[at++] = Number(rest);
}

function putText(text: string): void {
  const bytes = Buffer.byteLength(text);
  putVarint(bytes);
  room(bytes);
  at += scratch.write(text, at);
}

function putBytes(bytes: Uint8Array): void {
  putVarint(bytes.length);
  room(bytes.length);
  scratch.set(bytes, at);
  at += bytes.length;
}

/** Begins a message within one. @returns where it begins, for {@link endMessage} */
function beginMessage(field: number): number {
  putVarint(field);
  room(1);
  at += 1;
  return at;
}

/** Its length is known when it is written, and takes one byte but for those of 128 bytes and more. */
function endMessage(from: number): void {
  const bytes = at - from;
  if (bytes <= 0x7f) {
    scratch[from - 1] = bytes;
    return;
  }
  // At most five more: moved away before the length is written in its place.
  let more = 1;
  while (bytes >= 0x80 ** (more + 1)) more += 1;
  room(more);
  scratch.copyWithin(from + more, from, at);
  at = from - 1;
  putVarint(bytes);
  at += bytes;
}

/** @param first number of the oneof's first field: the others follow in one order in metrics and in properties */
function putValue(first: number, datatype: number, value: Exclude<Value, null>): void {
  const found = toWire(datatype, value);
  switch (found.case) {
    case "intValue":
      putVarint(tag(first, wire.varint));
      putVarint(found.value);
      break;
    case "longValue":
      putVarint(tag(first + 1, wire.varint));
      putWhole(found.value);
      break;
    case "floatValue":
      putVarint(tag(first + 2, wire.fixed32));
      room(4);
      at = scratch.writeFloatLE(found.value, at);
      break;
    case "doubleValue":
      putVarint(tag(first + 3, wire.fixed64));
      room(8);
      at = scratch.writeDoubleLE(found.value, at);
      break;
    case "booleanValue":
      putVarint(tag(first + 4, wire.varint));
      putVarint(found.value ? 1 : 0);
      break;
    case "stringValue":
      putVarint(tag(first + 5, wire.bytes));
      putText(found.value);
      break;
  }
}

function putFlag(field: number): void {
  putVarint(field);
  putVarint(1);
}

function putProperties(properties: Properties): void {
  const entries = Object.entries(properties);
  for (const [key] of entries) {
    putVarint(setTag.key);
    putText(key);
  }
  for (const [, { datatype, value }] of entries) {
    const from = beginMessage(setTag.value);
    putVarint(propertyTag.type);
    putVarint(datatype);
    if (value === null) putFlag(propertyTag.isNull);
    else putValue(propertyValueField, datatype, value);
    endMessage(from);
  }
}

function putMetric(metric: OutMetric): void {
  const { name, alias, properties, value } = metric;
  if (name !== undefined) {
    putVarint(metricTag.name);
    putText(name);
  }
  if (alias !== undefined) {
    putVarint(metricTag.alias);
    putWhole(alias);
  }
  putVarint(metricTag.timestamp);
  putWhole(metric.timestampMs);
  if (metric.declare) {
    putVarint(metricTag.datatype);
    putVarint(metric.datatype);
  }
  if (metric.historical) putFlag(metricTag.isHistorical);
  if (metric.transient) putFlag(metricTag.isTransient);
  if (value === null) putFlag(metricTag.isNull);
  if (properties !== undefined) {
    const from = beginMessage(metricTag.properties);
    putProperties(properties);
    endMessage(from);
  }
  if (value !== null) putValue(metricValueField, metric.datatype, value);
}

/**
 * The bytes of a Sparkplug B payload.
 * @throws JilianError VALUE_MISFIT when a value is not one of its datatype
 * @throws RangeError for a time, alias or seq that is no whole number of 64 bits
 */
export function writePayload(payload: OutPayload): Uint8Array<ArrayBuffer> {
  const { metrics, seq, uuid, body } = payload;
  at = 0;
  putVarint(payloadTag.timestamp);
  putWhole(payload.timestampMs);
  for (let i = 0; i < metrics.length; i += 1) {
    const from = beginMessage(payloadTag.metric);
    putMetric(metrics[i] as OutMetric);
    endMessage(from);
  }
  if (seq !== undefined) {
    putVarint(payloadTag.seq);
    putWhole(seq);
  }
  if (uuid !== undefined) {
    putVarint(payloadTag.uuid);
    putText(uuid);
  }
  if (body !== undefined) {
    putVarint(payloadTag.body);
    putBytes(body);
  }
  const bytes = new Uint8Array(at);
  bytes.set(scratch.subarray(0, at));
  if (scratch.length > scratchBytes) scratch = Buffer.allocUnsafeSlow(scratchBytes);
  return bytes;
}
