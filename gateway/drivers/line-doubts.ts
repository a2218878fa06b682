import { createUnanswered, type Unanswered } from "./rtu-unanswered.ts";

/** Whether an answer to an earlier question to a meter may still come. */
export type MeterDoubt = { isDoubtful: boolean };

/**
 * Requests on lines whose answers may still be on the way. It outlives drivers and lines: after a reload another driver may ask the same
 * unit for something else, over a line of another name, and a converter puts a late answer into whatever connection is there.
 */
export type LineDoubts = {
  /** @param place of the line (line-config.ts) */
  readonly ofUnit: (place: string, unitId: number) => Unanswered;
  readonly ofMeter: (place: string, meterAddress: string) => MeterDoubt;
  /**
   * A line is open; it counts when that was first.
   * @param timeoutMs the longest of its devices
   * @param wayMs how long what its other side has kept may be on the way
   * @returns until when an answer to a request of an earlier process may come, machine time
   */
  readonly opened: (place: string, timeoutMs: number, wayMs: number) => number;
};

/** Where nothing was asked before. */
const never = Number.NEGATIVE_INFINITY;

/**
 * One for the life of a gateway: it is as large as the lines and devices that its configurations have named.
 * @param afterAnother whether another process may have asked on the same lines until this one began. What that was is not known, but it
 * was asked before, and is answered within the time-out or, but for what is kept somewhere, not at all
 */
export function createLineDoubts(afterAnother = false): LineDoubts {
  const units = new Map<string, Unanswered>();
  const meters = new Map<string, MeterDoubt>();
  const lateUntil = new Map<string, number>();
  function of<T>(known: Map<string, T>, key: string, make: () => T): T {
    const found = known.get(key) ?? make();
    known.set(key, found);
    return found;
  }
  return {
    ofUnit: (place, unitId) => of(units, `${unitId} ${place}`, () => createUnanswered()),
    ofMeter: (place, meterAddress) => of(meters, `${meterAddress} ${place}`, () => ({ isDoubtful: false })),
    opened(place, timeoutMs, wayMs) {
      if (!afterAnother) return never;
      // Machine time begins with the process. A line that is lost and opened again meanwhile is listened to until then, too.
      const untilMs = lateUntil.get(place) ?? Math.max(timeoutMs, performance.now() + wayMs);
      lateUntil.set(place, untilMs);
      return untilMs;
    },
  };
}
