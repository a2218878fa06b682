import { crc32 } from "node:zlib";
import type { Value } from "@jilian/domain/datatypes.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import type { StoredSample } from "./model.ts";

/**
 * The bytes of an outbox record: samples by metric id, never Sparkplug (CONTRACTS 2). Layout, numbers little-endian:
 * version (1 byte), count (varint), per sample: metric id (varint), source time minus that of the sample before , gateway
 * time minus source time (signed varints), tag (1 byte: kind, plus 0x80 when a status follows), status (4 bytes), value; last CRC-32 of
 * all before it (4 bytes), because a flipped bit on a worn flash card must not become a reading.
 */
const version = 1;

const Kind = {
  null: 0,
  false: 1,
  true: 2,
  /** Whole number within 2^53. */
  int: 3,
  float: 4,
  double: 5,
  int64: 6,
  uint64: 7,
  text: 8,
} as const;
const withStatus = 0x80;

function unreadable(why: string): JilianError {
  return new JilianError(`an outbox record cannot be read: ${why}`, {
    code: "OUTBOX_RECORD_UNREADABLE",
    action: "read a record of the outbox",
    remedy: "the record is set aside; check the storage medium, it may be worn out",
  });
}

/** Where a record is written; `view` is of the same bytes. */
type Writer = { bytes: Buffer; view: DataView; length: number };

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** Makes room for a number of bytes, once for several of the writes below: of thousands of samples a second each check counts. */
function reserve(to: Writer, bytes: number): void {
  if (to.length + bytes <= to.bytes.length) return;
  const larger = Buffer.allocUnsafe(Math.max(to.bytes.length * 2, to.length + bytes));
  to.bytes.copy(larger, 0, 0, to.length);
  to.bytes = larger;
  to.view = viewOf(larger);
}

/** All of one sample but a text: a byte, a status, and four numbers of 8 bytes at most, as varints 8. */
const sampleBytes = 40;

function putByte(to: Writer, byte: number): void {
  to.bytes[to.length] = byte;
  to.length += 1;
}

