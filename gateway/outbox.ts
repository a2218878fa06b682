import { randomBytes } from "node:crypto";
import type { Clock } from "@jilian/domain/clock.ts";
import type { RecordId } from "@jilian/domain/commit.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";
import type { Outbox, OutboxRecord, StoredSample } from "./model.ts";
import { decodeSamples, encodeSamples } from "./outbox-record.ts";
import { type OutboxState, outboxState, recordOverheadBytes } from "./outbox-state.ts";
import { type OutboxStore, outboxStore } from "./outbox-store.ts";
import type { FreedRow, OutboxTables, RecordRow } from "./outbox-tables.ts";

export type OutboxOptions = {
  /** File; its folder is made when missing. */
  path: string;
  /** Pending data that may wait, in bytes of records and their overhead; beyond it the oldest are dropped. */
  maxBytes: number;
  /** Interval of the group fsync: what a power cut may take. */
  fsyncMs: number;
  group: string;
  node: string;
  clock: Clock;
  log: Logger;
};

export type OpenedOutbox = Outbox & {
  /** The newest pending sample of every metric that has one: with it a restarted gateway knows what it has. */
  readonly newest: () => StoredSample[];
  /** False from a write that failed to the next that succeeds. */
  readonly isWritable: () => boolean;
};

/** Rows handled in one go, so that a commit of many records holds little in memory. */
const batchRows = 1000;

type Box = {
  options: OutboxOptions;
  epoch: string;
  store: OutboxStore;
  state: OutboxState;
  tellDropped: (act: (heldBack: number) => void) => void;
};

function drop(box: Box, samples: number, why: string): void {
  box.state.count("droppedSamples", samples);
  const { path } = box.options;
  const total = box.state.tally.droppedSamples;
  box.tellDropped((heldBack) =>
    box.options.log.error({ code: "OUTBOX_DROPPED", path, samples, total, heldBack }, `readings dropped: ${why}`),
  );
}

/** Removes the oldest records until a number of bytes is free. Inside a transaction. */
function removeOldest(tables: OutboxTables, bytes: number): FreedRow[] {
  const gone: FreedRow[] = [];
  for (let left = bytes; left > 0; ) {
    const [row] = tables.between(0, Number.MAX_SAFE_INTEGER, 1);
    if (!row) break;
    tables.remove(row.position, row.position);
    gone.push(row);
    left -= row.size + recordOverheadBytes;
  }
  return gone;
}

function write(box: Box, deviceName: string, samples: readonly StoredSample[]): OutboxRecord | undefined {
  const { state, store, options, epoch } = box;
  const device = state.deviceOf(deviceName);
  const bytes = encodeSamples(samples);
  const size = bytes.length + recordOverheadBytes;
  if (size > options.maxBytes) {
    drop(box, samples.length, "one record is larger than outbox.maxBytes; raise it");
    return undefined;
  }
  const excess = state.tally.bytes + size - options.maxBytes;
  const writtenAtMs = options.clock.now();
  const position = state.tally.next;
  state.sourceTimes(device, samples);
  const done = store.change("write a record", (tables) => {
    const gone = removeOldest(tables, excess);
    tables.insert({ position, device: device.id, writtenAtMs, samples: samples.length, bytes });
    return { gone, oldest: gone.length > 0 ? tables.oldest() : state.tally.oldest };
  });
  if (!done) {
    drop(box, samples.length, "the outbox cannot be written");
    return undefined;
  }
  if (done.gone.length > 0) {
    state.freed(done.gone, done.oldest);
    const lost = done.gone.reduce((sum, gone) => sum + gone.samples, 0);
    drop(box, lost, "outbox.maxBytes is reached, the oldest make room");
  }
  state.written(device, bytes.length, writtenAtMs);
  return { epoch, offset: position - state.base, writtenAtMs, device: deviceName, samples };
}

function commit({ state, store }: Box, epoch: string, ranges: readonly Range[]): number {
  const bounds = state.boundsOf(epoch);
  if (!bounds) return 0;
  let count = 0;
  for (const [first, last] of ranges) {
    const to = Math.min(bounds.base + last, bounds.last);
    for (let from = bounds.base + first; from <= to; ) {
      const done = store.change("free committed records", (tables) => {
        const rows = tables.between(from, to, batchRows);
        const end = rows.at(-1);
        if (end) tables.remove(from, end.position);
        return { rows, oldest: tables.oldest() };
      });
      if (!done) return count;
      state.freed(done.rows, done.oldest);
      count += done.rows.length;
      from = done.rows.length < batchRows ? to + 1 : (done.rows.at(-1)?.position ?? to) + 1;
    }
  }
  return count;
}

