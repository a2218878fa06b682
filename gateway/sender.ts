import type { RecordId } from "@jilian/domain/commit.ts";
import { type Range, rangeSet } from "@jilian/domain/range-set.ts";
import type { Logger } from "pino";
import type { Outbox, OutboxRecord } from "./model.ts";

export type SenderSettings = {
  backlogRecordsPerSecond: number;
  /** A record that was sent and not committed for this long goes again. */
  commitTimeoutMs: number;
  /** Records of the backlog that may be sent and not yet committed. */
  maxInFlightRecords: number;
};

/** A born session, as far as data is concerned. */
export type Transport = {
  /** False while no more may be handed over. The backlog stops earlier than live data, so that this finds room. */
  readonly hasRoom: (kind: "live" | "backlog") => boolean;
  readonly send: (record: OutboxRecord) => void;
};

export type SenderStats = {
  /** Records sent since the start, by the way they took; one that is sent again counts again. */
  sentLive: number;
  sentBacklog: number;
  /** Records freed because the platform has them. */
  committedRecords: number;
  /** Commit notices that freed something. */
  commits: number;
  inFlightRecords: number;
  /** Records that were sent often while others were committed: the platform may not be able to store them. */
  suspectRecords: number;
};

export type SenderOptions = { outbox: Outbox; settings: SenderSettings; log: Logger };

/** Sends after which an uncommitted record counts as one that the platform cannot store, and how rarely it then goes. */
const suspectAfterSends = 10;
const suspectIntervalMs = 600_000;
const maxSuspects = 10_000;
/** Records read from disk in one step, and looked at in one call: a call must not hold up the polls. */
const stepRecords = 64;
const callRecords = 2000;

type InFlight = RecordId & { sentMs: number; backlog: boolean; commitsBefore: number };
type Suspect = { sends: number; notBeforeMs: number };

const keyOf = ({ epoch, offset }: RecordId): string => `${epoch}:${offset}`;

/**
 * Decides which record goes when (CONTRACTS 2). Live records go at once; all else that is pending and not in flight is backlog and goes
 * oldest first at a bounded rate; what was sent and not committed in time becomes backlog again. Nothing is kept here but the ids of what
 * is in flight: the records stay on disk. Times are the machine's, since a network is no faster when a plant is simulated faster.
 */
