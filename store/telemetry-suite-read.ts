import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { brief, listed, makeSeries, sample, startMs } from "./telemetry-fixtures.ts";
import type { Harness } from "./telemetry-suite.ts";

const minute = 60_000;
const day = 86_400_000;

const window = (series: number, fromMs: number, toMs: number) => ({
  series,
  fromMs: startMs + fromMs,
  toMs: startMs + toMs,
});

export function readTests(harness: Harness): void {
  describe("reading", () => plainTests(harness));
  describe("windows with neighbours", () => {
    neighbourTests(harness);
    farNeighbourTests(harness);
  });
  describe("online time", () => onlineTests(harness));
}

function plainTests({ store, reopen, nowAndReopened }: Harness): void {
  it("reads [from, to) of one series by source time, up to a limit", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    const times = [3000, 1000, 2000, 4000];
    await store().write({ samples: times.flatMap((t) => [sample(a, t, t), sample(b, t, -t)]), commits: [] });
    const window = { series: a, fromMs: startMs + 1000, toMs: startMs + 4000 };
    expect((await store().read(window, 10)).map(brief)).toEqual([1000, 2000, 3000].map((t) => [t, t]));
    expect((await store().read(window, 2)).map(brief)).toEqual([1000, 2000].map((t) => [t, t]));
    expect(await store().read({ ...window, fromMs: startMs + 4001, toMs: startMs + 9000 }, 10)).toEqual([]);
  });

  it("reads every sample of many windows at once, of any quality, in the order asked", async () => {
    const [a, b, c] = (await makeSeries(store(), ["a", "b", "c"])) as [number, number, number];
    const bad = sample(b, 2000, null, Status.BadTimeout);
    const samples = [...[3000, 1000, 2000, 86_400_000].map((t) => sample(a, t, t)), bad, sample(b, 1000, true)];
    await store().write({ samples, commits: [] });
    const asked = [window(b, 0, 3000), window(c, 0, 9000), window(a, 1000, 3000), window(a, 2000, 90_000_000)];
    await nowAndReopened(async (open) => {
      const found = await open.readMany(asked);
      expect(found.map((rows) => rows.map(brief))).toEqual([
        [
          [1000, true],
          [2000, null],
        ],
        [],
        [1000, 2000].map((t) => [t, t]),
        [2000, 3000, 86_400_000].map((t) => [t, t]),
      ]);
      expect(found[0]?.map(({ status }) => status)).toEqual([Status.Good, Status.BadTimeout]);
      expect(await open.readMany([])).toEqual([]);
    });
  });

  it("reads windows of many thousand samples of one series whole, after a restart too", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    const many = 12_000;
    const samples = Array.from({ length: many }, (_, n) => [sample(a, 100 * n, n), sample(b, 100 * n, -n)]).flat();
    await store().write({ samples, commits: [] });
    await reopen();
    const found = await store().readMany([window(a, 0, 100 * many), window(b, 0, 100 * many)]);
    expect(found.map((rows) => rows.map(({ value }) => Number(value)))).toEqual([
      Array.from({ length: many }, (_, n) => n),
      Array.from({ length: many }, (_, n) => -n),
    ]);
    expect(await store().read(window(a, 0, 100 * many), many + 1)).toHaveLength(many);
  });

  it("knows the newest sample of each series by source time, whatever came last or how good it is", async () => {
    const [a, b, c] = (await makeSeries(store(), ["a", "b", "c"])) as [number, number, number];
    expect(await store().latest()).toEqual([]);
    await store().write({ samples: [sample(a, 5000, 5), sample(b, 1000, 1)], commits: [] });
    const newest = [sample(a, 5000, 5), sample(b, 2000, null, Status.BadTimeout)];
    await store().write({ samples: [sample(a, 4000, 4), newest[1] as (typeof newest)[0]], commits: [] });
    await nowAndReopened(async (open) => {
      const found = await open.latest();
      expect(found.toSorted((x, y) => x.series - y.series)).toMatchObject(newest);
      expect(found.some((row) => row.series === c)).toBe(false);
    });
    await store().write({ samples: [sample(a, 4500, 4), sample(a, 6000, 6)], commits: [] });
    expect((await (await reopen()).latest()).find((row) => row.series === a)).toMatchObject({ value: 6, tx: 3 });
  });

  it("counts what is stored by series and hour of the source time, of any quality, each key once", async () => {
    const hour = 60 * minute;
    const [a, b, c] = (await makeSeries(store(), ["a", "b", "c"])) as [number, number, number];
    const times = [0, 1, 60_000, hour - 1, hour, 30 * hour, 30 * hour + 5];
    const samples = [
      ...times.map((t) => sample(a, t, t)),
      sample(b, hour + 1, null, Status.BadTimeout),
      sample(c, 0, 1),
    ];
    await store().write({ samples, commits: [] });
    // Again, and late: what is there already counts once.
    await store().write({ samples: [...samples, sample(a, 2, 2)], commits: [] });
    const row = (series: number, hours: number, count: number) => ({
      series,
      hourMs: startMs + hours * hour,
      samples: count,
    });
    await nowAndReopened(async (open) => {
      const count = (series: number[], from: number, to: number) =>
        open.countSamples(series, startMs + from * hour, startMs + to * hour);
      expect(await count([b, a, a], 0, 31)).toEqual([row(a, 0, 5), row(a, 1, 1), row(a, 30, 2), row(b, 1, 1)]);
      expect(await count([a], 1, 2)).toEqual([row(a, 1, 1)]);
      expect(await count([a, b, c], 2, 30)).toEqual([]);
      expect(await count([], 0, 31)).toEqual([]);
    });
  });

  it("tells which minutes transactions changed, of any quality", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    const first = [sample(a, 59_999, 1), sample(a, 60_000, 2), sample(a, 60_500, 3), sample(a, 119_000, 4)];
    await store().write({ samples: first, commits: [] });
    await store().write({ samples: [sample(b, 10, null, Status.BadTimeout), sample(a, 60_001, 5)], commits: [] });
    await store().write({ samples: [...first, sample(a, 180_000, 6)], commits: [] });
    const change = (series: number, minuteMs: number, firstMs: number, lastMs: number) => ({
      series,
      minuteMs: startMs + minuteMs,
      firstMs: startMs + firstMs,
      lastMs: startMs + lastMs,
    });
    expect(await store().changedMinutes(0, 1)).toEqual([
      change(a, 0, 59_999, 59_999),
      change(a, 60_000, 60_000, 119_000),
    ]);
    expect(await store().changedMinutes(1, 3)).toEqual([
      change(a, 60_000, 60_001, 60_001),
      change(a, 180_000, 180_000, 180_000),
      change(b, 0, 10, 10),
    ]);
    expect(await store().changedMinutes(3, 99)).toEqual([]);
  });
}

