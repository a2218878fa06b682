import { messageOf } from "@jilian/domain/errors.ts";
import { type Range, rangeSet } from "@jilian/domain/range-set.ts";
import type { Logger } from "pino";
import { backlogRate } from "./backlog-rate.ts";
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

/**
 * Decides which record goes when (CONTRACTS 2). Live records go at once; all else that is pending and not in flight is backlog and goes
 * oldest first at an adaptive rate; what was sent and not committed in time becomes backlog again, or goes under trial when others were
 * (sender-trials.ts). Nothing is kept here but ids and the records under trial: the others stay on disk.
 */
export function createSender({ outbox, settings, log, now = () => performance.now() }: SenderOptions) {
  const { backlogRecordsPerSecond, backlogBytesPerSecond, commitTimeoutMs, maxInFlightRecords } = settings;
  const ceilings = { recordsPerSecond: backlogRecordsPerSecond, bytesPerSecond: backlogBytesPerSecond };
  const passEveryMs = Math.max(commitTimeoutMs / 4, 50);
  const rate = backlogRate({ ...ceilings, commitTimeoutMs });
  const trials = createTrials({ outbox, log });
  const flight = flightLog();
  const sent = sentLog(Math.max(minEpochs, maxInFlightRecords));
  const cuts = cutLog();
  const tellAccused = atMostEvery(tellMs);
  const tellFailed = atMostEvery(tellMs);
  let transport: Transport | undefined;
  const counts = { sentLive: 0, sentBacklog: 0, committedRecords: 0, commits: 0 };
  /** The pass over the backlog: where it is, when it began, and whether something before it is due again. */
  let cursor = 0;
  let passStartedMs = 0;
  let overdue = false;
  let wasTrial = false;
  /** Of the session: when it began, whether something was committed in it, and which accused record was sent last. */
  const session = { bornMs: 0, hasCommitted: false, accusedKey: "" };

  function send(record: OutboxRecord, kind: SendKind): void {
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
    wasTrial = kind === "trial";
  }

  function expire(nowMs: number): void {
    for (const { entry, isAgainstIt } of flight.expire(nowMs - commitTimeoutMs)) {
      if (entry.isFirst && isAgainstIt) trials.outcome(true);
      if (entry.kind !== "trial") rate.waiting(entry.sentMs, nowMs);
      trials.failed(entry, isAgainstIt);
      overdue = true;
    }
    const sinceMs = flight.waitingSinceMs();
    if (sinceMs !== undefined) rate.waiting(sinceMs, nowMs);
  }

  function hasRoom(nowMs: number): boolean {
    if (flight.notLive() >= maxInFlightRecords || !transport?.hasRoom("backlog")) return false;
    return rate.mayTake(flight.window(), nowMs);
  }

  /** Starts over from the oldest record, at most four times within the time-out: the way there leads over what is in flight. */
  function startPass(nowMs: number): boolean {
    if (nowMs - passStartedMs < passEveryMs) return false;
    cursor = 0;
    passStartedMs = nowMs;
    overdue = false;
    return true;
  }

  /** A record at which connections ended goes alone of its kind, and late enough that the rest has got through. */
  function mayTry(key: string, nowMs: number): boolean {
    if (!trials.isAccused(key)) return true;
    if (flight.has(session.accusedKey) || nowMs - session.bornMs < provedMs) return false;
    session.accusedKey = key;
    return true;
  }

  /** The connection is lost: evidence against a record that was tried alone on one that had proved itself, suspicion of what it was about. */
  function blame(nowMs: number): void {
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
  }

  function sendTrials(atMost: number, nowMs: number): void {
    let left = atMost;
    for (const [key, record] of trials.held()) {
      if (left === 0 || !hasRoom(nowMs)) return;
      if (flight.has(key) || !mayTry(key, nowMs)) continue;
      send(record, "trial");
      left -= 1;
    }
  }

  function sendBacklog(nowMs: number): void {
    while (hasRoom(nowMs) && now() - nowMs < callMs) {
      if (outbox.stats().pendingRecords <= flight.size()) return;
      const found = outbox.pending(cursor, stepRecords);
      if (found.length === 0 && !startPass(nowMs)) return;
      for (const { record, position } of found) {
        if (!hasRoom(nowMs)) return;
        cursor = position;
        const key = keyOf(record);
        if (flight.has(key)) continue;
        if (!trials.isSuspect(key)) send(record, "backlog");
        else trials.hold(record);
      }
    }
  }

  function sendDue(): void {
    if (!transport) return;
    const nowMs = now();
    expire(nowMs);
    if (overdue) startPass(nowMs);
    // Where there is room for one record only, trial and backlog take turns.
    if (!wasTrial) sendTrials(1, nowMs);
    sendBacklog(nowMs);
    sendTrials(Number.POSITIVE_INFINITY, nowMs);
  }

  /** What goes wrong is told and tried again with the next call: nobody who calls these could do more about it. */
  function guarded(act: () => void): void {
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
  }

  /** Sends what may go of the backlog now. Called often: on a timer, after a commit, when the socket has drained. */
  const pump = (): void => guarded(sendDue);

  /** @param ranges what was sent by this process and is stored */
  function committed(epoch: string, ranges: readonly Range[], freed: number): void {
    const nowMs = now();
    if (freed > 0) counts.commits += 1;
    session.hasCommitted ||= freed > 0;
    counts.committedRecords += freed;
    const offsets = rangeSet(ranges);
    for (const { sentMs } of flight.committed(epoch, offsets)) {
      trials.outcome(false);
      rate.committed(sentMs, nowMs);
    }
    trials.committed(epoch, offsets);
    pump();
  }

  return {
    live: (record: OutboxRecord): void => {
      guarded(() => {
        if (transport?.hasRoom("live")) send(record, "live");
      });
    },
    committed,
    pump,
    sent: { within: sent.within, knows: sent.knows, last: sent.last },
    /** The records of an epoch have another id now: all of them go again. */
    renewed: (epoch: string): void => {
      flight.clear(epoch);
      trials.forgetEpoch(epoch);
      cursor = 0;
      pump();
    },
    /** A session is born: nothing is in flight in it yet. */
    begin: (to: Transport): void => {
      flight.clear();
      cursor = 0;
      passStartedMs = now();
      overdue = false;
      transport = to;
      rate.begin(passStartedMs);
      Object.assign(session, { bornMs: passStartedMs, hasCommitted: false, accusedKey: "" });
      pump();
    },
    /** @param isLost the connection ended, and not by our will */
    end: (isLost = false): void => {
      if (transport && isLost) guarded(() => blame(now()));
      transport = undefined;
    },
    stats: (): SenderStats => {
      const { recordsPerSecond, commitDelayMs } = rate.stats();
      const rates = { backlogRecordsPerSecond: recordsPerSecond, commitDelayMs };
      return { ...counts, ...trials.stats(), ...rates, inFlightRecords: flight.size() };
    },
  };
}

export type Sender = ReturnType<typeof createSender>;
