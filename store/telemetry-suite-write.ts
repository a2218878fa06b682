import { DataType, type Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import type { SampleRow, StoredRow } from "./telemetry.ts";
import { brief, makeSeries, readAll, sample, startMs } from "./telemetry-fixtures.ts";
import type { Harness } from "./telemetry-suite.ts";

const commit = (first: number, last: number, epoch = "00000000000000aa") => ({
  group: "factory-1",
  node: "gateway-1",
  epoch,
  ranges: [[first, last] as const],
});

export function writeTests(harness: Harness): void {
  describe("series", () => seriesTests(harness));
  describe("values", () => {
    valueTests(harness);
    refusalTests(harness);
  });
  describe("identity of a sample", () => {
    identityTests(harness);
    lateTests(harness);
  });
  describe("transactions", () => transactionTests(harness));
  describe("commit ranges", () => commitTests(harness));
}

function seriesTests({ store, reopen }: Harness): void {
  const key = { group: "f", node: "g", device: "d", metric: "energy" };
  const definition = { name: "energy", datatype: DataType.Float, unit: "kWh", role: "energy.import", simulated: false };

  it("keeps numbers and definitions over a restart", async () => {
    const wanted = [
      { ...key, definition },
      { ...key, device: "", metric: "d/energy", definition },
    ];
    const ids = await store().ensureSeries(wanted);
    expect(new Set(ids).size).toBe(2);
    const again = await reopen();
    expect(await again.ensureSeries(wanted.toReversed())).toEqual(ids.toReversed());
    expect(await again.series()).toEqual(wanted.map((series, i) => ({ ...series, id: ids[i] })));
    const [third] = await again.ensureSeries([{ ...key, node: "g2", definition }]);
    expect(ids).not.toContain(third);
  });

  it("replaces a changed definition and keeps the number", async () => {
    const [id] = await store().ensureSeries([{ ...key, definition }]);
    const changed = { ...definition, unit: "MWh", datatype: DataType.Double };
    expect(await store().ensureSeries([{ ...key, definition: changed }])).toEqual([id]);
    expect(await (await reopen()).series()).toEqual([{ ...key, id, definition: changed }]);
  });

  it("takes a series named twice in one call for one, the later definition for its own", async () => {
    const changed = { ...definition, unit: "MWh" };
    const [a, b] = await store().ensureSeries([
      { ...key, definition },
      { ...key, definition: changed },
    ]);
    expect(a).toBe(b);
    expect(await (await reopen()).series()).toEqual([{ ...key, id: a, definition: changed }]);
  });
}

function valueTests({ store, reopen }: Harness): void {
  const cases: [name: string, datatype: (typeof DataType)[keyof typeof DataType], values: Value[]][] = [
    ["Int32", DataType.Int32, [0, -1, 2_147_483_647, -2_147_483_648]],
    ["Int64", DataType.Int64, [0n, -1n, 9_007_199_254_740_993n, -9_007_199_254_740_993n, 2n ** 63n - 1n, -(2n ** 63n)]],
    ["Float", DataType.Float, [0.1, 16_777_217, 3.4e38, 1e-45].map(Math.fround)],
    ["Double", DataType.Double, [0.1, -1e308, 5e-324, 2 ** 53 + 2]],
    ["Boolean", DataType.Boolean, [true, false]],
    ["String", DataType.String, ["", "运行中", 'it\'s "quoted" \\ % ;', "a\0b, longer than twelve bytes", "😀\n"]],
  ];
  it("values of every type come back as they were, null too, after a restart too", async () => {
    const written = new Map<number, StoredRow[]>();
    for (const [name, datatype, values] of cases) {
      const [series] = (await makeSeries(store(), [name], datatype)) as [number];
      const rows = [...values, null].map((value, i) =>
        sample(series, i * 1000, value, value === null ? Status.BadNotConnected : Status.UncertainDataSubNormal),
      );
      const { tx } = await store().write({ samples: rows, commits: [] });
      const stored = rows.map((row) => ({ ...row, tx }));
      expect(await readAll(store(), series), name).toEqual(stored);
      const again = await store().write({ samples: rows, commits: [] });
      expect(again, name).toMatchObject({ written: 0, duplicates: rows.length });
      written.set(series, stored);
    }
    await reopen();
    for (const [series, stored] of written) expect(await readAll(store(), series)).toEqual(stored);
    const latest = (await store().latest()).toSorted((a, b) => a.series - b.series);
    expect(latest).toEqual([...written.values()].map((stored) => stored.at(-1)));
  });

  it("keeps samples of the old datatype as they were when the definition changes", async () => {
    const [series] = (await makeSeries(store(), ["state"], DataType.Boolean)) as [number];
    await store().write({ samples: [sample(series, 0, true)], commits: [] });
    await makeSeries(store(), ["state"], DataType.Int64);
    await store().write({ samples: [sample(series, 1, 2n ** 60n + 1n)], commits: [] });
    expect((await readAll(await reopen(), series)).map(brief)).toEqual([
      [0, true],
      [1, 2n ** 60n + 1n],
    ]);
  });

  it("stores a text with a lone surrogate once", async () => {
    const [series] = (await makeSeries(store(), ["text"], DataType.String)) as [number];
    const batch = { samples: [sample(series, 0, "a\ud800b")], commits: [] };
    await store().write(batch);
    expect(await (await reopen()).write(batch)).toMatchObject({ written: 0, duplicates: 1, conflicts: 0 });
  });
}

function refusalTests({ store, nowAndReopened }: Harness): void {
  const bad: [string, Partial<SampleRow>, string][] = [
    ["NaN", { value: Number.NaN }, "VALUE_MISFIT"],
    ["infinity", { value: Number.POSITIVE_INFINITY }, "VALUE_MISFIT"],
    ["2^63", { value: 2n ** 63n }, "VALUE_MISFIT"],
    ["a fraction of a millisecond", { sourceTimeMs: startMs + 0.5 }, "VALUE_MISFIT"],
    ["a time before 1970", { sourceTimeMs: -1 }, "VALUE_MISFIT"],
    ["a time that is no number", { gatewayTimeMs: Number.NaN }, "VALUE_MISFIT"],
    ["an unknown series", { series: 99 }, "SERIES_UNKNOWN"],
  ];
  it("refuses what it cannot keep exactly, and all of its batch with it", async () => {
    const [series] = (await makeSeries(store(), ["speed"])) as [number];
    const { tx } = await store().write({ samples: [sample(series, 0, 1)], commits: [commit(0, 0)] });
    for (const [what, fault, code] of bad) {
      const samples = [sample(series, 1, 2), { ...sample(series, 2, 3), ...fault }];
      await expect(store().write({ samples, commits: [commit(1, 1)] }), what).rejects.toMatchObject({
        code,
        message: expect.stringContaining(code === "SERIES_UNKNOWN" ? "99" : "factory-1/gateway-1/press-1/speed"),
      });
      expect((await readAll(store(), series)).map(brief), what).toEqual([[0, 1]]);
    }
    await nowAndReopened(async (open) => {
      expect((await readAll(open, series)).map(brief)).toEqual([[0, 1]]);
      expect(await open.committed()).toEqual([commit(0, 0)]);
      expect(await open.lastTx()).toBe(tx);
      expect((await open.latest()).map(brief)).toEqual([[0, 1]]);
    });
    expect(await store().write({ samples: [sample(series, 1, 2)], commits: [] })).toMatchObject({ written: 1 });
  });
}

function identityTests({ store, reopen }: Harness): void {
  it("stores the same batch once, however often it is written", async () => {
    const [a, b] = (await makeSeries(store(), ["a", "b"])) as [number, number];
    const batch = {
      samples: [sample(a, 0, 1), sample(b, 0, 1), sample(a, 5000, 2), sample(b, 7000, null, Status.BadTimeout)],
      commits: [commit(0, 3)],
    };
    const first = await store().write(batch);
    expect(first).toEqual({ tx: 1, written: 4, duplicates: 0, conflicts: 0 });
    expect(await store().write(batch)).toMatchObject({ written: 0, duplicates: 4, conflicts: 0 });
    expect(await (await reopen()).write(batch)).toMatchObject({ written: 0, duplicates: 4, conflicts: 0 });
    expect((await readAll(store(), a)).map(brief)).toEqual([
      [0, 1],
      [5000, 2],
    ]);
    expect(await store().committed()).toEqual([commit(0, 3)]);
  });

  it("takes other times of arrival for the same content, another value or status for a conflict; the first stays", async () => {
    const [series] = (await makeSeries(store(), ["a"])) as [number];
    const original = sample(series, 0, 0);
    await store().write({ samples: [original, sample(series, 9000, 9)], commits: [] });
    const samples = [
      { ...original, gatewayTimeMs: startMs + 77, ingestTimeMs: startMs + 78 },
      { ...original, value: 1 },
      { ...original, status: Status.Uncertain },
      { ...original, value: null },
      { ...original, value: "0" },
    ];
    expect(await store().write({ samples, commits: [] })).toMatchObject({ written: 0, duplicates: 1, conflicts: 4 });
    expect(await readAll(store(), series)).toMatchObject([original, { sourceTimeMs: startMs + 9000 }]);
  });
}

function lateTests({ store, reopen }: Harness): void {
  it("finds repeats within a batch, ahead of and behind what is stored", async () => {
    const [series] = (await makeSeries(store(), ["a"])) as [number];
    await store().write({ samples: [sample(series, 5000, 5)], commits: [] });
    const samples = [
      sample(series, 9000, 9),
      sample(series, 1000, 1),
      sample(series, 9000, 9),
      sample(series, 1000, 2),
      sample(series, 9000, 8),
      sample(series, 1000, 1),
      sample(series, 5000, 5),
      sample(series, 5000, 6),
    ];
    const outcome = { tx: 2, written: 2, duplicates: 3, conflicts: 3 };
    expect(await store().write({ samples, commits: [] })).toEqual(outcome);
    const expected = [1, 5, 9].map((n) => [n * 1000, n]);
    expect((await readAll(store(), series)).map(brief)).toEqual(expected);
    expect((await readAll(await reopen(), series)).map(brief)).toEqual(expected);
  });

  it("fills gaps of any age, in any order, each sample once", async () => {
    const [series] = (await makeSeries(store(), ["a"])) as [number];
    const hour = 3_600_000;
    // Alternating ends: every second sample is late, and the late ones lie from hours to years apart.
    const hours = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? i * i : 40_000 - i * 300));
    const rows = hours.map((n) => sample(series, n * hour, n));
    for (let i = 0; i < rows.length; i += 7) await store().write({ samples: rows.slice(i, i + 7), commits: [] });
    expect(await (await reopen()).write({ samples: rows.toReversed(), commits: [] })).toMatchObject({ duplicates: 60 });
    expect((await readAll(store(), series)).map(brief)).toEqual(
      hours.toSorted((a, b) => a - b).map((n) => [n * hour, n]),
    );
  });
}