function neighbourTests({ store, nowAndReopened }: Harness): void {
  it("gives usable samples and the nearest usable one on each side, for many windows at once", async () => {
    const [a, b, c] = (await makeSeries(store(), ["a", "b", "c"])) as [number, number, number];
    const bad = Status.BadCommunicationError;
    await store().write({
      samples: [
        sample(a, 10_000, 1),
        sample(a, 20_000, 99, bad),
        sample(a, 30_000, null),
        sample(a, 60_000, 2, Status.UncertainLastUsableValue),
        sample(a, 90_000, 3),
        sample(a, 119_999, 4),
        sample(a, 120_000, 5),
        sample(a, 120_001, 6),
        sample(b, 60_000, 7),
        sample(c, 70_000, null, bad),
      ],
      commits: [],
    });
    const windows = [
      window(a, minute, 2 * minute),
      window(b, minute, 2 * minute),
      window(c, minute, 2 * minute),
      window(a, 0, minute),
      window(a, 2 * minute, 3 * minute),
      window(a, 3 * minute, 4 * minute),
      window(a, minute, 2 * minute),
      window(b, 0, minute),
      window(a, 15_000, 50_000),
    ];
    const expected = [
      [
        [10_000, 1],
        [60_000, 2],
        [90_000, 3],
        [119_999, 4],
        [120_000, 5],
      ],
      [[60_000, 7]],
      [],
      [
        [10_000, 1],
        [60_000, 2],
      ],
      [
        [119_999, 4],
        [120_000, 5],
        [120_001, 6],
      ],
      [[120_001, 6]],
      [
        [10_000, 1],
        [60_000, 2],
        [90_000, 3],
        [119_999, 4],
        [120_000, 5],
      ],
      [[60_000, 7]],
      [
        [10_000, 1],
        [60_000, 2],
      ],
    ];
    await nowAndReopened(async (open) => {
      expect((await open.readWithNeighbours(windows)).map((rows) => listed(rows).map(brief))).toEqual(expected);
    });
    expect(await store().readWithNeighbours([])).toEqual([]);
  });
}

