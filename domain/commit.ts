import { JilianError } from "./errors.ts";
import type { Range } from "./range-set.ts";

/** `uuid` of payloads whose `body` is the header below (CONTRACTS 1). */
export const outboxUuid = "jilian.outbox.v1";

/** Identity of an outbox record: a random epoch per start of the gateway and an offset that counts from 0 in it. */
export type RecordId = {
  /** 16 hexadecimal digits. */
  epoch: string;
  offset: number;
};

/** What a payload's body says about the record it carries. */
export type RecordHeader = RecordId & {
  /** Gateway time at which the record was written to disk, UTC ms. */
  writtenAtMs: number;
};

const version = 1;
const headerBytes = 25;
const epochPattern = /^[0-9a-f]{16}$/;
const codePattern = /^[A-Z_]{1,40}$/;

/** version (1 byte), epoch (8), offset (8, big-endian), written at (8, big-endian). */
export function encodeHeader(header: RecordHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, version);
  view.setBigUint64(1, BigInt(`0x${header.epoch}`));
  view.setBigUint64(9, BigInt(header.offset));
  view.setBigUint64(17, BigInt(header.writtenAtMs));
  return bytes;
}

/** Reads a body; undefined when it is not a header of a version known here (the payload then counts as one of a plain node). */
export function decodeHeader(body: Uint8Array): RecordHeader | undefined {
  if (body.length !== headerBytes || body[0] !== version) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const offset = Number(view.getBigUint64(9));
  const writtenAtMs = Number(view.getBigUint64(17));
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(writtenAtMs)) return undefined;
  return { epoch: view.getBigUint64(1).toString(16).padStart(16, "0"), offset, writtenAtMs };
}

/** A sample within its record, which has each key once. */
export type RefusedSample = readonly [metric: string, sourceTimeMs: number];

/** A record that the store will never take as it is. */
export type RefusedRecord = {
  offset: number;
  /** When it was written, UTC ms: another record under its offset is not meant. Absent: the platform does not tell. */
  writtenAtMs?: number;
  /** Why, as the store's error code: VALUE_MISFIT, SAMPLE_TOO_LATE. */
  code: string;
  /** The samples that are refused; all others of the record are stored. Absent: too many to find them, the record has to come in parts. */
  samples?: readonly RefusedSample[];
};

/** What the store has confirmed of one epoch of one gateway: offset ranges, never a watermark (CONTRACTS 2). */
export type CommitNotice = {
  epoch: string;
  ranges: Range[];
  /**
   * When the records of `ranges` were written, UTC ms, one time for each record in their order: another record under one of those offsets
   * is not meant. Absent: the platform does not tell.
   */
  writtenAtMs?: readonly number[];
  /** Platform time of the notice, UTC ms: the gateway measures its clock offset by it. */
  atMs: number;
  /** The highest offset of this epoch that the platform has stored: a gateway that never sent it was set back to an earlier moment. */
  last?: number;
  /** The platform saw one offset given to two records, which only a gateway does that was set back. */
  setBack?: true;
  /** Records that are not stored as a whole, and never will be. */
  refused?: readonly RefusedRecord[];
};

/** @param notice with as many `writtenAtMs` as its ranges have records, or without */
export function encodeNotice({ epoch, ranges, writtenAtMs, atMs, last, setBack, refused }: CommitNotice): string {
  const writtenMs = writtenAtMs?.map((ms, i) => ms - (writtenAtMs[i - 1] ?? 0));
  return JSON.stringify({ v: version, epoch, ranges, writtenMs, atMs, last, setBack, refused });
}

/** Times of writing from the first one and differences; undefined unless there is one for each record of the ranges. */
function readTimes(found: unknown, ranges: readonly Range[]): number[] | undefined {
  const records = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  if (!Array.isArray(found) || found.length !== records) return undefined;
  let ms = 0;
  const times = found.map((difference: unknown) => (ms += typeof difference === "number" ? difference : Number.NaN));
  return times.every((time) => Number.isSafeInteger(time)) ? times : undefined;
}

function isWhole(found: unknown): found is number {
  return typeof found === "number" && Number.isSafeInteger(found);
}

function isOffset(found: unknown): found is number {
  return isWhole(found) && found >= 0;
}

function isRange(found: unknown): found is Range {
  if (!Array.isArray(found) || found.length !== 2) return false;
  const [first, last] = found as unknown[];
  return isOffset(first) && isOffset(last) && first <= last;
}

function isRefusedSample(found: unknown): found is RefusedSample {
  if (!Array.isArray(found) || found.length !== 2) return false;
  const [metric, sourceTimeMs] = found as unknown[];
  return typeof metric === "string" && typeof sourceTimeMs === "number" && Number.isSafeInteger(sourceTimeMs);
}

function isRefusedRecord(found: unknown): found is RefusedRecord {
  if (typeof found !== "object" || found === null) return false;
  const { offset, writtenAtMs, code, samples } = found as Record<string, unknown>;
  const isNamed = Array.isArray(samples) && samples.length > 0 && samples.every(isRefusedSample);
  const isTimed = writtenAtMs === undefined || Number.isSafeInteger(writtenAtMs);
  const isCoded = typeof code === "string" && codePattern.test(code);
  return isOffset(offset) && isTimed && isCoded && (samples === undefined || isNamed);
}

/**
 * Reads a commit notice.
 * @throws JilianError COMMIT_NOTICE_INVALID when it is not one: a notice frees data, so nothing in it is guessed
 */
export function decodeNotice(text: string): CommitNotice {
  let found: Record<string, unknown> = {};
  let cause: unknown;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) found = parsed as Record<string, unknown>;
  } catch (thrown) {
    cause = thrown;
  }
  const { v, epoch, ranges, writtenMs, atMs, last, setBack, refused = [] } = found;
  const whole = v === version && typeof epoch === "string" && epochPattern.test(epoch) && isWhole(atMs);
  const optional = (last === undefined || isOffset(last)) && (setBack === undefined || setBack === true);
  const isRefusal = Array.isArray(refused) && refused.every(isRefusedRecord);
  const isRanges = Array.isArray(ranges) && ranges.every(isRange);
  const writtenAtMs = isRanges && writtenMs !== undefined ? readTimes(writtenMs, ranges) : undefined;
  if (!whole || !optional || !isRefusal || !isRanges || (writtenMs !== undefined && !writtenAtMs)) {
    throw new JilianError("not a commit notice", {
      code: "COMMIT_NOTICE_INVALID",
      action: "read a commit notice",
      remedy: "check which client writes the metric Jilian/Commit to this node: only ingest may",
      cause,
    });
  }
  return {
    epoch,
    ranges,
    ...(writtenAtMs ? { writtenAtMs } : {}),
    atMs,
    ...(isOffset(last) ? { last } : {}),
    ...(setBack === true ? { setBack } : {}),
    ...(refused.length > 0 ? { refused } : {}),
  };
}
