import { Status } from "@jilian/domain/quality.ts";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type HistoryKind, maxCodes, otherCode, type Quarter, quarterMs, quarterOf } from "./history-quarter.ts";
import { seriesOf } from "./test-history.ts";

const startMs = 1_000_000 * quarterMs;
const holdMs = 400_000;
const modulus = 1000;

type Event =
  | { readonly type: "sample"; readonly atMs: number; readonly value: number; readonly status: number }
  | { readonly type: "stop" | "checkpoint"; readonly atMs: number };

const lastBefore = (file: ReadonlyMap<number, Quarter>, quarter: number) =>
  structuredClone([...file.values()].filter((row) => row.quarter < quarter).sort((a, b) => b.quarter - a.quarter)[0]);

/** The series as the recorder drives it: closed a minute after each quarter hour, written at its end, at checkpoints and when it stops. */
function fold(events: readonly Event[], kind: HistoryKind, endMs: number): Map<number, Quarter> {
  const file = new Map<number, Quarter>();
  const write = (row: Quarter | undefined) => row && file.set(row.quarter, row);
  const begin = () =>
    seriesOf({
      kind,
      holdMs,
      modulus,
      written: (quarter) => structuredClone(file.get(quarter)),
      before: (quarter) => lastBefore(file, quarter),
      onEnded: write,
    });
  let series = begin();
  for (const event of events) {
    series.closeBefore(quarterOf(event.atMs - 60_000));
    if (event.type === "sample") {
      expect(series.add({ value: event.value, status: event.status, sourceTimeMs: event.atMs })).toBe("taken");
      continue;
    }
    if (event.type === "stop") series.settle(event.atMs);
    write(series.running(event.atMs));
    if (event.type === "stop") series = begin();
  }
  write(series.running(endMs));
  series.closeBefore(quarterOf(endMs));
  return file;
}

type Span = { fromMs: number; toMs: number; value: number };

/** The same by another way: every span in which a value held, cut at the quarter hours. */
function oracle(
  events: readonly Event[],
  endMs: number,
): Map<number, Omit<Quarter, "untilMs" | "codes" | "integral" | "sum">> {
  const rows = new Map<number, { spans: Span[]; samples: { atMs: number; value: number }[] }>();
  const at = (quarter: number) => {
    const row = rows.get(quarter) ?? { spans: [], samples: [] };
    rows.set(quarter, row);
    return row;
  };
  const real = events.filter(({ type }) => type !== "checkpoint");
  for (const [i, event] of real.entries()) {
    if (event.type !== "sample" || event.status !== Status.Good) continue;
    at(quarterOf(event.atMs)).samples.push({ atMs: event.atMs, value: event.value });
    const untilMs = Math.min(real[i + 1]?.atMs ?? endMs, event.atMs + holdMs);
    for (let q = quarterOf(event.atMs); q * quarterMs < untilMs; q += 1) {
      const fromMs = Math.max(event.atMs, q * quarterMs);
      const toMs = Math.min(untilMs, (q + 1) * quarterMs);
      if (toMs > fromMs) at(q).spans.push({ fromMs, toMs, value: event.value });
    }
  }
  const good = real.flatMap((event) => (event.type === "sample" && event.status === Status.Good ? [event] : []));
  const found = new Map();
  for (const [quarter, { spans, samples }] of rows) {
    const last = good.filter(({ atMs }) => atMs < (quarter + 1) * quarterMs).at(-1);
    const values = [...spans, ...samples].map(({ value }) => value);
    found.set(quarter, {
      quarter,
      goodMs: spans.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0),
      count: samples.length,
      mean: samples.reduce((sum, { value }) => sum + value, 0),
      integral: spans.reduce((sum, { fromMs, toMs, value }) => sum + value * (toMs - fromMs), 0),
      low: Math.min(...values),
      high: Math.max(...values),
      register: last?.value,
      registerMs: last?.atMs,
      codes: spans.reduce(
        (codes, { fromMs, toMs, value }) => codes.set(String(value), (codes.get(String(value)) ?? 0) + toMs - fromMs),
        new Map(),
      ),
    });
  }
  return found;
}