function farNeighbourTests({ store, nowAndReopened }: Harness): void {
  it("gives the last usable sample of a series that has sent nothing usable since", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    const bad = Status.BadNotConnected;
    const beats = Array.from({ length: 50 }, (_, i) => sample(a, day + i * minute, null, bad));
    await store().write({
      samples: [sample(a, 0, 1), sample(a, 1000, 2), ...beats, sample(b, 0, 3, bad)],
      commits: [],
    });
    const windows = [window(a, 2 * day, 2 * day + minute), window(a, day, day + minute), window(b, day, day + minute)];
    const expected = (last: number[]) => [[last], [last], []];
    await nowAndReopened(async (open) => {
      const found = await open.readWithNeighbours(windows);
      expect(found.map((rows) => listed(rows).map(brief))).toEqual(expected([1000, 2]));
    });
    await store().write({ samples: [sample(a, 3000, 4), sample(a, 2000, 3)], commits: [] });
    await nowAndReopened(async (open) => {
      const found = await open.readWithNeighbours(windows);
      expect(found.map((rows) => listed(rows).map(brief))).toEqual(expected([3000, 4]));
    });
  });

  it("finds a neighbour however far away it is, past unusable ones", async () => {
    const distances = [1, 90_000, 3_600_000, day, 20 * day, 4000 * day];
    const series = await makeSeries(
      store(),
      distances.map((n) => `away ${n}`),
    );
    const at = 5000 * day;
    const samples = distances.flatMap((distance, i) => {
      const id = series[i] as number;
      return [
        sample(id, at - distance, -i),
        sample(id, at - 0.5 * Math.min(distance, 2), null, Status.BadTimeout),
        sample(id, at + minute - 1 + distance, i),
      ].filter((row) => Number.isInteger(row.sourceTimeMs));
    });
    await store().write({ samples, commits: [] });
    const found = await store().readWithNeighbours(series.map((id) => window(id, at, at + minute)));
    expect(found.map((rows) => listed(rows).map(brief))).toEqual(
      distances.map((distance, i) => [
        [at - distance, -i],
        [at + minute - 1 + distance, i],
      ]),
    );
  });
}

