import type { RecordId } from "@jilian/domain/commit.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { type Range, rangeSet } from "@jilian/domain/range-set.ts";
import type { Logger } from "pino";
import { backlogRate } from "./backlog-rate.ts";
import { addBounded } from "./bounded-set.ts";
import { atMostEvery } from "./log-limit.ts";
import type { Outbox, OutboxRecord } from "./model.ts";
import { cutLog, justSent } from "./sender-cuts.ts";
import { flightLog, type InFlight, keyOf, type SendKind } from "./sender-flight.ts";
import { sentLog } from "./sender-sent.ts";
import { createTrials } from "./sender-trials.ts";

export type SenderSettings = {
  /** Ceilings of the backlog; how much of them it uses follows the delay of commits (backlog-rate.ts). */
  backlogRecordsPerSecond: number;
  backlogBytesPerSecond: number;
  /** A record that was sent and not committed for this long goes again. */
  commitTimeoutMs: number;
  /** Records of the backlog that may be sent and not yet committed. */
  maxInFlightRecords: number;
};

/** A born session, as far as data is concerned. */
export type Transport = {
  /** False while no more may be handed over. The backlog stops earlier than live data, so that this finds room. */
  readonly hasRoom: (kind: "live" | "backlog") => boolean;
  /** Returns the bytes of its payload; 0 when it was not sent: set aside, split, or its device cannot be born. Throws nothing. */
  readonly send: (record: OutboxRecord) => number;
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
  /** Records that failed while others were committed: the platform may not be able to store them. */
  suspectRecords: number;
  /** Such records that were split in halves, since the start. */
  splitRecords: number;
  /** What the backlog may take now. */
  backlogRecordsPerSecond: number;
  /** From send to commit, smoothed; undefined before the first commit of a connection. */
  commitDelayMs: number | undefined;
};

/** `now` is a monotonic clock in ms; by default the machine's, since a network is no faster when a plant is simulated faster. */
export type SenderOptions = { outbox: Outbox; settings: SenderSettings; log: Logger; now?: () => number };

/** Records read from disk in one step, and how long one call may take: it must not hold up the polls. */
const stepRecords = 64;
const callMs = 20;
/** A connection that lasted so long has proved itself: a record that may end it can be tried. */
const provedMs = 10_000;
const tellMs = 60_000;
/** Epochs of which it is kept what was sent, at least. */
const minEpochs = 1000;
/** Epochs that are to be renewed, at most. */
const maxDoubted = 1000;

type Send = (record: OutboxRecord, kind: SendKind) => void;

/** What the parts of a sender share. */
type Work = {
  readonly outbox: Outbox;
  readonly log: Logger;
  readonly now: () => number;
  readonly commitTimeoutMs: number;
  readonly maxInFlightRecords: number;
  readonly rate: ReturnType<typeof backlogRate>;
  readonly trials: ReturnType<typeof createTrials>;
  readonly flight: ReturnType<typeof flightLog>;
  readonly sent: ReturnType<typeof sentLog>;
  readonly counts: { sentLive: number; sentBacklog: number; committedRecords: number; commits: number };
  /** Epochs that are to be renewed: nothing of them is freed meanwhile, which speaks against none of their records. */
  readonly doubted: Set<string>;
  /** Of the session: when it began, whether something was committed in it, and which accused record was sent last. */
  readonly session: { bornMs: number; hasCommitted: boolean; accusedKey: string };
  transport: Transport | undefined;
  /** Whether what was sent last beside live records was under trial. */
  wasTrial: boolean;
};

function newWork({ outbox, settings, log, now }: Required<SenderOptions>): Work {
  const { backlogRecordsPerSecond, backlogBytesPerSecond, commitTimeoutMs, maxInFlightRecords } = settings;
  const ceilings = { recordsPerSecond: backlogRecordsPerSecond, bytesPerSecond: backlogBytesPerSecond };
  return {
    ...{ outbox, log, now, commitTimeoutMs, maxInFlightRecords },
    rate: backlogRate({ ...ceilings, commitTimeoutMs }),
    trials: createTrials({ outbox, log }),
    flight: flightLog(),
    sent: sentLog(Math.max(minEpochs, maxInFlightRecords)),
    counts: { sentLive: 0, sentBacklog: 0, committedRecords: 0, commits: 0 },
    doubted: new Set(),
    session: { bornMs: 0, hasCommitted: false, accusedKey: "" },
    transport: undefined,
    wasTrial: false,
  };
}