const drawnEvents = fc
  .array(
    fc.tuple(
      // Mostly near each other, at times beyond the hold or several quarter hours.
      fc.oneof(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 1, max: 3_000_000 }), fc.constant(quarterMs)),
      fc.oneof(
        { weight: 12, arbitrary: fc.constant("sample" as const) },
        { weight: 1, arbitrary: fc.constantFrom("stop" as const, "checkpoint" as const) },
      ),
      // A 0 is judged by what follows it: history-csv.test.ts.
      fc.integer({ min: 1, max: 20 }),
      fc.constantFrom(Status.Good, Status.Good, Status.Good, Status.BadTimeout, Status.Uncertain),
    ),
    { minLength: 1, maxLength: 60 },
  )
  .map((steps): Event[] => {
    let atMs = startMs;
    return steps.map(([stepMs, type, value, status]) => {
      atMs += stepMs;
      return type === "sample" ? { type, atMs, value, status } : { type, atMs };
    });
  });

describe("a drawn sequence of samples, restarts and checkpoints", () => {
  test.each(["gauge", "state"] as const)("gives what the spans between them give: %s", (kind) => {
    fc.assert(
      fc.property(drawnEvents, (events) => {
        const endMs = (events.at(-1)?.atMs ?? 0) + 2 * quarterMs;
        const wanted = oracle(events, endMs) as Map<number, Record<string, unknown>>;
        const found = new Map([...fold(events, kind, endMs)].filter(([, row]) => row.goodMs > 0 || row.count > 0));
        expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort());
        for (const [quarter, row] of found) {
          const { mean, integral, low, high, codes, goodMs, count } = wanted.get(quarter) ?? {};
          expect(row).toMatchObject({ quarter, goodMs, count });
          if (kind === "state") expect(row.codes ?? new Map()).toEqual(codes);
          else expect(row).toMatchObject({ sum: mean, integral, low, high });
        }
      }),
      { numRuns: 400 },
    );
  });

  test("leaves at the edges of a register what its readings say", () => {
    fc.assert(
      fc.property(drawnEvents, (events) => {
        const endMs = (events.at(-1)?.atMs ?? 0) + 2 * quarterMs;
        const wanted = oracle(events, endMs);
        for (const [quarter, row] of fold(events, "counter", endMs)) {
          if (row.goodMs === 0 && row.count === 0) continue;
          const { register, registerMs, goodMs } = wanted.get(quarter) ?? {};
          expect(row).toMatchObject({ register, registerMs, goodMs });
        }
      }),
      { numRuns: 400 },
    );
  });
});

/** A counter that is written nowhere. */
const counterSeries = () =>
  seriesOf({
    kind: "counter",
    holdMs,
    modulus,
  });

/** A counter that is given values one second apart from the start of a quarter hour on. */
function counted(values: readonly number[], fromMs = startMs): Quarter | undefined {
  const series = counterSeries();
  values.forEach((value, i) => {
    series.add({ value, status: Status.Good, sourceTimeMs: fromMs + i * 1000 });
  });
  return series.running(fromMs + values.length * 1000);
}

describe("a register that falls", () => {
  test("is a rollover when less than half its width went through, a reset otherwise", () => {
    expect(counted([990, 5])).toMatchObject({ wraps: 1, resets: 0, register: 5 });
    expect(counted([990, 490])).toMatchObject({ wraps: 1, resets: 0 });
    expect(counted([990, 491])).toMatchObject({ wraps: 0, resets: 1 });
    expect(counted([400, 0, 10])).toMatchObject({ wraps: 0, resets: 1, register: 10 });
    expect(counted([990, 0, 10])).toMatchObject({ wraps: 1, resets: 0, register: 10 });
    expect(counted([900, 100, 900, 100])).toMatchObject({ wraps: 2, resets: 0 });
  });

  test("to 0 and is back where it was, or beyond, fell: for how long it read 0 tells nothing", () => {
    expect(counted([900, 0, 900])).toMatchObject({ wraps: 0, resets: 1, register: 900 });
    expect(counted([900, 0, 0, 0, 905])).toMatchObject({ wraps: 0, resets: 1, register: 905 });
    expect(counted([400, 0, 401, 0, 402])).toMatchObject({ wraps: 0, resets: 2, register: 402 });
    expect(counted([900, 0])).toMatchObject({ wraps: 0, resets: 1, register: 900, registerMs: startMs });
    expect(counted([900, 0, 0, 3])).toMatchObject({ wraps: 1, resets: 0, register: 3 });
    expect(counted([400, 0, 0, 3])).toMatchObject({ wraps: 0, resets: 1, register: 3 });
    expect(counted([0, 0, 5])).toMatchObject({ wraps: 0, resets: 0, register: 5 });
  });

  test("to 0 in another quarter hour than it is back fell in both, also where the program ended in between", () => {
    for (const stop of [false, true]) {
      const events: Event[] = [
        [900, 0],
        [0, 1000],
        [0, quarterMs + 1000],
        [905, 3 * quarterMs + 1000],
      ].map(([value, atMs]) => ({
        ...{ type: "sample", atMs: startMs + (atMs as number), value: value as number, status: Status.Good },
      }));
      if (stop) events.splice(3, 0, { type: "stop", atMs: startMs + 2 * quarterMs });
      const rows = [...fold(events, "counter", startMs + 4 * quarterMs).values()];
      expect(rows.map(({ resets, register }) => [resets, register])).toEqual([
        [1, 900],
        [0, 900],
        [1, 905],
      ]);
    }
  });

  test("keeps whole numbers of 64 bits as they are", () => {
    const series = seriesOf({
      kind: "counter",
      holdMs,
      modulus: undefined,
    });
    series.add({ value: 2n ** 62n + 1n, status: Status.Good, sourceTimeMs: startMs });
    expect(series.running(startMs)?.register).toBe(2n ** 62n + 1n);
  });
});