function onlineTests({ store }: Harness): void {
  const kept = (series: readonly number[], windowMs: number) => series.map((id) => ({ id, windowMs }));
  const online = async (device: string, series: number[], minutes: number, windowMs: number) => {
    const rows = await store().onlineMs(
      [{ device, series: kept(series, windowMs) }],
      startMs,
      startMs + minutes * minute,
    );
    expect(rows.map((row) => [row.device, row.minuteMs])).toEqual(
      Array.from({ length: minutes }, (_, i) => [device, startMs + i * minute]),
    );
    return rows.map((row) => row.onlineMs);
  };

  it("unites the windows of good samples, cuts them at minutes, and gives zeros", async () => {
    const [a, b, c] = (await makeSeries(store(), ["a", "b", "c"])) as [number, number, number];
    await store().write({
      samples: [
        // Before the start: 20 s of its window lie inside. Exactly one window before: nothing does.
        sample(a, -10_000, 1),
        sample(b, -30_000, 1),
        // 15 s after the first ended at 20 s: 35-65 s; united with 50-80 s of the other series.
        sample(a, 35_000, 1),
        sample(b, 50_000, 1),
        // The same instant in both series counts once.
        sample(a, 100_000, 1),
        sample(b, 100_000, 1),
        // Neither bad, uncertain nor null keeps a device online, nor does another device's sample.
        sample(a, 150_000, 1, Status.BadTimeout),
        sample(a, 151_000, 1, Status.Uncertain),
        sample(a, 152_000, null),
        sample(c, 153_000, 1),
        // At the very end: one second inside, and after it nothing counts.
        sample(a, 299_000, 1),
        sample(a, 300_000, 1),
      ],
      commits: [],
    });
    // Minute 0: 0-20 and 35-60. Minute 1: 60-80 and 100-120. Minute 2: 120-130. Minute 3: none. Minute 4: 299-300.
    expect(await online("d1", [a, b], 5, 30_000)).toEqual([45_000, 40_000, 10_000, 0, 1_000]);
    expect(await online("d1", [], 2, 30_000)).toEqual([0, 0]);
    // One window that spans whole minutes: 153 s to 453 s.
    expect(await online("d2", [c], 8, 300_000)).toEqual([0, 0, 27_000, minute, minute, minute, minute, 33_000]);
  });

  it("answers for many devices at once, in the order asked", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    await store().write({ samples: [sample(a, 0, true), sample(b, 59_000, "x")], commits: [] });
    const asked = [
      { device: "y", series: kept([b], 2_000) },
      { device: "x", series: kept([a], 10_000) },
    ];
    const rows = await store().onlineMs(asked, startMs, startMs + 2 * minute);
    expect(rows.map((row) => [row.device, (row.minuteMs - startMs) / minute, row.onlineMs])).toEqual([
      ["y", 0, 1_000],
      ["y", 1, 1_000],
      ["x", 0, 10_000],
      ["x", 1, 0],
    ]);
  });

  it("each series keeps its device online for a window of its own, also beyond later samples of others", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    const series = [...kept([a], 10_000), ...kept([b], 90_000)];
    // a: 0-10, 20-30, 25-35, 130-140. b: 5-95, 30-120; both at 130: until 220.
    const samples = [
      [a, 0],
      [b, 5_000],
      [a, 20_000],
      [a, 25_000],
      [b, 30_000],
      [a, 130_000],
      [b, 130_000],
    ].map(([id = 0, at = 0]) => sample(id, at, 1));
    await store().write({ samples, commits: [] });
    const rows = await store().onlineMs([{ device: "d", series }], startMs, startMs + 4 * minute);
    expect(rows.map((row) => row.onlineMs)).toEqual([minute, minute, 50_000, 40_000]);
  });

  it("ends in the midst of a minute where that is asked for", async () => {
    const [a] = (await makeSeries(store(), ["a"])) as [number];
    await store().write({ samples: [sample(a, 50_000, 1), sample(a, 100_000, 1)], commits: [] });
    const until = async (toMs: number) => {
      const rows = await store().onlineMs([{ device: "d", series: kept([a], 30_000) }], startMs, startMs + toMs);
      return rows.map((row) => row.onlineMs);
    };
    expect(await until(70_500)).toEqual([10_000, 10_500]);
    expect(await until(100_000)).toEqual([10_000, 20_000]);
    expect(await until(100_001)).toEqual([10_000, 20_001]);
  });
}
