import type { Clock } from "@jilian/domain/clock.ts";
import { clockSteps } from "./clock-steps.ts";

/** How long the clock must have run with the machine's timer before an age told by it may cost a reading. */
const steadyMs = 3_600_000;
/** A step of the clock, beyond what reading two clocks one after the other and a correction by slewing explain. */
const toleratedStepMs = 1000;
/** No gateway of this program ran before: an earlier time is that of a box that does not know the date yet. */
const earliestMs = Date.UTC(2025, 0, 1);
/** Jumps remembered one by one; more are added to the oldest. */
const maxJumps = 100;

/** The clock stepped by so much: records up to this position were stamped before. */
export type ClockJump = { position: number; stepMs: number };

/** Reads remembered jumps back; undefined where they cannot be read. */
export function readJumps(text: string): ClockJump[] | undefined {
  try {
    const found: unknown = JSON.parse(text);
    const isJump = (jump: unknown): jump is ClockJump =>
      typeof jump === "object" &&
      jump !== null &&
      Number.isFinite((jump as ClockJump).position + (jump as ClockJump).stepMs);
    return Array.isArray(found) && found.every(isJump) ? found : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Watches the clock against the machine's timer, so that the age of a record can be told although a box starts in 1970, gets the date later,
 * or is set a year ahead: steps seen while the program runs are no age.
 * @param machineMs the machine's monotonic timer, ms
 * @param jumps as they were remembered in the file
 */
export function clockWatch(clock: Clock, machineMs: () => number, jumps: ClockJump[]) {
  const lookAt = clockSteps(clock, machineMs);
  let seen = lookAt();
  let steadySinceMs = seen.machineMs;

  return {
    /**
     * Looks at both clocks; to be called often, and before each record is stamped.
     * @param position of the last record written
     * @returns by how much the clock has stepped since the last look, ms of the clock; 0 when it ran on
     */
    look(position: number): number {
      seen = lookAt();
      const { driftMs: stepMs } = seen;
      if (Math.abs(stepMs) <= toleratedStepMs * Math.max(1, clock.rate)) return 0;
      steadySinceMs = seen.machineMs;
      jumps.push({ position, stepMs: Math.round(stepMs) });
      if (jumps.length > maxJumps) {
        const [first, second] = jumps.splice(0, 2) as [ClockJump, ClockJump];
        // The later of the two positions: the older records get a little more of the step than was theirs, or a little less.
        jumps.unshift({ position: second.position, stepMs: first.stepMs + second.stepMs });
      }
      return stepMs;
    },
    /**
     * Age of a record, ms of the clock; undefined while the clock cannot tell: it has not run steadily for an hour, or it or the record's
     * time lies before this program existed.
     */
    ageOf({ position, writtenAtMs }: { position: number; writtenAtMs: number }): number | undefined {
      if (seen.machineMs - steadySinceMs < steadyMs || seen.nowMs < earliestMs || writtenAtMs < earliestMs)
        return undefined;
      const steppedMs = jumps.reduce((sum, jump) => (jump.position >= position ? sum + jump.stepMs : sum), 0);
      return seen.nowMs - writtenAtMs - steppedMs;
    },
  };
}

export type ClockWatch = ReturnType<typeof clockWatch>;
