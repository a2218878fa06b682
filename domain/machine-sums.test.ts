import { describe, expect, test } from "vitest";
import type { Calendar } from "./calendar.ts";
import { ratioIndicators } from "./indicators/catalogue.ts";
import { oee } from "./indicators/oee.ts";
import { oeeAvailability } from "./indicators/oee-availability.ts";
import { oeeEffectiveness } from "./indicators/oee-effectiveness.ts";
import { nee } from "./indicators/oee-nee.ts";
import { oeeQuality } from "./indicators/oee-quality.ts";
import { qualityFpy } from "./indicators/quality-fpy.ts";
import { qualityRatio } from "./indicators/quality-ratio.ts";
import { type RatioDefinition, ratioFigure } from "./indicators/ratio.ts";
import { type CounterLeaf, emptyLeaf } from "./leaf.ts";
import { addQuantities, type MachinePlan, type MachineSums } from "./machine-sums.ts";
import { hourMs, minuteMs, periodStart } from "./periods.ts";
import { type NullReason, nearestReason, nullReasons } from "./result.ts";
import type { Role } from "./roles.ts";
import type { StateLeaf } from "./state-leaf.ts";
import {
  type CounterMinutes,
  type MinuteLeaf,
  type MinuteState,
  quantityOfMinutes,
  sumMachine,
} from "./test-machine-sums.ts";

/** 10:00 in Shanghai, a Sunday; planned is 10:30 to 11:30. */
const startMs = periodStart("hour", Date.UTC(2026, 10, 22, 2));
const calendar: Calendar = { shifts: [{ days: ["sun"], from: "10:30", to: "11:30" }] };
const pieces = (n: number) => BigInt(Math.round(n * 1e6));

function plan(change: Partial<MachinePlan> = {}): MachinePlan {
  const second = 1_000_000_000n;
  return { calendar, runningCodes: new Set(["1"]), plannedRunTime: () => second, ...change };
}

const each = <T>(of: (minute: number) => T) => Array.from({ length: 60 }, (_, m) => of(m));
const leaf = (minute: number, change: Partial<CounterLeaf>): MinuteLeaf => ({
  minuteMs: startMs + minute * minuteMs,
  leaf: { ...emptyLeaf, coveredMs: minuteMs, samples: 6, ...change },
});
/** So many pieces in each minute of the hour. */
const counter = (role: Role, perMinute: number, product?: string): CounterMinutes => ({
  role,
  product,
  leaves: each((m) => leaf(m, { amount: pieces(perMinute) })),
});
const state = (minute: number, ms: Record<string, number>): MinuteState => ({
  minuteMs: startMs + minute * minuteMs,
  leaf: { ms, unknownMs: minuteMs - Object.values(ms).reduce((a, b) => a + b, 0), samples: 1 },
});
const running = each((m) => state(m, { "1": 48_000, "3": 12_000 }));

function machine(
  change: { plan?: Partial<MachinePlan>; counters?: CounterMinutes[]; states?: MinuteState[][]; asOfMs?: number } = {},
): MachineSums {
  const {
    counters = [counter("production.total", 40), counter("production.good", 38)],
    states = [running],
    asOfMs = startMs + 2 * hourMs,
  } = change;
  return sumMachine(plan(change.plan), counters, states, { startMs, endMs: startMs + hourMs, asOfMs });
}

const reasonOf = (definition: RatioDefinition, one: MachineSums) => ratioFigure(definition, [one]).reason;

