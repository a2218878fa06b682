import type { RecordId } from "@jilian/domain/commit.ts";
import type { RangeSet } from "@jilian/domain/range-set.ts";

/** How a record was sent: at once, from the backlog, or under trial (sender-trials.ts). */
export type SendKind = "live" | "backlog" | "trial";

/** A record that was sent and neither committed nor given up. */
export type InFlight = RecordId & {
  /** Number of the send, counted over all. */
  nth: number;
  sentMs: number;
  /** Of its payload. */
  bytes: number;
  kind: SendKind;
  /** Sent once: its commit tells the delay. */
  isFirst: boolean;
  /** A later send was committed: it waits in no queue any more. */
  isPassed: boolean;
};

export const keyOf = ({ epoch, offset }: RecordId): string => `${epoch}:${offset}`;

/** What is in flight in a session, in order of sending: a record that is sent again is put in again. */
export function flightLog() {
  const entries = new Map<string, InFlight>();
  /** What of the backlog counts for its rate: not what is under trial, nor what was passed over. */
  const window = { records: 0, bytes: 0 };
  let notLive = 0;
  let sends = 0;
  /** The last send whose commit came. */
  let committedNth = 0;

  function pass(entry: InFlight): void {
    if (entry.isPassed) return;
    entry.isPassed = true;
    if (entry.kind !== "backlog") return;
    window.records -= 1;
    window.bytes -= entry.bytes;
  }

  function forget(key: string): void {
    const entry = entries.get(key);
    if (!entry) return;
    pass(entry);
    if (entry.kind !== "live") notLive -= 1;
    entries.delete(key);
  }

  return {
    has: (key: string): boolean => entries.has(key),
    size: (): number => entries.size,
    /** In the order of sending. */
    entries: (): Iterable<InFlight> => entries.values(),
    /** Of the backlog and under trial. */
    notLive: (): number => notLive,
    window: (): { records: number; bytes: number } => ({ ...window }),
    add: (sent: Omit<InFlight, "nth" | "isPassed">): void => {
      const key = keyOf(sent);
      forget(key);
      sends += 1;
      entries.set(key, { ...sent, nth: sends, isPassed: false });
      if (sent.kind !== "live") notLive += 1;
      if (sent.kind !== "backlog") return;
      window.records += 1;
      window.bytes += sent.bytes;
    },
    /**
     * Gives up what was sent at or before a time. `isAgainstIt`: a record sent later was committed meanwhile. Only that speaks against a
     * record, and not an outage or a slow store, which delay them all.
     */
    expire: (sentByMs: number): { entry: InFlight; isAgainstIt: boolean }[] => {
      const gone: { entry: InFlight; isAgainstIt: boolean }[] = [];
      for (const [key, entry] of entries) {
        if (entry.sentMs > sentByMs) break;
        gone.push({ entry, isAgainstIt: committedNth > entry.nth });
        forget(key);
      }
      return gone;
    },
    /** Takes out what was committed; gives those of it that were sent once, whose delay is known. */
    committed: (epoch: string, offsets: RangeSet): InFlight[] => {
      const first: InFlight[] = [];
      for (const [key, entry] of entries) {
        if (entry.epoch !== epoch || !offsets.has(entry.offset)) continue;
        if (entry.isFirst) first.push(entry);
        forget(key);
      }
      for (const { nth } of first) committedNth = Math.max(committedNth, nth);
      for (const entry of entries.values()) if (entry.nth < committedNth) pass(entry);
      return first;
    },
    /** When the oldest was sent that may still wait in a queue; undefined when there is none. */
    waitingSinceMs: (): number | undefined => {
      for (const { isPassed, sentMs } of entries.values()) if (!isPassed) return sentMs;
      return undefined;
    },
    /** Forgets all, or what is of one epoch. */
    clear: (epoch?: string): void => {
      for (const [key, entry] of entries) if (epoch === undefined || entry.epoch === epoch) forget(key);
    },
  };
}
