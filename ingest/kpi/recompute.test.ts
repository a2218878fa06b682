import { dayMs, hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { hourSet } from "@jilian/store/rollup-pieces.ts";
import type { Span } from "@jilian/store/spans.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { always, openWorld, testRegistry, type World } from "../test-world.ts";
import { recomputer } from "./recompute.ts";
import { figureStart } from "./since.ts";

/** Midnight in Shanghai. */
const t0 = Date.UTC(2026, 10, 21, 16, 0);

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.end());

/** A recompute of a span, of which leaves exist in some hours. @returns what its steps had computed, and as of when */
async function stepsOf(hours: readonly number[], [fromMs, toMs]: readonly [number, number], nowMs: number) {
  const known = hourSet(hours);
  const computed: { nowMs: number; spans: Span[] }[] = [];
  const { step } = recomputer({
    ledger: world.ledger,
    versions: always(testRegistry(false)),
    hours: known,
    start: figureStart(t0 + 10 * dayMs, known),
    refold: async (_fromMs, _toMs, asOfMs) => {
      computed.push({ nowMs: asOfMs, spans: [] });
    },
    minutesAtOnce: () => 25,
    publish: async (kinds, asOfMs) => {
      for (const { period, spans } of kinds) if (period === "minute") expect(spans.length).toBeLessThanOrEqual(25);
      computed.at(-1)?.spans.push(...kinds.flatMap(({ spans }) => spans));
      expect(asOfMs).toBe(computed.at(-1)?.nowMs);
    },
    store: async () => undefined,
  });
  world.ledger.addRecompute({ fromMs, toMs, reason: "test" }, nowMs);
  let at = nowMs;
  while (await step(at)) at += minuteMs;
  return computed;
}

const of = (spans: readonly Span[], period: Span["period"]) =>
  spans.filter((span) => span.period === period).map(({ startMs }) => (startMs - t0) / hourMs);

test("a step is computed as of its own time", async () => {
  const nowMs = t0 + 20 * dayMs;
  const steps = await stepsOf([t0, t0 + hourMs], [t0, t0 + 2 * hourMs], nowMs);
  expect(steps.map((step) => step.nowMs)).toEqual([nowMs, nowMs + minuteMs]);
});

test("each period is computed once, by the last known hour that it holds", async () => {
  const hours = [t0 + 3 * hourMs, t0 + 5 * hourMs, t0 + 4 * dayMs];
  const steps = await stepsOf(hours, [t0, t0 + 6 * dayMs], t0 + 20 * dayMs);
  expect(steps.map(({ spans }) => of(spans, "hour"))).toEqual([[3], [5], [96]]);
  expect(steps.map(({ spans }) => of(spans, "day"))).toEqual([[], [0], [96]]);
  expect(steps.map(({ spans }) => of(spans, "minute").length)).toEqual([60, 60, 60]);
  // What holds the rest of the span comes with its end.
  expect(steps.map(({ spans }) => of(spans, "month").length)).toEqual([0, 0, 1]);
});