describe("one machine", () => {
  test("production, state and plan of the same minutes", () => {
    // From 10:30 on: 30 minutes planned, 24 running, 1,200 pieces at a second each in them, 1,140 good.
    const whole = { reason: null, completeness: 1, estimatedShare: 0, lowerBound: false };
    expect(ratioFigure(oeeAvailability, [machine()])).toEqual({ value: "0.8", ...whole });
    expect(ratioFigure(oeeEffectiveness, [machine()])).toEqual({ value: "0.833333", ...whole });
    expect(ratioFigure(oeeQuality, [machine()])).toEqual({ value: "0.95", ...whole });
    expect(ratioFigure(oee, [machine()])).toEqual({ value: "0.633333", ...whole });
    // The quality ratio is one of the whole hour.
    const more = [counter("production.total", 40), { ...counter("production.good", 0) }];
    more[1] = { ...(more[1] as CounterMinutes), leaves: each((m) => leaf(m, { amount: m < 30 ? pieces(40) : 0n })) };
    expect(ratioFigure(qualityRatio, [machine({ counters: more })]).value).toBe("0.5");
    expect(ratioFigure(oeeQuality, [machine({ counters: more })]).value).toBe("0");
  });

  test("an open period is compared up to its last whole minute", () => {
    const asOfMs = startMs + 40 * minuteMs + 59_999;
    const late = machine({ asOfMs });
    expect(late).toMatchObject({ plannedMs: 10 * minuteMs, elapsedMs: asOfMs - startMs });
    expect(late.state).toEqual({ observedMs: 600_000, runningMs: 480_000, knownMs: 600_000, setupMs: 0 });
    expect(ratioFigure(oee, [late])).toMatchObject({ value: "0.633333", completeness: 1 });
  });

  test("what nobody saw is neither running nor standing still: all terms speak of the observed minutes", () => {
    // Ten minutes later the state is unknown, and the counters went over the gap.
    const states = [running.filter((_, m) => m < 40)];
    const observed = { completeness: 0.3333, lowerBound: false };
    expect(ratioFigure(oeeAvailability, [machine({ states })])).toMatchObject({ value: "0.8", ...observed });
    expect(ratioFigure(oeeEffectiveness, [machine({ states })])).toMatchObject({ value: "0.833333", ...observed });
    expect(ratioFigure(oeeQuality, [machine({ states })])).toMatchObject({ value: "0.95", ...observed });
    expect(ratioFigure(oee, [machine({ states })])).toMatchObject({ value: "0.633333", ...observed });
  });

  test("a minute is observed from half of it on; the unknown part of it is not running, and not complete", () => {
    const partly = (knownMs: number) => [
      each((m) => state(m, m === 50 ? { "1": knownMs } : m < 50 ? { "1": minuteMs } : {})),
    ];
    expect(ratioFigure(oeeAvailability, [machine({ states: partly(29_999) })])).toMatchObject({
      value: "1",
      completeness: 0.6667,
    });
    expect(ratioFigure(oeeAvailability, [machine({ states: partly(30_000) })])).toMatchObject({
      value: "0.97619",
      completeness: 0.6833,
    });
  });

  test("a state metric that was renamed goes on", () => {
    const [old, renamed] = [running.filter((_, m) => m < 45), running.filter((_, m) => m >= 44)];
    expect(ratioFigure(oeeAvailability, [machine({ states: [old, renamed] })])).toMatchObject({
      value: "0.8",
      completeness: 1,
    });
  });

  test("products have planned run times of their own", () => {
    const rates = new Map([
      ["a", 1_000_000_000n],
      ["b", 500_000_000n],
    ]);
    const plannedRunTime: MachinePlan["plannedRunTime"] = (product) => rates.get(product ?? "");
    const both = (second: string) => [counter("production.total", 20, "a"), counter("production.total", 40, second)];
    const of = (second: string) => machine({ plan: { plannedRunTime }, counters: both(second) });
    // 30 x (20 x 1 s + 40 x 0.5 s) in 24 minutes.
    expect(ratioFigure(oeeEffectiveness, [of("b")]).value).toBe("0.833333");
    expect(reasonOf(oeeEffectiveness, of("c"))).toBe("no_planned_rate");
  });

  test("what a gap over an edge of planned time brought is an estimate; a reset makes a lower bound", () => {
    const gap = each((m) =>
      m < 25 || m > 34
        ? leaf(m, { amount: pieces(1) })
        : leaf(m, { amount: pieces(1), left: pieces(1), right: pieces(1), inGap: true, coveredMs: 0, gapMs: minuteMs }),
    );
    const total = { ...counter("production.total", 1), leaves: gap };
    const good = counter("production.good", 1);
    expect(ratioFigure(qualityRatio, [machine({ counters: [total, good] })])).toMatchObject({
      estimatedShare: 0,
      completeness: 0.8333,
    });
    expect(ratioFigure(oeeQuality, [machine({ counters: [total, good] })])).toMatchObject({
      estimatedShare: 0.1667,
      completeness: 0.8333,
    });
    const reset = { ...good, leaves: each((m) => leaf(m, { amount: pieces(1), resets: m === 40 ? 1 : 0 })) };
    expect(ratioFigure(oeeQuality, [machine({ counters: [total, reset] })]).lowerBound).toBe(true);
  });
});

