import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { messageOf } from "@jilian/domain/errors.ts";
import { atMostEvery } from "./log-limit.ts";
import type { StoredSample } from "./model.ts";
import { insertAside } from "./outbox-asides.ts";
import { type Box, leastAsideBytes, samplesOf, stamp } from "./outbox-box.ts";
import { mediumBytes } from "./outbox-move.ts";
import { encodeSamples } from "./outbox-record.ts";
import type { Recovering } from "./outbox-recover-list.ts";
import { type DamagedFile, damagedFile, isDamage } from "./outbox-recover-read.ts";
import type { OutboxTables } from "./outbox-tables.ts";
import { asideOverheadBytes, recordOverheadBytes } from "./outbox-tally.ts";
import { append } from "./outbox-write.ts";

/** In one tick of the group sync at most, so that live readings are not delayed: records, and milliseconds but for the last batch. */
const tickRecords = 2000;
const tickMs = 40;
const batchRecords = 250;
const batchBytes = 1024 * 1024;
/** Room on the medium, or free in the file, that is left to new readings. */
const spareBytes = 8 * 1024 * 1024;

type Readable = { device: string; samples: StoredSample[]; bytes: Uint8Array };
/** What a batch does: how far the file is then, and what is written with that. */
type Batch = { next: Recovering; count: number; write: (to: OutboxTables) => void };

/** The samples of a damaged file by the ids in use: a metric lost from the table and declared anew may have got another's old id. */
function translator({ state }: Box, { sameIds }: Recovering, { metrics }: DamagedFile) {
  return (samples: readonly StoredSample[]): StoredSample[] =>
    samples.flatMap((sample) => {
      if (sameIds) return state.isKnown(sample.metricId) ? sample : [];
      const metric = metrics.get(sample.metricId);
      if (!metric) return [];
      // Not declared: that would retire what the device has now.
      state.know(metric.device, metric.definition);
      const metricId = state.idOf(metric.device, metric.definition.name);
      return metricId === undefined ? [] : { ...sample, metricId };
    });
}

/** Room for what is recovered: no more than half of what may be pending, so that it pushes out nothing newer. A large one goes alone. */
function roomBytes({ state, options }: Box): number {
  const { records, bytes } = state.tally;
  return records === 0 ? options.maxBytes : options.maxBytes / 2 - bytes;
}

function asideRoomBytes({ state, options }: Box): number {
  const { bytes, asideBytes } = state.tally;
  return Math.max(leastAsideBytes, options.maxBytes - bytes) - asideBytes;
}

/** What could not be read of a file, in records: where it is known how many there were, gaps among the positions are no losses. */
function lostOf({ expected, recovered, unreadable }: Recovering, most = Number.POSITIVE_INFINITY): number {
  return Math.max(0, Math.min(expected === undefined ? unreadable : expected - recovered, most));
}

/** An open file with what is asked of it batch by batch. */
function batches(box: Box, file: DamagedFile, entry: Recovering) {
  const { state, options } = box;
  const translate = translator(box, entry, file);

  /** A record in the terms of the outbox in use, with what of it can be understood. */
  function recordOf(bytes: unknown): (Readable & { isWhole: boolean }) | undefined {
    if (!(bytes instanceof Uint8Array)) return undefined;
    const found = samplesOf({ bytes });
    const samples = translate(found);
    const device = samples[0] && state.deviceOfMetric(samples[0].metricId);
    if (device === undefined) return undefined;
    const own = samples.filter(({ metricId }) => state.deviceOfMetric(metricId) === device);
    return { device, samples: own, bytes: encodeSamples(own), isWhole: own.length === found.length };
  }

  function records(from: Recovering, untilMs: number): Batch {
    const found: Readable[] = [];
    let [whole, unreadable, size] = [0, 0, 0];
    const after = Math.max(from.after, file.before);
    const walked = file.records(after, file.last, untilMs, ({ bytes }) => {
      const record = recordOf(bytes);
      const own = (record?.bytes.length ?? 0) + recordOverheadBytes;
      if (record && own <= options.maxBytes) {
        const room =
          found.length === 0 ? roomBytes(box) : Math.min(batchBytes, options.maxBytes / 2 - state.tally.bytes);
        if (found.length >= batchRecords || size + own > room) return false;
        found.push(record);
        size += own;
        whole += record.isWhole ? 1 : 0;
      }
      unreadable += record?.isWhole && own <= options.maxBytes ? 0 : 1;
      return true;
    });
    const isDone = walked.after >= file.last;
    // Where nobody knows the last position, nothing need have been at those that cannot be read.
    if (file.isKnown) unreadable += walked.skipped;
    const next = {
      ...from,
      after: walked.after,
      recovered: from.recovered + whole,
      unreadable: from.unreadable + unreadable,
    };
    for (const { device, samples } of found) state.sourceTimes(state.deviceOf(device), samples);
    const writtenAtMs = stamp(box);
    return {
      next: isDone ? { ...next, asidesAfter: 0 } : next,
      count: found.length,
      write: (to) => {
        for (const { bytes, ...record } of found) append(box, to, { ...record, writtenAtMs }, bytes);
      },
    };
  }

  /** What was set aside stays so, and is counted already; bytes that cannot be read are carried as they are, for a person to look at. */
  function asides(from: Recovering, untilMs: number): Batch {
    const found: (Readable & { reason: string })[] = [];
    let room = asideRoomBytes(box);
    const walked = file.asides(from.asidesAfter ?? 0, file.lastAside, untilMs, ({ device, reason, bytes }) => {
      if (typeof device !== "string" || typeof reason !== "string" || !(bytes instanceof Uint8Array)) return true;
      const samples = translate(samplesOf({ bytes }));
      const own = samples.length > 0 ? encodeSamples(samples) : bytes;
      room -= own.length + asideOverheadBytes;
      if (found.length >= batchRecords || room < 0) return false;
      found.push({ device, reason, samples, bytes: own });
      return true;
    });
    const writtenAtMs = stamp(box);
    return {
      next: { ...from, asidesAfter: walked.after },
      count: found.length,
      write: (to) => {
        const rows = found.map(({ bytes, ...aside }) => insertAside(box, to, { ...aside, writtenAtMs }, bytes));
        if (rows.length > 0) state.freed(rows, to.oldest(state.tally.goneTo));
      },
    };
  }

  return {
    file: entry.file,
    lost: (at: Recovering): number => lostOf(at, file.mostRecords),
    isDone: ({ asidesAfter }: Recovering): boolean => asidesAfter !== undefined && asidesAfter >= file.lastAside,
    next: (at: Recovering, untilMs: number): Batch => (at.asidesAfter === undefined ? records : asides)(at, untilMs),
    close: file.close,
  };
}

