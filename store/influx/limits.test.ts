import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { WriteBatch } from "../telemetry.ts";
import { brief, makeSeries, readAll, sample } from "../telemetry-fixtures.ts";
import type { OwnedTelemetry } from "../thread/owner.ts";
import { hasInfluxd, type Influxd, startInfluxd } from "./influxd.ts";
import { openInfluxTelemetry } from "./telemetry.ts";
import { settingOf } from "./test-setting.ts";

const log = pino({ level: "silent" });

/** Bounds of InfluxDB 1.x on its index: a state of the server, which somebody ends, and no fault of a sample. */
describe.skipIf(!hasInfluxd())("an InfluxDB that takes no new series (skipped where influxd is not installed)", () => {
  let server: Influxd;
  let store: OwnedTelemetry;
  beforeEach(async () => {
    server = await startInfluxd();
    store = await openInfluxTelemetry({ ...settingOf(server.url, "limits"), log });
  });
  afterEach(async () => {
    await store.close();
    await server.stop();
  });

  /** As many of a measurement as InfluxDB has. */
  async function count(what: string): Promise<number> {
    const answer = await fetch(`${server.url}/query?db=limits`, {
      method: "POST",
      body: new URLSearchParams({ q: what }),
    });
    const { results } = (await answer.json()) as { results: { series?: { values: unknown[] }[] }[] };
    return results[0]?.series?.[0]?.values.length ?? 0;
  }

  it("for their number: a batch of which a part is stored waits, and is stored once when more is allowed", async () => {
    const series = await makeSeries(store, ["a", "b", "c", "d"]);
    const there = series.slice(0, 2).map((id) => sample(id, -1, 0));
    await store.write({ samples: there, commits: [] });
    const batch: WriteBatch = {
      samples: series.flatMap((id) => Array.from({ length: id <= 2 ? 10 : 1 }, (_, n) => sample(id, n, id + n))),
      commits: [{ group: "f", node: "g", epoch: "e", ranges: [[0, 0]] }],
    };
    await server.restart({ "max-series-per-database": await count("SHOW SERIES") });
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(store.write(batch)).rejects.toMatchObject({
        code: "STORE_LIMIT",
        remedy: expect.stringContaining("raise max-series-per-database"),
      });
    }
    // Some samples of the two are there by now (1.6 leaves out more lines than it tells), and nothing counts.
    const found = await count('SELECT * FROM "sample"');
    expect(found).toBeGreaterThan(2);
    expect(found).toBeLessThan(2 + 22);
    expect([await store.committed(), await store.lastTx()]).toEqual([[], 1]);
    await server.restart({ "max-series-per-database": 0 });
    expect(await store.write(batch)).toMatchObject({ tx: 2, written: 22, duplicates: 0, conflicts: 0 });
    expect(await store.committed()).toEqual(batch.commits);
    for (const [i, id] of series.entries()) {
      const rows = (await readAll(store, id)).map(brief).filter(([ms]) => ms >= 0);
      expect(rows).toEqual(Array.from({ length: i < 2 ? 10 : 1 }, (_, n) => [n, id + n]));
    }
    expect(await count('SELECT * FROM "sample"')).toBe(2 + 22);
    expect(await store.write(batch)).toMatchObject({ written: 0, duplicates: 22 });
  });

  it("for the values of a tag: those that are there go on, and new ones get the numbers that they were first given", async () => {
    const [first] = (await makeSeries(store, ["a"])) as [number];
    await server.restart({ "max-values-per-tag": 1 });
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(makeSeries(store, ["b", "c", "d", "e"])).rejects.toMatchObject({
        code: "STORE_LIMIT",
        remedy: expect.stringContaining("raise max-values-per-tag"),
      });
    }
    expect(await store.write({ samples: [sample(first, 0, 1)], commits: [] })).toMatchObject({ written: 1 });
    await server.restart({ "max-values-per-tag": 0 });
    expect(await makeSeries(store, ["b", "c", "d", "e", "f"])).toEqual([2, 3, 4, 5, 6]);
    await store.close();
    store = await openInfluxTelemetry({ ...settingOf(server.url, "limits"), log });
    expect((await store.series()).map(({ id, metric }) => [metric, id])).toEqual(
      ["a", "b", "c", "d", "e", "f"].map((metric, i) => [metric, i + 1]),
    );
  });
});
