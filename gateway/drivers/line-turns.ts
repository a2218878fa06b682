import { type Turn, turn } from "./line-silences.ts";

/** More of one device would wait than any driver asks for at a time. */
const mostOfDevice = 16;

/**
 * Who is next on a line. Devices take turns: one that has much to ask gets one turn while each of the others that wait gets one, too.
 */
export type Turns<T> = {
  /** @throws an Error when the device has sixteen waiting: a defect of its driver */
  readonly add: (device: string, job: T) => void;
  /** Takes one that waits out of the row. */
  readonly remove: (device: string, job: T) => void;
  /**
   * @param turnOf when a device may have its turn; the first of the least is next
   * @returns undefined where nobody waits, or all are to wait longer
   */
  readonly next: (turnOf: (device: string) => Turn) => T | undefined;
  readonly isEmpty: () => boolean;
  /** Takes all of them. */
  readonly clear: () => T[];
};

export function createTurns<T>(): Turns<T> {
  // A map keeps the order in which its keys came: a device that has had its turn is put behind the others.
  const waiting = new Map<string, T[]>();
  return {
    add(device, job) {
      const jobs = waiting.get(device);
      if (jobs === undefined) waiting.set(device, [job]);
      else if (jobs.length < mostOfDevice) jobs.push(job);
      else throw new Error(`more than ${mostOfDevice} exchanges of device ${device} wait for one line`);
    },
    remove(device, job) {
      const left = waiting.get(device)?.filter((other) => other !== job) ?? [];
      if (left.length > 0) waiting.set(device, left);
      else waiting.delete(device);
    },
    next(turnOf) {
      let device: string | undefined;
      let least: Turn = turn.later;
      for (const one of waiting.keys()) {
        const its = turnOf(one);
        if (its >= least) continue;
        [device, least] = [one, its];
        if (its === turn.now) break;
      }
      if (device === undefined) return undefined;
      const jobs = waiting.get(device) ?? [];
      const job = jobs.shift();
      waiting.delete(device);
      if (jobs.length > 0) waiting.set(device, jobs);
      return job;
    },
    isEmpty: () => waiting.size === 0,
    clear() {
      const all = [...waiting.values()].flat();
      waiting.clear();
      return all;
    },
  };
}
