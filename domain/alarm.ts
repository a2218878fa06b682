/**
 * Alarms after IEC 62682 (ISA-18.2): a rule of the registry watches one series; each time that its condition comes and goes is one event.
 * Numbers are integers at `gaugeScale` places in the unit of the series, so that the same readings give the same digits.
 */

/** Priorities (IEC 62682, 9.5), the most pressing first. */
export const alarmPriorities = ["urgent", "high", "medium", "low"] as const;
export type AlarmPriority = (typeof alarmPriorities)[number];

export const alarmKinds = ["threshold", "rate", "state"] as const;
export type AlarmKind = (typeof alarmKinds)[number];

/** What is judged of a reading: a number at the scale, a state's code; undefined where the reading is bad or is neither. */
export type AlarmValue = bigint | string;

/** What makes an alarm. Of the two limits of a kind exactly one is given. */
export type AlarmTest =
  /** Comes above (below) the limit, goes at the limit less (plus) the hysteresis. */
  | {
      readonly kind: "threshold";
      readonly above?: bigint | undefined;
      readonly below?: bigint | undefined;
      readonly hysteresis: bigint;
    }
  /** Comes when the value rose (fell) by more than so much a minute, from the value that was in force `windowMs` ago to the present one. */
  | {
      readonly kind: "rate";
      readonly rise?: bigint | undefined;
      readonly fall?: bigint | undefined;
      readonly windowMs: number;
    }
  /** Comes with one of these codes. */
  | { readonly kind: "state"; readonly codes: ReadonlySet<string> };

/** A rule as one series is judged by it. */
export type AlarmCondition = {
  readonly test: AlarmTest;
  /** The condition must hold so long before the alarm is raised, and be gone so long before it is cleared. */
  readonly onDelayMs: number;
  readonly offDelayMs: number;
  /** How long a reading is believed (sample.ts, `stalenessWindowMs`). */
  readonly staleMs: number;
};

/** A reading, as it is judged. */
export type AlarmReading = { readonly atMs: number; readonly value: AlarmValue | undefined };

/** A stretch of an event in which its readings are believed. */
export type AlarmPart = {
  readonly fromMs: number;
  /** Exclusive; undefined while it lasts. */
  readonly toMs: number | undefined;
  /** The most extreme value in force in it, of a rate the rate a minute, of states the first code; and since when it was. */
  readonly peak: AlarmValue;
  readonly peakMs: number;
};

/**
 * Why an event ended: its condition went; its rule was changed or withdrawn by a version of the registry; or it had so many gaps that
 * another event goes on with it.
 */
export type AlarmEnding = "cleared" | "rule" | "gaps";

/**
 * One alarm from raised to cleared. An alarm whose readings stop is neither active for sure nor cleared: IEC 62682 clears an alarm only when its
 * condition is seen to be gone, and has no state for one that cannot be judged. So the event stays open and is *unknown* from the moment
 * at which its last reading is no longer believed, or a bad one came; with the next usable reading it goes on as a further part, or is
 * cleared. Time between parts is never counted as alarm time.
 */
export type AlarmEvent = {
  /** One at least, apart, in the order of time; the first begins when the alarm was raised. */
  readonly parts: readonly AlarmPart[];
  /** When it was cleared, UTC ms; undefined while it has not been. */
  readonly clearedMs: number | undefined;
  readonly ending: AlarmEnding | undefined;
};

/** Parts of one event at most. */
export const maxAlarmParts = 500;

/** Milliseconds that readings before a moment can make a difference at it: delays, the window of a rate, and twice the time a reading is believed. */
export function alarmReachMs({ test, onDelayMs, offDelayMs, staleMs }: AlarmCondition): number {
  return Math.max(onDelayMs, offDelayMs) + primeMs({ test, staleMs });
}

/** Readings so long before a moment tell what is judged at it. */
export function primeMs({ test, staleMs }: Pick<AlarmCondition, "test" | "staleMs">): number {
  return 2 * staleMs + (test.kind === "rate" ? test.windowMs : 0);
}

/** When the event was raised, UTC ms. */
export function raisedMsOf({ parts }: Pick<AlarmEvent, "parts">): number {
  return (parts[0] as AlarmPart).fromMs;
}

/** Since when its readings are not believed, UTC ms; undefined of an event that is known or has ended. */
export function unknownSinceMs({ parts, clearedMs }: AlarmEvent): number | undefined {
  return clearedMs === undefined ? parts.at(-1)?.toMs : undefined;
}

/** True where `a`, the earlier one, is at least as far out as `b`. */
function isWorse(test: AlarmTest, a: AlarmValue, b: AlarmValue): boolean {
  if (typeof a !== "bigint" || typeof b !== "bigint") return true;
  const low =
    (test.kind === "threshold" && test.below !== undefined) || (test.kind === "rate" && test.fall !== undefined);
  return low ? a <= b : a >= b;
}

type Peak = Pick<AlarmPart, "peak" | "peakMs">;

/** The more extreme of two, of equals the earlier. */
export function worsePeak(test: AlarmTest, a: Peak, b: Peak): Peak {
  const [first, second] = a.peakMs <= b.peakMs ? [a, b] : [b, a];
  const { peak, peakMs } = isWorse(test, first.peak, second.peak) ? first : second;
  return { peak, peakMs };
}

/** The most extreme value of an event. */
export function peakOf(test: AlarmTest, { parts }: Pick<AlarmEvent, "parts">): Peak {
  const [first, ...others] = parts as [AlarmPart, ...AlarmPart[]];
  return others.reduce<Peak>((worst, part) => worsePeak(test, worst, part), first);
}

/** What an event has of [fromMs, toMs): 1 if it was raised in it, and its known time in it, ms. */
export function alarmTimeIn(
  { parts }: Pick<AlarmEvent, "parts">,
  fromMs: number,
  toMs: number,
): { raised: number; activeMs: number } {
  const raised = raisedMsOf({ parts });
  let activeMs = 0;
  for (const part of parts) activeMs += Math.max(0, Math.min(part.toMs ?? toMs, toMs) - Math.max(part.fromMs, fromMs));
  return { raised: raised >= fromMs && raised < toMs ? 1 : 0, activeMs };
}