/** Takes what was not committed in time for lost. @returns whether anything was */
function expire({ flight, trials, rate, doubted, commitTimeoutMs }: Work, nowMs: number): boolean {
  let found = false;
  for (const { entry, isAgainstIt: isPassed } of flight.expire(nowMs - commitTimeoutMs)) {
    const isAgainstIt = isPassed && !doubted.has(entry.epoch);
    if (entry.isFirst && isAgainstIt) trials.outcome(true);
    if (entry.kind !== "trial") rate.waiting(entry.sentMs, nowMs);
    trials.failed(entry, isAgainstIt);
    found = true;
  }
  const sinceMs = flight.waitingSinceMs();
  if (sinceMs !== undefined) rate.waiting(sinceMs, nowMs);
  return found;
}

function hasRoom({ flight, rate, transport, maxInFlightRecords }: Work, nowMs: number): boolean {
  if (flight.notLive() >= maxInFlightRecords || !transport?.hasRoom("backlog")) return false;
  return rate.mayTake(flight.window(), nowMs);
}

/** The pass over the backlog: where it is, when it began, and whether something before it is due again. */
function backlogPass(work: Work, send: Send) {
  const { outbox, flight, trials, now } = work;
  const passEveryMs = Math.max(work.commitTimeoutMs / 4, 50);
  let cursor = 0;
  let startedMs = 0;
  let overdue = false;

  function begin(nowMs: number): void {
    cursor = 0;
    startedMs = nowMs;
    overdue = false;
  }

  /** Starts over from the oldest record, at most four times within the time-out: the way there leads over what is in flight. */
  function start(nowMs: number): boolean {
    if (nowMs - startedMs < passEveryMs) return false;
    begin(nowMs);
    return true;
  }

  return {
    begin,
    /** @param isDue something that was sent is due again */
    startDue: (isDue: boolean, nowMs: number): void => {
      overdue ||= isDue;
      if (overdue) start(nowMs);
    },
    send: (nowMs: number): void => {
      while (hasRoom(work, nowMs) && now() - nowMs < callMs) {
        if (outbox.stats().pendingRecords <= flight.size()) return;
        const found = outbox.pending(cursor, stepRecords);
        if (found.length === 0 && !start(nowMs)) return;
        for (const { record, position } of found) {
          if (!hasRoom(work, nowMs)) return;
          cursor = position;
          const key = keyOf(record);
          if (flight.has(key)) continue;
          if (!trials.isSuspect(key)) send(record, "backlog");
          else trials.hold(record);
        }
      }
    },
  };
}

/** A record at which connections ended goes alone of its kind, and late enough that the rest has got through. */
function mayTry({ trials, flight, session }: Work, key: string, nowMs: number): boolean {
  if (!trials.isAccused(key)) return true;
  if (flight.has(session.accusedKey) || nowMs - session.bornMs < provedMs) return false;
  session.accusedKey = key;
  return true;
}

function sendTrials(work: Work, send: Send, atMost: number, nowMs: number): void {
  let left = atMost;
  for (const [key, record] of work.trials.held()) {
    if (left === 0 || !hasRoom(work, nowMs)) return;
    if (work.flight.has(key) || !mayTry(work, key, nowMs)) continue;
    send(record, "trial");
    left -= 1;
  }
}

/** The connection is lost: evidence against a record that was tried alone on one that had proved itself, suspicion of what it was about. */
function blamer({ flight, trials, session, log }: Work): (nowMs: number) => void {
  const cuts = cutLog();
  const tellAccused = atMostEvery(tellMs);
  return (nowMs) => {
    const others: InFlight[] = [];
    for (const entry of justSent(flight.entries(), nowMs)) {
      if (trials.isAccused(keyOf(entry))) trials.failed(entry, session.hasCommitted);
      else others.push(entry);
    }
    for (const { epoch, offset, bytes } of cuts.lost(others)) {
      const id = { epoch, offset };
      trials.accuse(id);
      const remedy =
        "look into the broker's log; if it bounds the size of messages, set broker.maxPayloadBytes below that";
      tellAccused((heldBack) =>
        log.warn(
          { code: "RECORD_ENDS_CONNECTION", ...id, bytes, remedy, heldBack },
          "connections end in a row when this record is sent: it is tried alone from now on, and the others go first",
        ),
      );
    }
  };
}

/** @param ranges what was sent by this process and is stored */
function noteCommitted(work: Work, epoch: string, ranges: readonly Range[], freed: number): void {
  const { counts, session, flight, trials, rate } = work;
  const nowMs = work.now();
  if (freed > 0) counts.commits += 1;
  session.hasCommitted ||= freed > 0;
  counts.committedRecords += freed;
  const offsets = rangeSet(ranges);
  for (const { sentMs } of flight.committed(epoch, offsets)) {
    trials.outcome(false);
    rate.committed(sentMs, nowMs);
  }
  trials.committed(epoch, offsets);
}

