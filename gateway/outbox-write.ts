import type { OutboxRecord, StoredSample } from "./model.ts";
import {
  type Box,
  countDrop,
  dropBytes,
  type HeldRecord,
  makeRoom,
  type NewRecord,
  stamp,
  trimAsides,
} from "./outbox-box.ts";
import { encodeSamples } from "./outbox-record.ts";
import type { OutboxTables } from "./outbox-tables.ts";
import { recordOverheadBytes } from "./outbox-tally.ts";

/** Room made at once on a medium that is full before `maxBytes` is reached. */
const fullStepBytes = 64 * 1024;

/** Writes a record at the next position, inside a transaction. */
export function append(
  { state }: Box,
  tables: OutboxTables,
  { device: name, samples, writtenAtMs }: NewRecord & { writtenAtMs: number },
  bytes: Uint8Array = encodeSamples(samples),
): OutboxRecord {
  const device = state.deviceOf(name);
  const position = state.tally.next;
  const { epoch, base } = state.current();
  tables.insert({ position, device: device.id, writtenAtMs, samples: samples.length, bytes });
  state.written(device, bytes.length, writtenAtMs, samples);
  return { epoch, offset: position - base, writtenAtMs, device: name, samples };
}

/** With so many bytes held, a medium that has just failed is not asked again by each record: every attempt writes all of them. */
const muchHeld = 64 * 1024;
const retryMs = 200;

/** Memory for what could not be written: some seconds of a large gateway. Beyond it readings are dropped. */
const heldBytes = 1024 * 1024;

function sizeOf(records: readonly HeldRecord[]): number {
  return records.reduce((sum, { bytes }) => sum + bytes.length + recordOverheadBytes, 0);
}

/** Keeps a record that could not be written, until it can be; dropped, and counted, beyond the room for it. */
function hold(box: Box, record: HeldRecord): void {
  const { held, options } = box;
  if (sizeOf(held) + sizeOf([record]) <= Math.min(heldBytes, options.maxBytes / 4)) {
    held.push(record);
    return;
  }
  dropHeld(box, [record]);
}

/** Counts records as dropped that were never written. */
function dropHeld(box: Box, records: readonly HeldRecord[]): void {
  for (const { device, samples } of records) {
    const why = "the outbox cannot be written";
    countDrop(box, { device, samples, count: samples.length, reason: "unwritable", why });
  }
}

/** Gives up what is still held: nobody takes it any more. */
export function giveUpHeld(box: Box): void {
  dropHeld(box, box.held.splice(0));
}

/**
 * Writes records in one transaction, the oldest making room for them.
 * @returns the last of them; undefined: none is in the file
 */
function insertAll(box: Box, records: readonly HeldRecord[]): OutboxRecord | undefined {
  const { state, store } = box;
  const { tally } = state;
  const size = sizeOf(records);
  makeRoom(box, size);
  const writtenAtMs = stamp(box);
  const insert = (): OutboxRecord | undefined =>
    store.change("write a record", (tables) => {
      let last: OutboxRecord | undefined;
      for (const { bytes, ...record } of records) last = append(box, tables, { ...record, writtenAtMs }, bytes);
      return last;
    });
  let record = insert();
  if (!record && store.isRenewed()) record = insert();
  // Once only until a transaction succeeds: a medium that fails for good must not cost the backlog, which can still be read.
  if (!record && store.isFull() && tally.goneTo === 0 && tally.asidesGoneTo === 0) {
    // More than the records themselves: they may need a page more than what makes room for them.
    const room = size + fullStepBytes;
    const before = tally.asideBytes;
    trimAsides(box, before - room);
    dropBytes(box, room - (before - tally.asideBytes), "the medium is full, the oldest make room");
    if (tally.goneTo > 0 || tally.asidesGoneTo > 0) record = insert();
  }
  return record;
}

/** Writes what is held, if anything is and it can be written. */
export function writeHeld(box: Box): void {
  const { held } = box;
  if (held.length > 0 && insertAll(box, held)) held.length = 0;
}

/**
 * Writes one record, after those that are held because they could not be written before. Undefined when it was not written: then it is
 * held as well, or was dropped, which is counted.
 */
export function write(box: Box, deviceName: string, samples: readonly StoredSample[]): OutboxRecord | undefined {
  const { state, options, held } = box;
  const device = state.deviceOf(deviceName);
  const record = { device: deviceName, samples, bytes: encodeSamples(samples) };
  if (sizeOf([record]) > options.maxBytes) {
    const why = "one record is larger than outbox.maxBytes; raise it";
    countDrop(box, { device: deviceName, samples, count: samples.length, reason: "full", why });
    return undefined;
  }
  state.sourceTimes(device, samples);
  const isTooSoon = sizeOf(held) > muchHeld && performance.now() - box.failedMs < retryMs;
  const written = isTooSoon ? undefined : insertAll(box, [...held, record]);
  if (written) held.length = 0;
  else {
    if (!isTooSoon) box.failedMs = performance.now();
    hold(box, record);
  }
  return written;
}

/**
 * Writes records in one transaction, the oldest making room beyond `maxBytes`. Nothing of them is dropped.
 * @returns whether they are in the file now: all of them or none
 */
export function writeAll(box: Box, records: readonly NewRecord[]): boolean {
  const { state, store } = box;
  const encoded = records.map((record) => ({ ...record, bytes: encodeSamples(record.samples) }));
  const size = encoded.reduce((sum, { bytes }) => sum + bytes.length + recordOverheadBytes, 0);
  makeRoom(box, size);
  const writtenAtMs = stamp(box);
  for (const { device, samples } of records) state.sourceTimes(state.deviceOf(device), samples);
  return (
    store.change("write records", (tables) => {
      for (const { bytes, ...record } of encoded) append(box, tables, { ...record, writtenAtMs }, bytes);
      return true;
    }) === true
  );
}