describe("a missing term", () => {
  test("is a null with its reason, never 0 or 1", () => {
    const none = () => undefined;
    const cases: [RatioDefinition, MachineSums, NullReason][] = [
      [oeeAvailability, machine({ states: [] }), "no_state"],
      [oeeAvailability, machine({ plan: { runningCodes: undefined } }), "no_state"],
      [oeeAvailability, machine({ plan: { calendar: undefined } }), "no_calendar"],
      [oeeAvailability, machine({ plan: { calendar: { shifts: [] } } }), "not_planned"],
      [oeeAvailability, machine({ states: [[]] }), "no_data"],
      [oeeAvailability, machine({ asOfMs: startMs + minuteMs - 1 }), "not_due"],
      [oeeEffectiveness, machine({ plan: { plannedRunTime: none } }), "no_planned_rate"],
      [oeeEffectiveness, machine({ counters: [] }), "no_register"],
      [oeeEffectiveness, machine({ states: [each((m) => state(m, { "3": minuteMs }))] }), "not_running"],
      [oeeQuality, machine({ counters: [counter("production.total", 1)] }), "no_register"],
      [oeeQuality, machine({ plan: { calendar: undefined } }), "no_calendar"],
      [
        oeeQuality,
        machine({ counters: [counter("production.total", 0), counter("production.good", 0)] }),
        "no_production",
      ],
      [oee, machine({ plan: { plannedRunTime: none } }), "no_planned_rate"],
      [oee, machine({ plan: { calendar: undefined } }), "no_calendar"],
      [qualityFpy, machine(), "no_register"],
      [qualityRatio, machine({ counters: [] }), "no_register"],
      [qualityRatio, machine({ asOfMs: startMs }), "not_due"],
    ];
    for (const [definition, one, reason] of cases) {
      expect([definition.id, reasonOf(definition, one)]).toEqual([definition.id, reason]);
      expect(definition.reasons.includes(reason) || reason === "not_due", `${definition.id} ${reason}`).toBe(true);
      expect(nullReasons[reason].zh).not.toBe("");
    }
    const untold = { ...counter("production.good", 1), leaves: [leaf(40, { coveredMs: 0, samples: 1 })] };
    const one = machine({ counters: [counter("production.total", 1), untold] });
    expect(ratioFigure(oeeQuality, [one])).toMatchObject({ reason: "no_data", completeness: 0 });
  });

  test("of several machines the reason nearest to a value is told", () => {
    expect(nearestReason(["no_register", "no_data", "no_calendar"])).toBe("no_data");
    expect(nearestReason([])).toBeUndefined();
    const lacking = [
      machine({ counters: [], plan: { plannedRunTime: undefined } }),
      machine({ plan: { plannedRunTime: () => undefined } }),
    ];
    expect(ratioFigure(oee, lacking)).toMatchObject({ value: null, reason: "no_planned_rate", completeness: 0 });
  });
});

