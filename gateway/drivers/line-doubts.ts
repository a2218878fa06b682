import { createUnanswered, type Unanswered } from "./rtu-unanswered.ts";

/** Whether an answer to an earlier question to a meter may still come. */
export type MeterDoubt = { isDoubtful: boolean };

/**
 * Requests on lines whose answers may still be on the way. It outlives drivers and lines: after a reload another driver may ask the same
 * unit for something else, over a line of another name, and a converter puts a late answer into whatever connection is there.
 */
export type LineDoubts = {
  /** @param place of the line (line-config.ts) @param timeoutMs of the unit */
  readonly ofUnit: (place: string, unitId: number, timeoutMs: number) => Unanswered;
  /** @param timeoutMs of the meter */
  readonly ofMeter: (place: string, meterAddress: string, timeoutMs: number) => MeterDoubt;
  /**
   * A line is open; it counts when that was first.
   * @param timeoutMs the longest of its devices
   * @param wayMs how long what its other side has kept may be on the way
   * @returns until when it is to be listened to, for an answer to a request of an earlier process, machine time
   */
  readonly opened: (place: string, timeoutMs: number, wayMs: number) => number;
};

/**
 * A line is not listened to for longer after a start, whatever time-out a device on it has: all devices of the line would wait for that.
 *
 * The process before had one exchange on the line when it ended, for a line has one at a time: so there is one answer at most that is later
 * than this (answers to what it had given up are not waited for while it runs either, but told by their order). Devices themselves answer
 * within some seconds (MODBUS over Serial Line V1.02, 2.4.1; DL/T 645-2007, 5.3.3: 500 ms), and what is on its way over a network ends with
 * the connection of the process that asked. Where a longer time-out says that a device may be slower still, its one late answer is told
 * from ours as that of a request of our own is: by the order in which a device answers, which costs nothing but two short requests at most.
 */
const mostListenedMs = 5000;

/** Where nothing was asked before. */
const never = Number.NEGATIVE_INFINITY;

/**
 * One for the life of a gateway: it is as large as the lines and devices that its configurations have named.
 * @param afterAnother whether another process may have asked on the same lines until this one began. What that was is not known, but it
 * was asked before, and is answered within the time-out or, but for what is kept somewhere, not at all
 * @param nowMs machine time, which begins with the process
 */
export function createLineDoubts(afterAnother = false, nowMs: () => number = () => performance.now()): LineDoubts {
  const units = new Map<string, Unanswered>();
  const meters = new Map<string, MeterDoubt>();
  const lateUntil = new Map<string, number>();
  function of<T>(known: Map<string, T>, key: string, make: () => T): T {
    const found = known.get(key) ?? make();
    known.set(key, found);
    return found;
  }
  /** Until when what an earlier process has asked of a device may be answered later than its line is listened to. */
  const lateMs = (timeoutMs: number) => (afterAnother && timeoutMs > mostListenedMs ? timeoutMs : never);
  return {
    ofUnit: (place, unitId, timeoutMs) =>
      of(units, `${unitId} ${place}`, () => createUnanswered(nowMs, lateMs(timeoutMs))),
    ofMeter: (place, meterAddress, timeoutMs) =>
      of(meters, `${meterAddress} ${place}`, () => ({ isDoubtful: nowMs() < lateMs(timeoutMs) })),
    opened(place, timeoutMs, wayMs) {
      if (!afterAnother) return never;
      // Machine time begins with the process. A line that is lost and opened again meanwhile is listened to until then, too.
      const untilMs = lateUntil.get(place) ?? Math.max(Math.min(timeoutMs, mostListenedMs), nowMs() + wayMs);
      lateUntil.set(place, untilMs);
      return untilMs;
    },
  };
}
