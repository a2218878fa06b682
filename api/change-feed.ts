import { messageOf } from "@jilian/domain/errors.ts";
import type { StoredAlarm } from "@jilian/store/alarms.ts";
import type { ChangeLog, Ledger, LoggedResult } from "@jilian/store/ledger.ts";
import type { Logger } from "pino";

/** Why a wait ended: the log grew, the time is over, the one who waited or the service went away. */
export type WaitEnd = "grown" | "time" | "gone";

/** A step of the log as it is told: the figures and alarms that changed, which share its numbers, and where it ends. */
export type LogStep = {
  changes: readonly LoggedResult[];
  alarms: readonly StoredAlarm[];
  next: number;
  atEnd: boolean;
};

/** The change log for all who listen in this process. */
export type ChangeFeed = {
  readonly log: () => ChangeLog;
  /** Up to `limit` changes of figures and of alarms after a position; those who stand at the same place share one reading. */
  readonly read: (after: number, limit: number) => LogStep;
  /** Waits until the log has grown beyond a position. */
  readonly grownBeyond: (position: number, setting: { timeoutMs: number; signal: AbortSignal }) => Promise<WaitEnd>;
  /** Aborted when the service ends. */
  readonly ended: AbortSignal;
  /** Ends every wait at once. */
  readonly close: () => void;
};

/** How often the ledger is asked while someone waits: it may be written by another process, which cannot call us. */
const pollMs = 250;

type Waiter = { position: number; end: (why: WaitEnd) => void };

/** One timer for all who wait, none while nobody does: a question for one row of the ledger (some microseconds) four times a second. */
export function createChangeFeed(ledger: Ledger, log: Logger): ChangeFeed {
  const waiters = new Set<Waiter>();
  const ending = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let shared: { after: number; limit: number; last: number; step: LogStep } | undefined;
  let faulty = false;

  function poll(): void {
    try {
      const { last } = ledger.changeLog();
      faulty = false;
      for (const waiter of [...waiters]) if (waiter.position < last) waiter.end("grown");
    } catch (error) {
      // A ledger that is locked for long or gone is told once; those who wait go on waiting, their time runs out.
      if (!faulty) log.warn({ code: "CHANGE_FEED", err: messageOf(error) }, "the change log could not be asked");
      faulty = true;
    }
  }

  function grownBeyond(
    position: number,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<WaitEnd> {
    if (signal.aborted || ending.signal.aborted) return Promise.resolve("gone");
    return new Promise((resolve) => {
      const waiter: Waiter = {
        position,
        end: (why) => {
          clearTimeout(limit);
          signal.removeEventListener("abort", onAbort);
          waiters.delete(waiter);
          if (waiters.size === 0) {
            clearInterval(timer);
            timer = undefined;
          }
          resolve(why);
        },
      };
      const onAbort = () => waiter.end("gone");
      const limit = setTimeout(() => waiter.end("time"), timeoutMs);
      signal.addEventListener("abort", onAbort, { once: true });
      waiters.add(waiter);
      timer ??= setInterval(poll, pollMs);
    });
  }

  function read(after: number, limit: number): LogStep {
    const { last } = ledger.changeLog();
    if (shared && shared.after === after && shared.limit === limit && shared.last === last) return shared.step;
    const changes = ledger.changesAfter(after, limit);
    const alarms = ledger.alarmChangesAfter(after, limit);
    // Of two questions the later one may know of later changes: both are told up to where each is whole, and to what was there before.
    const wholeTo = [changes, alarms].map((own) => (own.length < limit ? last : (own.at(-1)?.change as number)));
    const next = Math.max(after, Math.min(last, ...wholeTo));
    const known = <T extends { change: number }>(own: readonly T[]) => own.filter(({ change }) => change <= next);
    const step = { changes: known(changes), alarms: known(alarms), next, atEnd: next >= last };
    shared = { after, limit, last, step };
    return step;
  }

  return {
    log: ledger.changeLog,
    read,
    grownBeyond,
    ended: ending.signal,
    close: () => {
      ending.abort();
      for (const waiter of [...waiters]) waiter.end("gone");
    },
  };
}