/** Any whole number of 0 to 2^53: seven bits a byte, lowest first. Division, since bit operators end at 2^32. */
function putVarint(to: Writer, whole: number): void {
  let rest = whole;
  while (rest >= 0x80) {
    putByte(to, (rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  putByte(to, rest);
}

/** A signed whole number: the first byte holds six bits and the sign, so that zigzag's doubling does not cost the range of 2^53. */
function putSigned(to: Writer, whole: number): void {
  const magnitude = Math.abs(whole);
  putByte(to, (magnitude % 0x40) + (whole < 0 ? 0x40 : 0) + (magnitude >= 0x40 ? 0x80 : 0));
  if (magnitude >= 0x40) putVarint(to, Math.floor(magnitude / 0x40));
}

function kindOf(value: Value): number {
  if (value === null) return Kind.null;
  if (typeof value === "boolean") return value ? Kind.true : Kind.false;
  if (typeof value === "bigint") return value > 0x7fffffffffffffffn ? Kind.uint64 : Kind.int64;
  if (typeof value === "string") return Kind.text;
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return Kind.int;
  return Math.fround(value) === value ? Kind.float : Kind.double;
}

function putText(to: Writer, text: string): void {
  const bytes = Buffer.byteLength(text);
  putVarint(to, bytes);
  reserve(to, bytes);
  to.bytes.write(text, to.length);
  to.length += bytes;
}

function putValue(to: Writer, kind: number, value: Value): void {
  const { view, length } = to;
  if (kind === Kind.int) putSigned(to, value as number);
  else if (kind === Kind.float) {
    view.setFloat32(length, value as number, true);
    to.length += 4;
  } else if (kind === Kind.double) {
    view.setFloat64(length, value as number, true);
    to.length += 8;
  } else if (kind === Kind.int64 || kind === Kind.uint64) {
    const whole = value as bigint;
    const fits = (kind === Kind.int64 ? BigInt.asIntN(64, whole) : BigInt.asUintN(64, whole)) === whole;
    // Cut to 64 bits it would be another number.
    if (!fits) throw new RangeError(`${whole} is no whole number of 64 bits`);
    // Two's complement of the one is the other's bytes.
    view.setBigInt64(length, whole, true);
    to.length += 8;
  } else if (kind === Kind.text) putText(to, value as string);
}

/**
 * Encodes the samples of one record.
 * @throws RangeError for a bigint that is neither an Int64 nor a UInt64
 */
export function encodeSamples(samples: readonly StoredSample[]): Buffer {
  const bytes = Buffer.allocUnsafe(sampleBytes + 24 * samples.length);
  const to: Writer = { bytes, view: viewOf(bytes), length: 0 };
  putByte(to, version);
  putVarint(to, samples.length);
  let beforeMs = 0;
  for (let i = 0; i < samples.length; i += 1) {
    const { metricId, value, status, sourceTimeMs, gatewayTimeMs } = samples[i] as StoredSample;
    reserve(to, sampleBytes);
    putVarint(to, metricId);
    putSigned(to, sourceTimeMs - beforeMs);
    putSigned(to, gatewayTimeMs - sourceTimeMs);
    const kind = kindOf(value);
    putByte(to, status === 0 ? kind : kind | withStatus);
    if (status !== 0) {
      to.view.setUint32(to.length, status, true);
      to.length += 4;
    }
    putValue(to, kind, value);
    beforeMs = sourceTimeMs;
  }
  reserve(to, 4);
  const sum = crc32(to.bytes.subarray(0, to.length));
  to.view.setUint32(to.length, sum, true);
  to.length += 4;
  return to.bytes.subarray(0, to.length);
}

type Reader = { buffer: Buffer; at: number };

function takeVarint(from: Reader): number {
  let whole = 0;
  for (let scale = 1; ; scale *= 0x80) {
    const byte = from.buffer.readUInt8(from.at++);
    whole += (byte & 0x7f) * scale;
    if (byte < 0x80) return whole;
  }
}

function takeSigned(from: Reader): number {
  const first = from.buffer.readUInt8(from.at++);
  const magnitude = (first & 0x3f) + (first >= 0x80 ? takeVarint(from) * 0x40 : 0);
  return first & 0x40 ? -magnitude : magnitude;
}

function takeValue(from: Reader, kind: number): Value {
  const at = from.at;
  const step = (bytes: number): number => {
    from.at = at + bytes;
    return at;
  };
  switch (kind) {
    case Kind.null:
      return null;
    case Kind.false:
      return false;
    case Kind.true:
      return true;
    case Kind.int:
      return takeSigned(from);
    case Kind.float:
      return from.buffer.readFloatLE(step(4));
    case Kind.double:
      return from.buffer.readDoubleLE(step(8));
    case Kind.int64:
      return from.buffer.readBigInt64LE(step(8));
    case Kind.uint64:
      return from.buffer.readBigUInt64LE(step(8));
    case Kind.text: {
      const bytes = takeVarint(from);
      const start = from.at;
      from.at = start + bytes;
      return from.buffer.toString("utf8", start, from.at);
    }
    default:
      throw unreadable(`kind ${kind} of a value is unknown`);
  }
}

/**
 * Decodes the samples of one record, to the values that were encoded.
 * @throws JilianError OUTBOX_RECORD_UNREADABLE when the bytes are damaged or of a version that is not known here
 */
export function decodeSamples(bytes: Uint8Array): StoredSample[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.length - 4;
  if (end < 2 || crc32(buffer.subarray(0, end)) !== buffer.readUInt32LE(end)) throw unreadable("the checksum differs");
  const from: Reader = { buffer, at: 1 };
  if (buffer[0] !== version) throw unreadable(`version ${buffer[0]} is not known here`);
  const samples: StoredSample[] = [];
  let beforeMs = 0;
  for (let left = takeVarint(from); left > 0; left -= 1) {
    const metricId = takeVarint(from);
    const sourceTimeMs = beforeMs + takeSigned(from);
    const gatewayTimeMs = sourceTimeMs + takeSigned(from);
    const tag = buffer.readUInt8(from.at++);
    let status = 0;
    if (tag & withStatus) {
      status = buffer.readUInt32LE(from.at);
      from.at += 4;
    }
    samples.push({ metricId, value: takeValue(from, tag & ~withStatus), status, sourceTimeMs, gatewayTimeMs });
    beforeMs = sourceTimeMs;
  }
  return samples;
}
