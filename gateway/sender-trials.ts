import type { RecordId } from "@jilian/domain/commit.ts";
import type { RangeSet } from "@jilian/domain/range-set.ts";
import type { Logger } from "pino";
import type { Outbox, OutboxRecord } from "./model.ts";
import { keyOf } from "./sender-flight.ts";

/** Records under trial at a time: their samples are in memory, and their sends must not take the place of the rest. */
const maxTrials = 64;
/** Records remembered as sent and not committed; those beyond are as if never sent. */
const maxFailed = 10_000;
/**
 * Evidence against a record. A send that failed while a later one was committed counts -log10 of the share of all first sends that fail
 * so: 2 where one in a hundred does, 0.3 where every other one is shed by an overloaded platform, so that overload convicts nobody. Two
 * failed sends usually split a record, four set a single sample aside: by chance alone that happens to one in 10^8.
 */
const splitAt = 3;
const setAsideAt = 8;
const rarestShare = 0.01;
/** The share is that of the last fifty or so first sends; with nothing known yet it is one in ten. */
const keptPerSend = 0.98;
const prior = { failed: 0.5, all: 5 };

type Failed = RecordId & {
  sends: number;
  evidence: number;
  /** Connections ended when it was sent (sender-cuts.ts): it is sent alone, once a connection has proved itself without it. */
  isAccused: boolean;
};

/**
 * Finds what the platform can never take (CONTRACTS 2): a record that fails while others are committed is held in memory, sent again at
 * each time-out, split in halves on enough evidence, and set aside when it is a single sample. So the rest of a record is stored, and
 * nothing waits behind it.
 */
export function createTrials({ outbox, log }: { outbox: Outbox; log: Logger }) {
  const failed = new Map<string, Failed>();
  const held = new Map<string, OutboxRecord>();
  const firstSends = { failed: 0, all: 0 };
  let splits = 0;

  /** Told of each record that was sent for the first time: committed, or failed while a later one was committed. */
  function outcome(isFailed: boolean): void {
    firstSends.failed = firstSends.failed * keptPerSend + (isFailed ? 1 : 0);
    firstSends.all = firstSends.all * keptPerSend + 1;
  }

  function weight(): number {
    const share = (firstSends.failed + prior.failed) / (firstSends.all + prior.all);
    return -Math.log10(Math.max(rarestShare, share));
  }

  function forget(key: string): void {
    failed.delete(key);
    held.delete(key);
  }

  function knownOf(key: string, { epoch, offset }: RecordId, isAccused = false): Failed {
    const known = failed.get(key) ?? { epoch, offset, sends: 0, evidence: 0, isAccused };
    failed.set(key, known);
    return known;
  }

  /** Splits a record in halves, which go under trial as far as there is room. @returns whether it could be split */
  function divide(id: RecordId, isAccused: boolean): boolean {
    forget(keyOf(id));
    const pieces = outbox.split(id);
    for (const piece of pieces) if (held.size < maxTrials) hold(piece, isAccused);
    if (pieces.length > 0) splits += 1;
    return pieces.length > 0;
  }

  /** When neither succeeds, the file cannot be written or the record was dropped: it is met again on disk or not at all. */
  function judge(key: string, record: OutboxRecord, { sends, evidence, isAccused }: Failed): void {
    const { epoch, offset, device, samples } = record;
    if (samples.length > 1 && evidence >= splitAt) {
      const why = isAccused ? "connections end when a record is sent" : "a record is not committed";
      if (!divide(record, isAccused)) return;
      log.info({ epoch, offset, device, samples: samples.length, sends }, `${why}: split in two`);
    } else if (samples.length <= 1 && evidence >= setAsideAt) {
      forget(key);
      const why = isAccused ? "connections ended when it was sent" : "the platform committed others and not this one";
      outbox.setAside(record, `${why}, sent ${sends} times`);
    }
  }

  function hold(record: OutboxRecord, isAccused = false): void {
    const key = keyOf(record);
    held.set(key, record);
    knownOf(key, record, isAccused);
  }

  /** Bounds what is remembered. */
  function forgetOldest(): void {
    for (const oldest of failed.keys()) {
      if (failed.size <= maxFailed) break;
      forget(oldest);
    }
  }

  return {
    outcome,
    /**
     * A record was not committed in time, or the connection ended when it was sent alone.
     * @param isAgainstIt a record sent later was committed meanwhile, or others before that end
     */
    failed: (id: RecordId, isAgainstIt: boolean): void => {
      const key = keyOf(id);
      const known = knownOf(key, id);
      if (isAgainstIt) {
        known.sends += 1;
        known.evidence += weight();
      }
      const record = held.get(key);
      if (record) judge(key, record, known);
      forgetOldest();
    },
    /** Connection after connection ended when a record was sent, among others perhaps. */
    accuse: (id: RecordId): void => {
      knownOf(keyOf(id), id).isAccused = true;
      forgetOldest();
    },
    isAccused: (key: string): boolean => failed.get(key)?.isAccused ?? false,
    committed: (epoch: string, offsets: RangeSet): void => {
      for (const [key, id] of failed) if (id.epoch === epoch && offsets.has(id.offset)) forget(key);
    },
    /** A record is no longer pending. */
    forget,
    /** The platform says that it holds samples which the store refuses. @returns whether it could be split */
    divide: (id: RecordId): boolean => divide(id, false),
    /** Whether a record has failed before, or is a piece of one that has. */
    isKnown: (key: string): boolean => failed.has(key),
    isSuspect: (key: string): boolean => {
      const known = failed.get(key);
      return held.has(key) || (known !== undefined && (known.isAccused || known.evidence > 0));
    },
    /** Takes a suspect under trial; without room it waits on disk for its turn. */
    hold: (record: OutboxRecord): void => {
      if (held.size < maxTrials) hold(record);
    },
    held: (): Iterable<[string, OutboxRecord]> => held,
    /** The ids of an epoch have changed. */
    forgetEpoch: (epoch: string): void => {
      for (const [key, id] of failed) if (id.epoch === epoch) forget(key);
    },
    stats: () => ({
      suspectRecords: failed
        .values()
        .filter(({ evidence, isAccused }) => isAccused || evidence > 0)
        .reduce((sum) => sum + 1, 0),
      splitRecords: splits,
    }),
  };
}

export type Trials = ReturnType<typeof createTrials>;
