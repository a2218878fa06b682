import type { Sample } from "@jilian/domain/sample.ts";
import type { deviceTable } from "./outbox-devices.ts";
import type { DeviceRow, FreedRow, LoadedOutbox } from "./outbox-tables.ts";

/** Room that a record takes in the file besides its bytes: keys, lengths, its share of a page. */
export const recordOverheadBytes = 32;
/** The same of a record set aside, with its id, its entry in an index, and the reason in words. */
export const asideOverheadBytes = 192;

type Oldest = { position: number; writtenAtMs: number } | undefined;

/** What is pending and set aside, in all and by device: changed inside a transaction, and taken back should that fail. */
export function outboxTally(loaded: LoadedOutbox, devices: ReturnType<typeof deviceTable>) {
  const tally = {
    records: 0,
    bytes: 0,
    oldest: loaded.oldest as Oldest,
    next: loaded.lastPosition + 1,
    /** Dropped records up to here are deleted with the next transaction; they are pending no more. */
    goneTo: 0,
    asidesGoneTo: 0,
    asideRecords: loaded.asides?.records ?? 0,
    /** With their overhead. */
    asideBytes: (loaded.asides?.bytes ?? 0) + (loaded.asides?.records ?? 0) * asideOverheadBytes,
  };
  for (const { pending, bytes } of devices.byId.values()) {
    tally.records += pending;
    tally.bytes += bytes + pending * recordOverheadBytes;
  }
  /** How to take back what the transaction under way has changed, should it fail. */
  let undo: (() => void)[] = [];
  let before = { ...tally };

  function pend(device: DeviceRow, records: number, bytes: number): void {
    device.pending += records;
    device.bytes += bytes;
    devices.dirty.add(device);
    undo.push(() => {
      device.pending -= records;
      device.bytes -= bytes;
    });
  }

  /** Nothing is pending: so say the counters, also where a damaged row had made them differ. */
  function empty(): void {
    tally.records = 0;
    tally.bytes = 0;
    for (const device of devices.byId.values())
      if (device.pending !== 0 || device.bytes !== 0) pend(device, -device.pending, -device.bytes);
  }

  return {
    tally,
    sourceTimes: (device: DeviceRow, samples: readonly Sample[]): void => {
      let { lastSourceTimeMs } = device;
      for (let i = 0; i < samples.length; i += 1) {
        const { sourceTimeMs } = samples[i] as Sample;
        if (sourceTimeMs > lastSourceTimeMs) lastSourceTimeMs = sourceTimeMs;
      }
      device.lastSourceTimeMs = lastSourceTimeMs;
      devices.dirty.add(device);
    },
    /** Counts a record at the next position, inside the transaction that writes it. */
    written: (device: DeviceRow, size: number, writtenAtMs: number): void => {
      const { lastPosition, lastWrittenMs } = device;
      undo.push(() => Object.assign(device, { lastPosition, lastWrittenMs }));
      Object.assign(device, { lastPosition: tally.next, lastWrittenMs: writtenAtMs });
      pend(device, 1, size);
      tally.oldest ??= { position: tally.next, writtenAtMs };
      tally.records += 1;
      tally.bytes += size + recordOverheadBytes;
      tally.next += 1;
    },
    /** Counts records that leave, inside the transaction that removes them. */
    freed: (rows: readonly FreedRow[], oldest: Oldest): void => {
      for (const row of rows) {
        const device = devices.byId.get(row.device);
        if (device) pend(device, -1, -row.size);
        tally.records -= 1;
        tally.bytes -= row.size + recordOverheadBytes;
      }
      tally.oldest = oldest;
      if (oldest === undefined) empty();
    },
    /** Counts what joins or leaves the records set aside, inside a transaction. */
    aside: (records: number, bytes: number): void => {
      tally.asideRecords += records;
      tally.asideBytes += bytes + records * asideOverheadBytes;
    },
    undoBy: (act: () => void): void => void undo.push(act),
    begun: (): void => {
      undo = [];
      before = { ...tally };
    },
    failed: (): void => {
      for (const act of undo.reverse()) act();
      undo = [];
      Object.assign(tally, before);
    },
    flushed: (): void => {
      undo = [];
      tally.goneTo = 0;
      tally.asidesGoneTo = 0;
    },
    /** The file was replaced by an empty one. */
    restart: (): void => {
      tally.oldest = undefined;
      tally.asideRecords = 0;
      tally.asideBytes = 0;
      empty();
    },
  };
}
