import type { OutboxRecord, StoredSample } from "./model.ts";
import { type Box, countDrop, dropBytes, makeRoom, stamp, trimAsides } from "./outbox-box.ts";
import { encodeSamples } from "./outbox-record.ts";
import type { OutboxTables } from "./outbox-tables.ts";
import { recordOverheadBytes } from "./outbox-tally.ts";

/** Room made at once on a medium that is full before `maxBytes` is reached. */
const fullStepBytes = 64 * 1024;

export type NewRecord = { device: string; samples: readonly StoredSample[] };

/** Writes a record at the next position, inside a transaction. */
export function append(
  { state }: Box,
  tables: OutboxTables,
  { device: name, samples, writtenAtMs }: NewRecord & { writtenAtMs: number },
  bytes = encodeSamples(samples),
): OutboxRecord {
  const device = state.deviceOf(name);
  const position = state.tally.next;
  const { epoch, base } = state.current();
  tables.insert({ position, device: device.id, writtenAtMs, samples: samples.length, bytes });
  state.written(device, bytes.length, writtenAtMs, samples);
  return { epoch, offset: position - base, writtenAtMs, device: name, samples };
}

/** Writes one record; undefined when it had to be dropped, which is counted. */
export function write(box: Box, deviceName: string, samples: readonly StoredSample[]): OutboxRecord | undefined {
  const { state, store, options } = box;
  const { tally } = state;
  const device = state.deviceOf(deviceName);
  const bytes = encodeSamples(samples);
  const size = bytes.length + recordOverheadBytes;
  const drop = { device: deviceName, samples, count: samples.length };
  if (size > options.maxBytes) {
    countDrop(box, { ...drop, reason: "full", why: "one record is larger than outbox.maxBytes; raise it" });
    return undefined;
  }
  makeRoom(box, size);
  const writtenAtMs = stamp(box);
  state.sourceTimes(device, samples);
  const insert = (): OutboxRecord | undefined =>
    store.change("write a record", (tables) =>
      append(box, tables, { device: deviceName, samples, writtenAtMs }, bytes),
    );
  let record = insert();
  if (!record && store.isRenewed()) record = insert();
  // Once only until a transaction succeeds: a medium that fails for good must not cost the backlog, which can still be read.
  if (!record && store.isFull() && tally.goneTo === 0 && tally.asidesGoneTo === 0) {
    // More than the record itself: it may need a page more than what makes room for it.
    const room = size + fullStepBytes;
    const before = tally.asideBytes;
    trimAsides(box, before - room);
    dropBytes(box, room - (before - tally.asideBytes), "the medium is full, the oldest make room");
    if (tally.goneTo > 0 || tally.asidesGoneTo > 0) record = insert();
  }
  if (!record) countDrop(box, { ...drop, reason: "unwritable", why: "the outbox cannot be written" });
  return record;
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
