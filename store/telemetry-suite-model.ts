import { randomInt } from "node:crypto";
import type { Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { rangeSet } from "@jilian/domain/range-set.ts";
import { describe, expect, it } from "vitest";
import type { SampleRow, StoredRow, Telemetry, WriteOutcome } from "./telemetry.ts";
import { listed, makeSeries, readAll, sample, startMs } from "./telemetry-fixtures.ts";
import type { Harness } from "./telemetry-suite.ts";

const minute = 60_000;
const batches = 26;

/** Small deterministic generator (mulberry32): a failing seed can be run again. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** The contract in its simplest form: a map. */
function createModel() {
  const rows = new Map<string, StoredRow>();
  const bySeries = (series: number) =>
    [...rows.values()].filter((row) => row.series === series).sort((a, b) => a.sourceTimeMs - b.sourceTimeMs);
  let tx = 0;
  return {
    bySeries,
    lastTx: () => tx,
    write(samples: readonly SampleRow[]): WriteOutcome {
      const outcome = { tx: tx + 1, written: 0, duplicates: 0, conflicts: 0 };
      for (const row of samples) {
        const key = `${row.series}|${row.sourceTimeMs}`;
        const there = rows.get(key);
        if (!there) {
          rows.set(key, { ...row, tx: outcome.tx });
          outcome.written += 1;
        } else if (there.value === row.value && there.status === row.status) outcome.duplicates += 1;
        else outcome.conflicts += 1;
      }
      tx += 1;
      return outcome;
    },
    changed(afterTx: number, upToTx: number) {
      const found = new Map<string, { series: number; minuteMs: number; firstMs: number; lastMs: number }>();
      for (const { series, sourceTimeMs, tx: at } of rows.values()) {
        if (at <= afterTx || at > upToTx) continue;
        const minuteMs = Math.floor(sourceTimeMs / minute) * minute;
        const known = found.get(`${series}|${minuteMs}`);
        const [firstMs, lastMs] = [known?.firstMs ?? sourceTimeMs, known?.lastMs ?? sourceTimeMs];
        found.set(`${series}|${minuteMs}`, {
          series,
          minuteMs,
          firstMs: Math.min(firstMs, sourceTimeMs),
          lastMs: Math.max(lastMs, sourceTimeMs),
        });
      }
      return [...found.values()].sort((a, b) => a.series - b.series || a.minuteMs - b.minuteMs);
    },
    withNeighbours(series: number, fromMs: number, toMs: number): StoredRow[] {
      const usable = bySeries(series).filter((row) => row.value !== null && row.status < Status.Bad);
      const before = usable.filter((row) => row.sourceTimeMs < fromMs).slice(-1);
      const inside = usable.filter((row) => row.sourceTimeMs >= fromMs && row.sourceTimeMs < toMs);
      return [...before, ...inside, ...usable.filter((row) => row.sourceTimeMs >= toMs).slice(0, 1)];
    },
    /** Millisecond by millisecond. */
    onlineMs(series: readonly { id: number; windowMs: number }[], fromMs: number, toMs: number): number[] {
      const covered = new Uint8Array(toMs - fromMs);
      for (const [row, windowMs] of series.flatMap(({ id, windowMs }) =>
        bySeries(id).map((row) => [row, windowMs] as const),
      )) {
        if (row.value === null || row.status >= Status.Uncertain) continue;
        const at = row.sourceTimeMs - fromMs;
        covered.fill(
          1,
          Math.min(covered.length, Math.max(0, at)),
          Math.min(covered.length, Math.max(0, at + windowMs)),
        );
      }
      return Array.from({ length: covered.length / minute }, (_, i) =>
        covered.subarray(i * minute, (i + 1) * minute).reduce((sum, on) => sum + on, 0),
      );
    },
  };
}
type Model = ReturnType<typeof createModel>;

const values: Value[] = [0, 1, 2n ** 62n + 1n, -(2n ** 53n) - 1n, true, false, "text", null];
const statuses = [Status.Good, Status.Good, Status.Good, Status.Uncertain, Status.BadTimeout];

/** A batch around a moment: mostly new, partly old, repeated and conflicting. */
function makeBatch(pick: (below: number) => number, series: readonly number[], past: SampleRow[]): SampleRow[] {
  const batch: SampleRow[] = [];
  const around = pick(20) === 0 ? pick(40) * 86_400_000 : pick(20 * minute);
  for (let i = pick(60); i >= 0; i -= 1) {
    const old = past[pick(past.length + 1)];
    if (old && pick(4) === 0) batch.push(pick(5) === 0 ? { ...old, status: Status.BadTimeout } : { ...old });
    else {
      const value = values[pick(values.length)] as Value;
      const status = statuses[pick(statuses.length)] as number;
      batch.push(sample(series[pick(series.length)] as number, around + pick(300) * 100, value, status));
    }
  }
  past.push(...batch);
  return batch;
}

async function compare(store: Telemetry, model: Model, series: readonly number[], pick: (below: number) => number) {
  for (const id of series) expect(await readAll(store, id)).toEqual(model.bySeries(id));
  const latest = (await store.latest()).sort((a, b) => a.series - b.series);
  expect(latest).toEqual(series.flatMap((id) => model.bySeries(id).slice(-1)));
  expect(await store.lastTx()).toBe(model.lastTx());
  const [from, to] = [pick(model.lastTx() + 1), pick(model.lastTx() + 2)];
  expect(await store.changedMinutes(from, to)).toEqual(model.changed(from, to));
  const windows = Array.from({ length: 40 }, () => {
    const fromMs = startMs + (pick(8) === 0 ? pick(40) * 86_400_000 : pick(22) * minute);
    return { series: series[pick(series.length)] as number, fromMs, toMs: fromMs + (1 + pick(3)) * minute };
  });
  const isText = ({ value }: StoredRow) => typeof value === "string";
  expect((await store.readWithNeighbours(windows)).map(listed)).toEqual(
    windows.map(({ series: id, fromMs, toMs }) =>
      model.withNeighbours(id, fromMs, toMs).map((row) => {
        const { sourceTimeMs, ingestTimeMs, value } = row;
        return { sourceTimeMs, ingestTimeMs, value: isText(row) ? "a text" : value };
      }),
    ),
  );
  const some = series.slice(0, 1 + pick(series.length)).map((id) => ({ id, windowMs: 1 + pick(5) * 7_777 }));
  const toMs = startMs + 22 * minute;
  const online = await store.onlineMs([{ device: "d", series: some }], startMs, toMs);
  expect(online.map((row) => row.onlineMs)).toEqual(model.onlineMs(some, startMs, toMs));
}

export function modelTests({ store, reopen }: Harness): void {
  describe("compared with a map", () => {
    // One seed that once found ranges merged over a gap, and one of this run; a name with its seed tells how to run it again.
    it.each([1875059790, randomInt(2, 2 ** 31)])(
      "random batches, repeats, conflicts and restarts, seed %d",
      async (seed) => {
        const pick = random(seed);
        const series = await makeSeries(store(), ["a", "b", "c", "d", "e"]);
        const model = createModel();
        const past: SampleRow[] = [];
        const committed = rangeSet();
        for (let n = 0; n < batches; n += 1) {
          const samples = makeBatch(pick, series, past);
          const offset = pick(60);
          committed.add(offset, offset + 1);
          const commits = [{ group: "f", node: "g", epoch: "e", ranges: [[offset, offset + 1] as const] }];
          expect(await store().write({ samples, commits })).toEqual(model.write(samples));
          if (pick(15) === 0) await reopen();
          if (n === batches / 2) await compare(store(), model, series, pick);
        }
        await compare(await reopen(), model, series, pick);
        expect(await store().committed()).toEqual([{ group: "f", node: "g", epoch: "e", ranges: committed.ranges() }]);
      },
    );
  });
}
