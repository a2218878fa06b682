import { readFileSync } from "node:fs";
import type { RecordId } from "@jilian/domain/commit.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import { type Outbox, type OutboxRecord, type PreviousEpoch, raiseNote, type StoredSample } from "./model.ts";
import { asides, dropAsides, replayAsides, setAsideRow, setAsideSamples, split } from "./outbox-asides.ts";
import { type Box, batchRows, dropAged, newBox, type OutboxOptions, samplesOf, statsOf } from "./outbox-box.ts";
import { clockWatch } from "./outbox-clock.ts";
import { endedByPowerCut, unopenable } from "./outbox-file.ts";
import { type Handover, handover } from "./outbox-move.ts";
import { decodeSamples } from "./outbox-record.ts";
import { recovery } from "./outbox-recover.ts";
import { type OutboxState, outboxState } from "./outbox-state.ts";
import { type OutboxStore, outboxStore } from "./outbox-store.ts";
import type { RecordRow } from "./outbox-tables.ts";
import { write, writeHeld } from "./outbox-write.ts";

export type OpenedOutbox = Outbox & {
  /** The newest pending sample of every metric that has one: with it a restarted gateway knows what it has. */
  readonly newest: () => StoredSample[];
  /** False from a write that failed to the next that succeeds, and always in memory. */
  readonly isWritable: () => boolean;
  readonly handover: Handover;
  /** Damaged files of which records are still to come. */
  readonly recovering: () => number;
};

/** How far back the newest samples are looked for: the start of a gateway must not read a backlog of days. */
const newestRows = 20_000;
const newestMs = 500;

function commit({ state, store }: Box, epoch: string, ranges: readonly Range[]): number {
  const bounds = state.boundsOf(epoch);
  if (!bounds) return 0;
  let count = 0;
  for (const [first, last] of ranges) {
    const to = Math.min(bounds.base + last, bounds.last);
    for (let from = Math.max(bounds.base + first, state.tally.goneTo + 1); from <= to; ) {
      const rows = store.change("free committed records", (tables) => {
        const found = tables.between(from, to, batchRows);
        const end = found.at(-1);
        if (end) tables.remove(from, end.position);
        state.freed(found, tables.oldest(state.tally.goneTo));
        return found;
      });
      if (!rows) return count;
      count += rows.length;
      from = rows.length < batchRows ? to + 1 : (rows.at(-1)?.position ?? to) + 1;
    }
  }
  return count;
}

function isOther(
  { state, store }: Box,
  epoch: string,
  ranges: readonly Range[],
  writtenAtMs: readonly number[],
): boolean | undefined {
  const bounds = state.boundsOf(epoch);
  if (!bounds) return false;
  /** Of the first record of a range among the times. */
  let at = 0;
  for (const [first, last] of ranges) {
    const base = bounds.base + first;
    const from = Math.max(base, state.tally.goneTo + 1);
    const to = Math.min(bounds.base + last, bounds.last);
    const rows = from <= to ? store.read((tables) => tables.written(from, to)) : [];
    if (!rows) return undefined;
    if (rows.some((row) => row.writtenAtMs !== writtenAtMs[at + row.position - base])) return true;
    at += last - first + 1;
  }
  return false;
}

/** The pending row of an id. */
function rowOf({ state, store }: Box, { epoch, offset }: RecordId): RecordRow | undefined {
  const bounds = state.boundsOf(epoch);
  if (!bounds || offset < 0 || offset > bounds.last - bounds.base) return undefined;
  const row = store.read((tables) => tables.one(bounds.base + offset));
  return row && row.position > state.tally.goneTo ? row : undefined;
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
  let from = Math.max(after, box.state.tally.goneTo);
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

function newest({ state, store }: Box): StoredSample[] {
  const found = new Map<number, StoredSample>();
  const wanted = state.metricsPending();
  const untilMs = performance.now() + newestMs;
  let rows = 0;
  store.read((tables) => {
    for (const row of tables.newestFirst()) {
      rows += 1;
      if (found.size >= wanted || rows > newestRows || performance.now() > untilMs) break;
      // A record that cannot be read is not set aside here, amid the walk, but when its turn to be sent comes.
      for (const sample of samplesOf(row)) {
        const known = found.get(sample.metricId);
        if (!known || sample.sourceTimeMs > known.sourceTimeMs) found.set(sample.metricId, sample);
      }
    }
  });
  return [...found.values()];
}

/** Id of the running boot of the machine (Linux); undefined elsewhere. */
function machineBootId(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return undefined;
  }
}

/**
 * How far source times may have gone beyond those in the file when the power was cut: what one fsync interval may lose, and another that
 * a slow medium took for the fsync itself; without fsync of ours what the operating system holds back, 30 s as it is usually set.
 */
function unsyncedMs({ durability, fsyncMs, clock }: OutboxOptions): number {
  return clock.rate * (durability === "process" ? 60_000 : Math.max(2000, 4 * fsyncMs));
}

/**
 * Opens the outbox of a gateway on node:sqlite (CONTRACTS 2): write-ahead log, one transaction a record, fsync by group. A record is
 * readable after a killed process at once, after a power cut if it was written more than `fsyncMs` before (`durability: power-cut`). Nothing
 * but opening throws: a disk that is full or fails costs readings, which are counted, and never the gateway.
 * @throws JilianError OUTBOX_LOCKED, OUTBOX_OTHER_NODE, OUTBOX_NEWER, OUTBOX_FOREIGN_FILE, OUTBOX_UNOPENABLE: see outbox-file.ts
 */