/** What goes wrong is told and tried again with the next call: nobody who calls these could do more about it. */
function guard(log: Logger): (act: () => void) => void {
  const tellFailed = atMostEvery(tellMs);
  return (act) => {
    try {
      act();
    } catch (err) {
      tellFailed((heldBack) =>
        log.error(
          { code: "SENDER_FAILED", err, heldBack },
          `readings could not be sent and stay pending: ${messageOf(err)}`,
        ),
      );
    }
  };
}

function statsOf({ rate, counts, trials, flight }: Work): SenderStats {
  const { recordsPerSecond, commitDelayMs } = rate.stats();
  const rates = { backlogRecordsPerSecond: recordsPerSecond, commitDelayMs };
  return { ...counts, ...trials.stats(), ...rates, inFlightRecords: flight.size() };
}

/**
 * Decides which record goes when (CONTRACTS 2). Live records go at once; all else that is pending and not in flight is backlog and goes
 * oldest first at an adaptive rate; what was sent and not committed in time becomes backlog again, or goes under trial when others were
 * (sender-trials.ts). Nothing is kept here but ids and the records under trial: the others stay on disk.
 */
export function createSender(options: SenderOptions) {
  const { outbox, log, now = () => performance.now() } = options;
  const work = newWork({ ...options, outbox, now });
  const { flight, trials, rate, sent, counts } = work;
  const { send: sendBacklog, ...pass } = backlogPass(work, send);
  const blame = blamer(work);
  const guarded = guard(log);

  function send(record: OutboxRecord, kind: SendKind): void {
    const { transport } = work;
    const { epoch, offset } = record;
    const key = keyOf(record);
    const bytes = transport?.send(record) ?? 0;
    if (bytes === 0) {
      trials.forget(key);
      return;
    }
    sent.add(record);
    flight.add({ epoch, offset, bytes, kind, sentMs: now(), isFirst: !trials.isKnown(key) });
    counts[kind === "live" ? "sentLive" : "sentBacklog"] += 1;
    if (kind === "live") return;
    rate.take(bytes);
    work.wasTrial = kind === "trial";
  }

  function sendDue(): void {
    if (!work.transport) return;
    const nowMs = now();
    pass.startDue(expire(work, nowMs), nowMs);
    // Where there is room for one record only, trial and backlog take turns.
    if (!work.wasTrial) sendTrials(work, send, 1, nowMs);
    sendBacklog(nowMs);
    sendTrials(work, send, Number.POSITIVE_INFINITY, nowMs);
  }

  /** Sends what may go of the backlog now. Called often: on a timer, after a commit, when the socket has drained. */
  const pump = (): void => guarded(sendDue);

  return {
    live: (record: OutboxRecord): void => {
      guarded(() => {
        if (work.transport?.hasRoom("live")) send(record, "live");
      });
    },
    committed: (epoch: string, ranges: readonly Range[], freed: number): void => {
      noteCommitted(work, epoch, ranges, freed);
      pump();
    },
    /** The platform has answered a record, which is no longer pending: its samples were stored or set aside. */
    settled: ({ epoch, offset }: RecordId): void => noteCommitted(work, epoch, [[offset, offset]], 0),
    /** The platform wants a record in parts. @returns whether it could be split */
    divide: (id: RecordId): boolean => {
      if (!trials.divide(id)) return false;
      noteCommitted(work, id.epoch, [[id.offset, id.offset]], 0);
      return true;
    },
    pump,
    sent: { within: sent.within, knows: sent.knows, last: sent.last },
    /** The epoch is to be renewed, and not now. */
    doubt: (epoch: string): void => addBounded(work.doubted, epoch, maxDoubted),
    doubts: (epoch: string): boolean => work.doubted.has(epoch),
    /** The records of an epoch have another id now: all of them go again, with the next pass over the backlog at the latest. */
    renewed: (epoch: string): void => {
      work.doubted.delete(epoch);
      flight.clear(epoch);
      trials.forgetEpoch(epoch);
      pump();
    },
    /** A session is born: nothing is in flight in it yet. */
    begin: (to: Transport): void => {
      const bornMs = now();
      flight.clear();
      pass.begin(bornMs);
      work.transport = to;
      rate.begin(bornMs);
      Object.assign(work.session, { bornMs, hasCommitted: false, accusedKey: "" });
      pump();
    },
    /** @param isLost the connection ended, and not by our will */
    end: (isLost = false): void => {
      if (work.transport && isLost) guarded(() => blame(now()));
      work.transport = undefined;
    },
    stats: (): SenderStats => statsOf(work),
  };
}

export type Sender = ReturnType<typeof createSender>;