export function createSender({ outbox, settings, log }: SenderOptions) {
  const { backlogRecordsPerSecond, commitTimeoutMs, maxInFlightRecords } = settings;
  const burst = Math.max(1, backlogRecordsPerSecond / 4);
  const passEveryMs = Math.max(commitTimeoutMs / 4, 50);
  /** In order of sending, since a record sent again is put in again. */
  const inFlight = new Map<string, InFlight>();
  const suspects = new Map<string, Suspect>();
  let transport: Transport | undefined;
  let backlogInFlight = 0;
  let commits = 0;
  const counts = { sentLive: 0, sentBacklog: 0, committedRecords: 0 };
  let tokens = burst;
  let filledMs = performance.now();
  /** The pass over the backlog: where it is, when it began, and whether something before it is due again. */
  let cursor = 0;
  let passStartedMs = 0;
  let overdue = false;

  function forget(key: string): void {
    if (inFlight.get(key)?.backlog) backlogInFlight -= 1;
    inFlight.delete(key);
  }

  function send(record: OutboxRecord, backlog: boolean): void {
    const key = keyOf(record);
    forget(key);
    const { epoch, offset } = record;
    inFlight.set(key, { epoch, offset, sentMs: performance.now(), backlog, commitsBefore: commits });
    if (backlog) backlogInFlight += 1;
    counts[backlog ? "sentBacklog" : "sentLive"] += 1;
    transport?.send(record);
  }

  /** Counts a send that stayed without commit while others were committed: only that speaks against the record itself. */
  function suspect(key: string, { epoch, offset }: RecordId, nowMs: number): void {
    const known = suspects.get(key) ?? { sends: 0, notBeforeMs: 0 };
    known.sends += 1;
    suspects.set(key, known);
    if (known.sends >= suspectAfterSends) known.notBeforeMs = nowMs + suspectIntervalMs;
    if (known.sends === suspectAfterSends) {
      log.error(
        { code: "OUTBOX_RECORD_UNCOMMITTED", epoch, offset, sends: known.sends },
        "the platform commits other records and not this one: it is sent rarely from now on; look for it in the log of ingest",
      );
    }
    const [oldest] = suspects.keys();
    if (suspects.size > maxSuspects && oldest !== undefined) suspects.delete(oldest);
  }

  function expire(nowMs: number): void {
    for (const [key, sent] of inFlight) {
      if (nowMs - sent.sentMs < commitTimeoutMs) return;
      forget(key);
      overdue = true;
      if (commits > sent.commitsBefore) suspect(key, sent, nowMs);
    }
  }

  function fill(nowMs: number): void {
    tokens = Math.min(burst, tokens + ((nowMs - filledMs) / 1000) * backlogRecordsPerSecond);
    filledMs = nowMs;
  }

  function mayGo(record: OutboxRecord, nowMs: number): boolean {
    const key = keyOf(record);
    return !inFlight.has(key) && (suspects.get(key)?.notBeforeMs ?? 0) <= nowMs;
  }

  function hasRoom(): boolean {
    return tokens >= 1 && backlogInFlight < maxInFlightRecords && transport?.hasRoom("backlog") === true;
  }

  /** Starts over from the oldest record, at most four times within the time-out: the way there leads over what is in flight. */
  function startPass(nowMs: number): boolean {
    if (nowMs - passStartedMs < passEveryMs) return false;
    cursor = 0;
    passStartedMs = nowMs;
    overdue = false;
    return true;
  }

  /** Sends what may go of the backlog now. Called often: on a timer, after a commit, when the socket has drained. */
  function pump(): void {
    const nowMs = performance.now();
    if (!transport) return;
    fill(nowMs);
    expire(nowMs);
    if (overdue) startPass(nowMs);
    for (let seen = 0; seen < callRecords && hasRoom(); ) {
      if (outbox.stats().pendingRecords <= inFlight.size) return;
      const found = outbox.pending(cursor, stepRecords);
      if (found.length === 0 && !startPass(nowMs)) return;
      seen += Math.max(1, found.length);
      for (const { record, position } of found) {
        if (!hasRoom()) return;
        cursor = position;
        if (!mayGo(record, nowMs)) continue;
        tokens -= 1;
        send(record, true);
      }
    }
  }

  function live(record: OutboxRecord): void {
    if (transport?.hasRoom("live")) send(record, false);
  }

  function committed(epoch: string, ranges: readonly Range[], freed: number): void {
    if (freed > 0) commits += 1;
    counts.committedRecords += freed;
    const offsets = rangeSet(ranges);
    for (const [key, sent] of inFlight) {
      if (sent.epoch === epoch && offsets.has(sent.offset)) forget(key);
    }
    for (const key of suspects.keys()) {
      if (key.startsWith(epoch) && offsets.has(Number(key.slice(epoch.length + 1)))) suspects.delete(key);
    }
    pump();
  }

  return {
    live,
    committed,
    pump,
    /** A session is born: nothing is in flight in it yet. */
    begin: (to: Transport): void => {
      inFlight.clear();
      backlogInFlight = 0;
      cursor = 0;
      passStartedMs = performance.now();
      overdue = false;
      transport = to;
      pump();
    },
    end: (): void => {
      transport = undefined;
    },
    stats: (): SenderStats => ({
      ...counts,
      commits,
      inFlightRecords: inFlight.size,
      suspectRecords: suspects
        .values()
        .filter(({ sends }) => sends >= suspectAfterSends)
        .toArray().length,
    }),
  };
}