export function openOutbox(options: OutboxOptions): OpenedOutbox {
  const bootId = options.bootId ?? machineBootId();
  const syncs = options.durability !== "process";
  const store = outboxStore({ ...options, bootId, nowMs: options.clock.now, syncs });
  try {
    return begin(options, store, bootId);
  } catch (thrown) {
    store.abandon();
    throw thrown;
  }
}

/** Records that a gateway writes in a millisecond at most, for as long as a power cut may take what it wrote. */
const recordsPerMs = 10;

/** The last record that an earlier epoch can have had, a power cut included; remembered until another epoch has records. */
function previousOf(state: OutboxState, options: OutboxOptions, remembered: unknown): PreviousEpoch | undefined {
  const { lastRecord } = state;
  if (!lastRecord) return readPrevious(remembered);
  const lostMs = Math.ceil(unsyncedMs(options));
  const { epoch, offset, writtenAtMs } = lastRecord;
  return { epoch, offset: offset + lostMs * recordsPerMs, writtenAtMs: writtenAtMs + lostMs };
}

/** As it was remembered; undefined where that cannot be read. */
function readPrevious(text: unknown): PreviousEpoch | undefined {
  try {
    const { epoch, offset, writtenAtMs } = JSON.parse(String(text)) as PreviousEpoch;
    return typeof epoch === "string" && Number.isSafeInteger(offset + writtenAtMs)
      ? { epoch, offset, writtenAtMs }
      : undefined;
  } catch {
    return undefined;
  }
}

function begin(options: OutboxOptions, store: OutboxStore, bootId: string | undefined): OpenedOutbox {
  const { clock, path, log } = options;
  const { loaded } = store;
  const raiseMs = endedByPowerCut(loaded.meta, bootId) ? unsyncedMs(options) : 0;
  const raisedMs = raiseMs + (Number(loaded.notes.get(raiseNote)) || 0);
  const state = outboxState(loaded, { raiseMs, isFile: path !== undefined });
  for (const found of state.faults)
    log.error({ code: "OUTBOX_UNREADABLE", path, found }, "a part of the outbox could not be read and was made anew");
  const watch = clockWatch(clock, options.machineMs ?? (() => performance.now()), state.jumps);
  const box = newBox({ options, store, state, watch });
  store.keep(state);
  state.text("closed", 0);
  state.text("bootId", bootId ?? "");
  const previous = previousOf(state, options, loaded.meta.get("previous"));
  if (previous) state.text("previous", JSON.stringify(previous));
  if (raiseMs > 0) state.counts.note(raiseNote, String(raisedMs));
  const begun = store.changeSynced("start an epoch", (tables) => {
    tables.dropEpochsExcept(state.epochNames());
    return true;
  });
  if (!begun) throw unopenable(options, "its first transaction failed; the medium may be full or read-only");
  store.onTick(() => dropAged(box));
  return outboxOf(box, raisedMs, previous);
}

function declare({ state, store, options }: Box, ...[device, definitions, known]: Parameters<Outbox["declare"]>) {
  const { counts } = state.counts;
  const before = counts.forgottenDefinitions;
  const ids = state.declare(device, definitions, known);
  store.change("declare metrics", () => undefined);
  const forgotten = counts.forgottenDefinitions - before;
  if (forgotten > 0)
    options.log.warn(
      { code: "OUTBOX_DEFINITIONS", device, forgotten },
      "metrics were changed more often than is kept while readings waited: the oldest of them count for what the platform knows",
    );
  return ids;
}

function outboxOf(box: Box, raisedMs: number, previous: PreviousEpoch | undefined): OpenedOutbox {
  const { state, store } = box;
  const recovers = recovery(box);
  store.onTick(recovers.tick);
  store.onTick(() => {
    if (store.isWritable()) writeHeld(box);
  });
  return {
    get epoch() {
      return state.current().epoch;
    },
    get identity() {
      return state.identity();
    },
    previous,
    nextOffset: () => state.tally.next - state.current().base,
    declare: (device, definitions, known) => declare(box, device, definitions, known),
    metrics: state.metrics,
    raisedMs,
    lastSourceTimeMs: state.lastSourceTimeMs,
    write: (device, samples) => write(box, device, samples),
    commit: (committed, ranges) => commit(box, committed, ranges),
    isOther: (of, ranges, writtenAtMs) => isOther(box, of, ranges, writtenAtMs),
    pending: (after, limit) => pending(box, after, limit),
    pendingOf: state.pendingOf,
    nextBdSeq: () => {
      const bdSeq = state.nextBdSeq();
      store.change("count a connection", () => undefined);
      return bdSeq;
    },
    setAside: (id, reason, only) => {
      const row = rowOf(box, id);
      if (!row) return false;
      return only ? setAsideSamples(box, row, reason, only) : setAsideRow(box, row, reason);
    },
    split: (id) => {
      const row = rowOf(box, id);
      return row ? split(box, row) : [];
    },
    asides: (limit) => asides(box, limit),
    replayAsides: (ids, atMost = Number.POSITIVE_INFINITY) => replayAsides(box, ids, atMost),
    dropAsides: (ids, atMost = Number.POSITIVE_INFINITY) => dropAsides(box, ids, atMost),
    renewEpoch: (of = state.current().epoch) => {
      state.rename(of);
      store.changeSynced("renew an epoch", () => undefined);
      return state.current().epoch;
    },
    note: state.counts.note,
    notes: state.counts.notes,
    noteDevice: state.noteDevice,
    noteOf: state.noteOf,
    droppedByMetric: state.droppedByMetric,
    newest: () => newest(box),
    isWritable: store.isWritable,
    handover: handover(box),
    recovering: () => state.recovering().length,
    stats: () => statsOf(box),
    close: async () => {
      writeHeld(box);
      state.text("closed", 1);
      await store.close();
      recovers.close();
    },
  };
}