describe("time that does not run as it should", () => {
  const series = (ended: Quarter[], written: (quarter: number) => Quarter | undefined = () => undefined) =>
    seriesOf({
      kind: "gauge",
      holdMs,
      modulus: undefined,
      written,
      onEnded: (row) => ended.push(row),
    });
  const add = (to: ReturnType<typeof series>, atMs: number, value = 1) =>
    to.add({ value, status: Status.Good, sourceTimeMs: atMs });

  test("a reading not later than the one before is left out", () => {
    const one = series([]);
    expect(add(one, startMs + 5000)).toBe("taken");
    expect(add(one, startMs + 5000, 9)).toBe("older");
    expect(add(one, startMs - 3_600_000, 9)).toBe("older");
    expect(one.running(startMs + 6000)).toMatchObject({ goodMs: 1000, high: 1 });
  });

  test("a reading of a quarter hour that was closed counts from the boundary on", () => {
    const ended: Quarter[] = [];
    const one = series(ended);
    add(one, startMs + quarterMs - 10_000);
    one.closeBefore(quarterOf(startMs + quarterMs));
    expect(ended).toMatchObject([{ goodMs: 10_000, high: 1, count: 1 }]);
    expect(add(one, startMs + quarterMs - 5000, 7)).toBe("late");
    add(one, startMs + quarterMs + 1000, 3);
    expect(ended).toHaveLength(1);
    expect(one.running(startMs + quarterMs + 1000)).toMatchObject({
      goodMs: 1000,
      count: 1,
      low: 3,
      high: 7,
      integral: 7000,
    });
  });

  test("a step ahead holds the last value no longer than it may, and no quarter hour between is invented", () => {
    const ended: Quarter[] = [];
    const one = series(ended);
    add(one, startMs + 1000);
    add(one, startMs + 86_400_000);
    expect(ended).toMatchObject([{ goodMs: holdMs }]);
    expect(one.running(startMs + 86_400_000)).toMatchObject({ goodMs: 0, count: 1 });
  });

  test("after a restart, what the file accounts for already is not taken again", () => {
    const file = { ...(counted([1]) as Quarter), goodMs: 600_000, untilMs: startMs + 600_000, low: 1, high: 1 };
    const one = series([], (quarter) => (quarter === file.quarter ? structuredClone(file) : undefined));
    expect(add(one, startMs + 500_000, 9)).toBe("older");
    expect(add(one, startMs + 700_000, 2)).toBe("taken");
    expect(one.running(startMs + 710_000)).toMatchObject({ goodMs: 610_000, count: 2, low: 1, high: 2 });
  });
});

test("a state with more codes than are told apart keeps their time together", () => {
  const series = seriesOf({
    kind: "state",
    holdMs,
    modulus: undefined,
  });
  for (let i = 0; i <= 2 * maxCodes; i += 1)
    series.add({ value: i, status: Status.Good, sourceTimeMs: startMs + i * 1000 });
  const codes = series.running(startMs + 2 * maxCodes * 1000)?.codes;
  expect(codes?.size).toBe(maxCodes + 1);
  expect(codes?.get(otherCode)).toBe(maxCodes * 1000);
});

test("text and time are no quantities; a bool is a state", () => {
  const series = seriesOf({
    kind: "state",
    holdMs,
    modulus: undefined,
  });
  series.add({ value: true, status: Status.Good, sourceTimeMs: startMs });
  series.add({ value: false, status: Status.Good, sourceTimeMs: startMs + 2000 });
  series.add({ value: "x", status: Status.Good, sourceTimeMs: startMs + 5000 });
  expect(series.running(startMs + 9000)?.codes).toEqual(
    new Map([
      ["1", 2000],
      ["0", 3000],
    ]),
  );
});