type Open = ReturnType<typeof batches>;

/**
 * Brings what can still be read of damaged files back into the outbox that took their place, step by step while it runs: pending records as
 * new ones of the epoch in use, what was set aside as such. How far a file is and what came out of it are one transaction, so that a crash
 * neither loses nor doubles. The platform may have some of it already: one key and one content, stored once.
 */
export function recovery(box: Box) {
  const { state, store, options } = box;
  const { path = "", log } = options;
  const tell = atMostEvery(60_000);
  let open: Open | undefined;

  function close(): void {
    open?.close();
    open = undefined;
  }

  /** Counts what a file has lost beyond the one that its damage was counted as, and is done with it; the file stays as evidence. */
  function finish(entry: Recovering, lost: number, why?: string): boolean {
    const done = store.changeIfRoom("end a recovery", () => {
      if (lost > 1) state.count("setAsideRecords", lost - 1);
      state.recovered(undefined);
      return true;
    });
    if (!done) return false;
    close();
    const { file, recovered } = entry;
    const remedy =
      lost > 0 ? "replace the medium; `sqlite3 FILE .recover` may read more of the file" : "replace the medium";
    const found = { code: "OUTBOX_SALVAGED", file, recovered, unreadable: lost, why, remedy };
    if (lost > 0) log.error(found, "a damaged outbox file was read: not all of its records are there");
    else log.warn(found, "a damaged outbox file was read: all of its records are there");
    return true;
  }

  /** The file of an entry; undefined where it cannot be had now, or never, which ends its recovery. */
  function opened(entry: Recovering): Open | undefined {
    if (open?.file === entry.file) return open;
    close();
    const at = join(dirname(path), entry.file);
    try {
      if (!existsSync(at)) {
        finish(entry, lostOf(entry), "it is not there any more");
        return undefined;
      }
      open = batches(box, damagedFile(at), entry);
      log.warn({ code: "OUTBOX_RECOVERING", ...entry }, "records are being recovered from a damaged outbox file");
      return open;
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown;
      finish(entry, lostOf(entry), messageOf(thrown));
      return undefined;
    }
  }

  function hasSpace(): boolean {
    return mediumBytes(path) + (store.read((tables) => tables.freeBytes()) ?? 0) >= spareBytes;
  }

  /** One transaction of it. @returns how many records came out; undefined: no more in this tick */
  function step(untilMs: number): number | undefined {
    const [entry] = state.recovering();
    if (!entry || !store.isWritable() || !hasSpace()) return undefined;
    const from = opened(entry);
    if (!from) return undefined;
    if (from.isDone(entry)) return finish(entry, from.lost(entry)) ? 0 : undefined;
    const { next, count, write } = from.next(entry, untilMs);
    if (next.after === entry.after && next.asidesAfter === entry.asidesAfter) return undefined;
    const done = store.changeIfRoom("recover records", (to) => {
      write(to);
      state.recovered(next);
      return true;
    });
    return done ? count : undefined;
  }

  function tick(): void {
    const untilMs = performance.now() + tickMs;
    try {
      for (let left = tickRecords; left > 0 && performance.now() < untilMs; ) {
        const count = step(untilMs);
        if (count === undefined) return;
        left -= count;
      }
    } catch (thrown) {
      // What else the tick does, and the gateway, go on without it.
      tell((heldBack) =>
        log.error(
          { code: "OUTBOX_FAILED", path, found: messageOf(thrown), heldBack },
          "a damaged file could not be read",
        ),
      );
    }
  }

  return { tick, close };
}