function transactionTests({ store, reopen }: Harness): void {
  it("numbers transactions by one, over restarts, samples or commits alone; one that stores nothing has none", async () => {
    const [series] = (await makeSeries(store(), ["a"])) as [number];
    expect(await store().lastTx()).toBe(0);
    const write = (samples: SampleRow[], commits = [commit(0, 0)].slice(1)) => store().write({ samples, commits });
    expect((await write([sample(series, 0, 1)])).tx).toBe(1);
    expect((await write([], [commit(0, 0)])).tx).toBe(2);
    await reopen();
    expect(await store().lastTx()).toBe(2);
    expect(await write([sample(series, 0, 1)])).toMatchObject({ tx: 2, written: 0 });
    expect((await write([])).tx).toBe(2);
    await reopen();
    expect((await write([sample(series, 1, 1)])).tx).toBe(3);
    expect(await store().lastTx()).toBe(3);
  });
}

function commitTests({ store, reopen, nowAndReopened }: Harness): void {
  it("merges ranges per gateway and epoch, over restarts", async () => {
    const other = { ...commit(5, 9), node: "gateway-2" };
    await store().write({ samples: [], commits: [commit(0, 3), commit(10, 12), other] });
    await store().write({ samples: [], commits: [commit(4, 4), commit(0, 0, "00000000000000bb")] });
    await store().write({ samples: [], commits: [commit(2, 5), { ...commit(20, 20), ranges: [] }] });
    const wanted = [
      { ...commit(0, 5), ranges: [[0, 5] as const, [10, 12] as const] },
      other,
      commit(0, 0, "00000000000000bb"),
    ];
    await nowAndReopened(async (open) => {
      const found = await open.committed();
      expect(found).toHaveLength(wanted.length);
      expect(found).toEqual(expect.arrayContaining(wanted));
    });
    const far = Number.MAX_SAFE_INTEGER;
    await store().write({ samples: [], commits: [commit(6, 9), { ...other, ranges: [[far, far]] }] });
    expect(await (await reopen()).committed()).toEqual(
      expect.arrayContaining([
        commit(0, 12),
        {
          ...other,
          ranges: [
            [5, 9],
            [far, far],
          ],
        },
      ]),
    );
  });

  it("refuses ranges that are none, with their samples", async () => {
    const [series] = (await makeSeries(store(), ["a"])) as [number];
    for (const [a, b] of [
      [3, 2],
      [-1, 2],
      [0, 0.5],
      [0, Number.MAX_VALUE],
    ] as const) {
      const writing = store().write({ samples: [sample(series, 0, 1)], commits: [commit(a, b)] });
      await expect(writing, `${a}, ${b}`).rejects.toMatchObject({ code: "COMMIT_RANGE_INVALID" });
    }
    await nowAndReopened(async (open) => {
      expect(await readAll(open, series)).toEqual([]);
      expect(await open.committed()).toEqual([]);
    });
  });
}
