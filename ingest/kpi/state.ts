import type { Value } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { qualityOf } from "@jilian/domain/quality.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import type { StateLeaf } from "@jilian/domain/state-leaf.ts";
import type { StateRow, StoredRow, Telemetry, Window } from "@jilian/store/telemetry.ts";
import { cut } from "./runs.ts";
import type { Fold } from "./series-folds.ts";

/**
 * A state holds no longer than this, whatever heartbeat a birth declares: each reading is folded up to there, and a machine that says
 * nothing for an hour is not known to run.
 */
const longestHoldMs = hourMs;

/** Longest text that counts as a state; the code of a PLC is a word, not a message. */
const longestCode = 60;

/** Minutes of readings that are read together: a state that is read every second has 60 in each. */
const minutesAtOnce = 1500;

/** How long a reading of the state is taken for true: until the next one, at most the staleness window (domain/state-leaf.ts). */
export function holdMs({ heartbeatMs }: Pick<MetricDefinition, "heartbeatMs">): number {
  return Math.min(stalenessWindowMs(heartbeatMs), longestHoldMs);
}

/** The code that a value stands for; undefined when it is none: a number with a fraction, a message. */
export function stateCode(value: Value): string | undefined {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return Number.isSafeInteger(value) ? String(value) : undefined;
  return typeof value === "string" && value !== "" && value.length <= longestCode ? value : undefined;
}

type Held = { atMs: number; code: string | undefined };

/** Folds the readings of one series, given in the order of their source times, into the leaves of the minutes of [fromMs, toMs). */
export function stateFold(fromMs: number, toMs: number, hold: number) {
  const count = Math.max(0, (toMs - fromMs) / minuteMs);
  const minutes = Array.from({ length: count }, () => ({ ms: new Map<string, number>(), samples: 0 }));
  let held: Held | undefined;

  /** Counts what is held, until the next reading or the end. */
  function settle(untilMs: number): void {
    if (held?.code === undefined) return;
    const endMs = Math.min(untilMs, held.atMs + hold, toMs);
    let at = Math.max(held.atMs, fromMs);
    while (at < endMs) {
      const minute = Math.floor((at - fromMs) / minuteMs);
      const next = Math.min(endMs, fromMs + (minute + 1) * minuteMs);
      const { ms } = minutes[minute] as (typeof minutes)[number];
      ms.set(held.code, (ms.get(held.code) ?? 0) + next - at);
      at = next;
    }
  }

  return {
    add: ({ sourceTimeMs, value, status }: Pick<StoredRow, "sourceTimeMs" | "value" | "status">): void => {
      settle(sourceTimeMs);
      const code = qualityOf(status) === "bad" ? undefined : stateCode(value);
      held = { atMs: sourceTimeMs, code };
      const own = minutes[Math.floor((sourceTimeMs - fromMs) / minuteMs)];
      if (own && code !== undefined) own.samples += 1;
    },
    /** The leaves, once, after the last reading. Each adds up to a minute. */
    leaves: (): StateLeaf[] => {
      settle(toMs);
      return minutes.map(({ ms, samples }) => {
        const knownMs = [...ms.values()].reduce((sum, own) => sum + own, 0);
        const codes = [...ms].sort(([a], [b]) => (a < b ? -1 : 1));
        return { ms: Object.fromEntries(codes), unknownMs: minuteMs - knownMs, samples };
      });
    },
  };
}

/** A window of a state in which its readings hold equally long; [sinceMs, untilMs): those that are of it. */
type StateWindow = Window & { readonly holdMs: number; readonly sinceMs: number; readonly untilMs: number };

/** The parts of windows in which their series are states. */
function statesIn(windows: readonly Window[], foldsOf: (series: number) => readonly Fold[]): StateWindow[] {
  return windows.flatMap(({ series, fromMs, toMs }) =>
    cut(foldsOf(series), fromMs, toMs).flatMap(({ of: { holdMs: hold, sinceMs, untilMs }, ...piece }) =>
      hold === undefined ? [] : [{ series, ...piece, holdMs: hold, sinceMs, untilMs }],
    ),
  );
}

/** Folds the states of windows of whole minutes, many series at a time. @param foldsOf how a series is folded over time */
export async function* foldStates(
  telemetry: Telemetry,
  windows: readonly Window[],
  foldsOf: (series: number) => readonly Fold[],
): AsyncGenerator<StateRow[]> {
  let parts: StateWindow[] = [];
  let minutes = 0;
  for (const window of statesIn(windows, foldsOf))
    for (let at = window.fromMs; at < window.toMs; at += minutesAtOnce * minuteMs) {
      const part = { ...window, fromMs: at, toMs: Math.min(window.toMs, at + minutesAtOnce * minuteMs) };
      parts.push(part);
      minutes += (part.toMs - part.fromMs + part.holdMs) / minuteMs;
      if (minutes < minutesAtOnce) continue;
      yield await foldParts(telemetry, parts);
      [parts, minutes] = [[], 0];
    }
  if (parts.length > 0) yield await foldParts(telemetry, parts);
}

async function foldParts(telemetry: Telemetry, parts: readonly StateWindow[]): Promise<StateRow[]> {
  // The state at the start is that of a reading at most a hold before it.
  const asked = parts.map(
    ({ series, fromMs, toMs, sinceMs, untilMs, holdMs: hold }): Window => ({
      series,
      fromMs: Math.max(fromMs - hold, sinceMs),
      toMs: Math.min(toMs, untilMs),
    }),
  );
  const found = await telemetry.readMany(asked);
  return parts.flatMap(({ series, fromMs, toMs, holdMs: hold }, i) => {
    const fold = stateFold(fromMs, toMs, hold);
    for (const row of found[i] ?? []) fold.add(row);
    return fold.leaves().map((leaf, m) => ({ series, minuteMs: fromMs + m * minuteMs, leaf }));
  });
}