function setAsideRow({ state, store, options }: Box, row: RecordRow, reason: string): void {
  const of = state.epochAt(row.position);
  const device = state.deviceName(row.device) ?? "";
  const id = { epoch: of?.epoch ?? "", offset: row.position - (of?.base ?? 0) };
  state.count("setAsideRecords", 1);
  const done = store.change("set a record aside", (tables) => {
    tables.setAside({ ...row, ...id, deviceName: device, reason });
    tables.remove(row.position, row.position);
    return { oldest: tables.oldest() };
  });
  if (!done) {
    state.count("setAsideRecords", -1);
    return;
  }
  state.freed([{ ...row, size: row.bytes.length }], done.oldest);
  const { path, log } = options;
  log.error({ code: "OUTBOX_SET_ASIDE", path, ...id, device, samples: row.samples, reason }, "record set aside");
}

function setAside(box: Box, id: RecordId, reason: string): void {
  const bounds = box.state.boundsOf(id.epoch);
  if (!bounds || id.offset > bounds.last - bounds.base) return;
  const row = box.store.read((tables) => tables.one(bounds.base + id.offset));
  if (row) setAsideRow(box, row, reason);
}

/** The record of a row; a row that cannot be read back is set aside. */
function recordOf(box: Box, row: RecordRow): OutboxRecord | undefined {
  const of = box.state.epochAt(row.position);
  const device = box.state.deviceName(row.device);
  try {
    if (!of || device === undefined) throw new RangeError(`its device ${row.device} or its epoch is unknown`);
    const { position, writtenAtMs, bytes } = row;
    return { epoch: of.epoch, offset: position - of.base, writtenAtMs, device, samples: decodeSamples(bytes) };
  } catch (thrown) {
    setAsideRow(box, row, messageOf(thrown));
    return undefined;
  }
}

function pending(box: Box, after: number, limit: number): { record: OutboxRecord; position: number }[] {
  const found: { record: OutboxRecord; position: number }[] = [];
  let from = after;
  while (found.length < limit) {
    const rows = box.store.read((tables) => tables.after(from, limit - found.length)) ?? [];
    for (const row of rows) {
      const record = recordOf(box, row);
      if (record) found.push({ record, position: row.position });
      from = row.position;
    }
    if (rows.length === 0) break;
  }
  return found;
}

function newest(box: Box): StoredSample[] {
  const found = new Map<number, StoredSample>();
  const wanted = box.state.metricsPending();
  box.store.read((tables) => {
    for (const row of tables.newestFirst()) {
      if (found.size >= wanted) break;
      // A record that cannot be read is not set aside here, amid the walk, but when its turn to be sent comes.
      for (const sample of samplesOf(row)) {
        const known = found.get(sample.metricId);
        if (!known || sample.sourceTimeMs > known.sourceTimeMs) found.set(sample.metricId, sample);
      }
    }
  });
  return [...found.values()];
}

function samplesOf(row: RecordRow): StoredSample[] {
  try {
    return decodeSamples(row.bytes);
  } catch {
    return [];
  }
}

/**
 * Opens the outbox of a gateway on node:sqlite (CONTRACTS 2): write-ahead log, one transaction a record, fsync by group. A record is
 * readable after a killed process at once, after a power cut if it was written more than `fsyncMs` before. Nothing but opening throws:
 * a disk that is full or fails costs readings, which are counted, and never the gateway.
 * @throws JilianError OUTBOX_LOCKED, OUTBOX_OTHER_NODE, OUTBOX_NEWER, OUTBOX_FOREIGN_FILE, OUTBOX_UNOPENABLE: see outbox-file.ts
 */
export function openOutbox(options: OutboxOptions): OpenedOutbox {
  const epoch = randomBytes(8).toString("hex");
  const store = outboxStore({ ...options, nowMs: options.clock.now });
  const state = outboxState(store.load(), epoch);
  const box: Box = { options, epoch, store, state, tellDropped: atMostEvery(60_000) };
  store.keep(state);
  store.change("start an epoch", (tables) => tables.dropEpochsExcept(state.epochNames()));
  return {
    epoch,
    declare: (device, definitions) => {
      const ids = state.declare(device, definitions);
      store.change("declare metrics", () => undefined);
      return ids;
    },
    metrics: state.metrics,
    lastSourceTimeMs: state.lastSourceTimeMs,
    write: (device, samples) => write(box, device, samples),
    commit: (committed, ranges) => commit(box, committed, ranges),
    pending: (after, limit) => pending(box, after, limit),
    pendingOf: state.pendingOf,
    nextBdSeq: () => {
      const bdSeq = state.nextBdSeq();
      store.change("count a connection", () => undefined);
      return bdSeq;
    },
    setAside: (id, reason) => setAside(box, id, reason),
    newest: () => newest(box),
    isWritable: store.isWritable,
    stats: state.stats,
    close: store.close,
  };
}