describe("several machines", () => {
  const slow = () => machine({ counters: [counter("production.total", 20), counter("production.good", 10)] });

  test("terms are summed, ratios never averaged", () => {
    // Q: (38 + 10) / (40 + 20), not (0.95 + 0.5) / 2; E: (40 + 20) x 1 s over 2 x 48 s.
    expect(ratioFigure(oeeQuality, [machine(), slow()]).value).toBe("0.8");
    expect(ratioFigure(oeeEffectiveness, [machine(), slow()]).value).toBe("0.625");
    expect(ratioFigure(oee, [machine(), slow()]).value).toBe("0.4");
  });

  test("one that lacks a term is left out of every sum and counts as not covered", () => {
    const noRate = machine({ plan: { plannedRunTime: () => undefined } });
    expect(ratioFigure(oee, [machine(), noRate])).toMatchObject({ value: "0.633333", completeness: 0.5 });
    const silent = machine({
      counters: [counter("production.total", 9), { ...counter("production.good", 9), leaves: [] }],
    });
    expect(ratioFigure(qualityRatio, [machine(), silent])).toMatchObject({ value: "0.95", completeness: 0.5 });
  });

  test("one of which it is not expected, or that is not planned to work, has no part", () => {
    const other = machine({ plan: { runningCodes: undefined, plannedRunTime: undefined } });
    const noGood = machine({ counters: [counter("production.total", 9)] });
    expect(ratioFigure(qualityRatio, [machine(), noGood])).toMatchObject({ value: "0.95", completeness: 1 });
    const resting = machine({ plan: { calendar: { shifts: [] } } });
    expect(ratioFigure(oee, [machine(), other, resting])).toMatchObject({ value: "0.633333", completeness: 1 });
    expect(ratioFigure(oee, [])).toMatchObject({ value: null, reason: "no_register", completeness: null });
  });

  test("one that stood still weighs with its planned time", () => {
    const still = machine({
      counters: [counter("production.total", 0), counter("production.good", 0)],
      states: [each((m) => state(m, { "4": minuteMs }))],
    });
    expect(ratioFigure(oee, [still])).toMatchObject({ value: null, reason: "not_running" });
    expect(ratioFigure(oee, [machine(), still]).value).toBe("0.316667");
  });

  test("no order and no grouping of minutes or machines changes a digit", () => {
    const [a, b] = [machine(), slow()];
    for (const definition of ratioIndicators)
      expect(ratioFigure(definition, [b, a])).toEqual(ratioFigure(definition, [a, b]));
    const leaves = counter("production.total", 1.234567).leaves;
    const counts = (at: number) => (at / minuteMs) % 7 !== 0;
    const whole = quantityOfMinutes(leaves, counts);
    expect(whole.amount).toBe(BigInt(leaves.filter((l) => counts(l.minuteMs)).length) * 1_234_567n);
  });
});

test("a day is the sum of its hours: a gap over an hour's edge is an estimate on both sides", () => {
  const inGap = (m: number) => m >= 55 && m < 65;
  const minutes = Array.from({ length: 120 }, (_, m) =>
    inGap(m)
      ? leaf(m, { amount: 7n, left: 7n, right: 7n, inGap: true, coveredMs: 0, gapMs: minuteMs })
      : leaf(m, { amount: 7n, left: m === 65 ? 3n : 0n, right: m === 54 ? 4n : 0n }),
  );
  const always = () => true;
  const hours = [minutes.slice(0, 60), minutes.slice(60)].map((own) => quantityOfMinutes(own, always));
  const day = quantityOfMinutes(minutes, always);
  expect(day).toEqual(hours.reduce(addQuantities));
  expect(day).toMatchObject({ amount: 840n, estimated: 77n, coveredMs: 110 * minuteMs });
});

test("the state of a minute is that of the series that knows most of it", () => {
  const empty: StateLeaf = { ms: {}, unknownMs: minuteMs, samples: 0 };
  const one = machine({ states: [each((m) => ({ minuteMs: startMs + m * minuteMs, leaf: empty })), running] });
  expect(one.state).toEqual({
    ...{ observedMs: 30 * minuteMs, runningMs: 24 * minuteMs, knownMs: 30 * minuteMs },
    setupMs: 0,
  });
});

test("NEE counts set-up as used time, of the machines whose set-up states the registry names", () => {
  const states = [each((m) => state(m, { "1": 48_000, "2": 6000, "3": 6000 }))];
  const withSetup = machine({ plan: { setupCodes: new Set(["2"]) }, states });
  expect(withSetup.state).toMatchObject({ runningMs: 24 * minuteMs, setupMs: 3 * minuteMs });
  // (24 + 3) / 30 x E x Q beside OEE with 24 / 30: 27 / 24 of it.
  const value = Number(ratioFigure(oee, [withSetup]).value);
  expect(Number(ratioFigure(nee, [withSetup]).value)).toBeCloseTo((value * 27) / 24, 5);
  expect(ratioFigure(nee, [machine({ states })]).reason).toBe("no_setup_state");
});
