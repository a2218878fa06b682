import type { Clock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";
import type { DropReason, OutboxStats, Pending, StoredSample } from "./model.ts";
import type { ClockWatch } from "./outbox-clock.ts";
import { decodeSamples } from "./outbox-record.ts";
import type { OutboxState } from "./outbox-state.ts";
import type { OutboxStore } from "./outbox-store.ts";
import type { RecordRow } from "./outbox-tables.ts";
import { recordOverheadBytes } from "./outbox-tally.ts";

/** What a sudden end may cost: see outbox.durability in gateway/config.ts. */
export type Durability = "power-cut" | "process";

export type OutboxOptions = {
  /** File; its folder is made when missing. Undefined: in memory, for as long as the medium fails. */
  path: string | undefined;
  /** Pending data that may wait, in bytes of records and their overhead; beyond it the oldest are dropped. */
  maxBytes: number;
  /** Pending data older than this, ms, is dropped where the clock can tell; never when absent. */
  maxAgeMs?: number;
  /** Interval of the group fsync, ms: what a power cut may take. */
  fsyncMs: number;
  /** `power-cut` if absent. */
  durability?: Durability;
  group: string;
  node: string;
  clock: Clock;
  log: Logger;
  /** Told of samples before the transaction that drops them; notes made by it become durable with the drop. */
  onDropped?: (device: string, samples: readonly StoredSample[], reason: DropReason) => void;
  /** Of the running system, where another than its own is to be taken: for tests. */
  bootId?: string;
  /** The machine's monotonic timer, ms, where another than its own is to be taken: for tests. */
  machineMs?: () => number;
};

export type NewRecord = { device: string; samples: readonly StoredSample[] };
/** A record that could not be written yet. */
export type HeldRecord = NewRecord & { bytes: Uint8Array };

/** An open outbox from the inside: what its parts share. */
export type Box = {
  options: OutboxOptions;
  store: OutboxStore;
  state: OutboxState;
  watch: ClockWatch;
  /** What could not be written, in order: it is written before all else. */
  held: HeldRecord[];
  /** In memory: what is pending in the file that was left for it. */
  left: (() => Pending) | undefined;
  /** When a write failed last, of the machine's monotonic timer. */
  failedMs: number;
  /** Greatest time of writing in the epoch in use. */
  lastWrittenMs: number;
  tellDropped: (act: (heldBack: number) => void) => void;
  tellAside: (act: (heldBack: number) => void) => void;
};

/** Rows handled in one go, so that many records hold little in memory. */
export const batchRows = 1000;

const tellMs = 60_000;

export function newBox(
  parts: Omit<Box, "held" | "left" | "failedMs" | "lastWrittenMs" | "tellDropped" | "tellAside">,
): Box {
  const lastWrittenMs = Number.NEGATIVE_INFINITY;
  return {
    ...parts,
    held: [],
    left: undefined,
    failedMs: Number.NEGATIVE_INFINITY,
    lastWrittenMs,
    tellDropped: atMostEvery(tellMs),
    tellAside: atMostEvery(tellMs),
  };
}

/** A step of the clock back by less is a correction, and times of writing stand still meanwhile. */
const toleratedBackMs = 1000;

/** Looks at the clock, and remembers the steps it made: they are no age. */
export function look({ watch, state }: Box): void {
  if (watch.look(state.tally.next - 1) !== 0) state.text("clockJumps", JSON.stringify(state.jumps));
}

/**
 * The time of writing of the next record. It never falls within an epoch, so that the platform can tell a gateway that was set back to
 * an earlier image by it: where the clock is set back, another epoch begins. Not to be called inside a transaction.
 */
export function stamp(box: Box): number {
  const { state, store, options } = box;
  look(box);
  const { now, rate } = options.clock;
  const nowMs = now();
  if (nowMs < box.lastWrittenMs - toleratedBackMs * Math.max(1, rate)) {
    state.begin();
    store.changeSynced("begin an epoch", () => undefined);
    box.lastWrittenMs = nowMs;
  }
  box.lastWrittenMs = Math.max(box.lastWrittenMs, nowMs);
  return box.lastWrittenMs;
}

/** What an outbox holds and has counted, with what is pending in a file that was left for it. */
export function statsOf(box: Box): OutboxStats {
  const { state } = box;
  const here = state.pending();
  const left = box.left?.();
  const times = [here.oldestWrittenAtMs, left?.oldestWrittenAtMs].filter((ms) => ms !== undefined);
  return {
    ...state.counted(),
    pendingRecords: here.pendingRecords + (left?.pendingRecords ?? 0),
    pendingBytes: here.pendingBytes + (left?.pendingBytes ?? 0),
    oldestWrittenAtMs: times.length > 0 ? Math.min(...times) : undefined,
  };
}

/** The samples of a row, none when its bytes are damaged. */
export function samplesOf({ bytes }: { bytes: Uint8Array }): StoredSample[] {
  try {
    return decodeSamples(bytes);
  } catch {
    return [];
  }
}

/** Counts and tells samples that are gone. @param samples what of them is known; `count` is how many they were */
export function countDrop(
  { state, options, tellDropped }: Box,
  drop: { device: string; samples: readonly StoredSample[]; count: number; reason: DropReason; why: string },
): void {
  const { device, samples, count, reason, why } = drop;
  state.counts.dropped(reason, samples, count, state.isKnown);
  if (samples.length > 0) options.onDropped?.(device, samples, reason);
  const total = state.counts.counts.droppedSamples;
  const { path, log } = options;
  tellDropped((heldBack) =>
    log.error({ code: "OUTBOX_DROPPED", path, reason, samples: count, total, heldBack }, `readings dropped: ${why}`),
  );
}

/** Room that what was set aside has in any case. */
export const leastAsideBytes = 16 * 1024 * 1024;

/**
 * Drops the oldest records set aside beyond their room, and beyond 16 MiB. They are counted as drops for want of room and told now; the next
 * transaction deletes them.
 * @param roomBytes what pending records leave of `maxBytes`, if absent
 * @returns whether anything was dropped
 */
export function trimAsides(box: Box, roomBytes = box.options.maxBytes - box.state.tally.bytes): boolean {
  const { state, store } = box;
  const { tally } = state;
  const before = tally.asidesGoneTo;
  while (tally.asideBytes > Math.max(leastAsideBytes, roomBytes)) {
    const [row] = store.read((tables) => tables.asidesAfter(tally.asidesGoneTo, 1)) ?? [];
    if (!row) break;
    state.aside(-1, -row.bytes.length);
    const samples = samplesOf(row);
    const why = "there is no more room for what was set aside, the oldest of it makes room";
    countDrop(box, { device: row.device, samples, count: samples.length, reason: "full", why });
    state.counts.add("droppedAsideRecords", 1);
    tally.asidesGoneTo = row.position;
  }
  return tally.asidesGoneTo !== before;
}

/** Makes room for what is about to be pending: what is set aside goes first, then the oldest that is pending. */
export function makeRoom(box: Box, bytes: number): void {
  const roomBytes = box.options.maxBytes - box.state.tally.bytes - bytes;
  trimAsides(box, roomBytes);
  dropBytes(box, -roomBytes, "outbox.maxBytes is reached, the oldest make room");
}

/**
 * Drops the oldest pending records while `isDue` says so of the next. They are counted and told now and pending no more; the next
 * transaction, whichever it is, deletes them together with what was counted: so a count is durable exactly when its drop is.
 * @returns whether anything was dropped
 */
export function dropOldest(box: Box, reason: DropReason, why: string, isDue: (row: RecordRow) => boolean): boolean {
  const { state, store } = box;
  const { tally } = state;
  const before = tally.goneTo;
  for (let due = true; due; ) {
    const rows = store.read((tables) => tables.after(tally.goneTo, 64)) ?? [];
    due = rows.length > 0;
    for (const row of rows) {
      due = isDue(row);
      if (!due) break;
      const device = state.deviceName(row.device) ?? "";
      const samples = samplesOf(row);
      countDrop(box, { device, samples, count: row.samples, reason, why });
      tally.goneTo = row.position;
      state.freed([{ ...row, size: row.bytes.length }], tally.oldest);
    }
  }
  if (tally.goneTo === before) return false;
  const oldest = store.read((tables) => tables.oldest(tally.goneTo));
  state.freed([], oldest);
  return true;
}

/** Drops the oldest until a number of bytes is free. */
export function dropBytes(box: Box, bytes: number, why: string): void {
  let left = bytes;
  if (left <= 0) return;
  dropOldest(box, "full", why, (row) => {
    const due = left > 0;
    left -= row.bytes.length + recordOverheadBytes;
    return due;
  });
}

/** Looks at the clock, and drops what is older than `maxAgeMs`: at every tick, a limited number at a time. */
export function dropAged(box: Box): void {
  const { state, store, watch, options } = box;
  look(box);
  const { oldest } = state.tally;
  if (!oldest) return;
  const { maxAgeMs = Number.POSITIVE_INFINITY } = options;
  const isAged = (row: { position: number; writtenAtMs: number }): boolean => (watch.ageOf(row) ?? 0) > maxAgeMs;
  if (!isAged(oldest)) return;
  let left = batchRows;
  const why = "older than outbox.maxAgeMs";
  if (dropOldest(box, "age", why, (row) => left-- > 0 && isAged(row)))
    store.change("drop old records", () => undefined);
}
