import { join } from "node:path";
import { codeOf } from "@jilian/domain/errors.ts";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import type { Telemetry, WriteBatch } from "../telemetry.ts";
import { makeSeries, readAll, sample } from "../telemetry-fixtures.ts";
import { hasSmallDisks, type SmallDisk, smallDisk } from "../test-disk.ts";
import { openTelemetry } from "./telemetry.ts";

const log = pino({ level: "silent" });
const perSeries = 400;

describe.skipIf(!hasSmallDisks())("a disk that is full (skipped where no small disk can be mounted)", () => {
  let disk: SmallDisk;
  afterEach(() => disk.remove());

  const open = () => openTelemetry({ path: join(disk.path, "telemetry.duckdb"), memoryLimitMb: 256, threads: 1, log });
  const makeRoom = () => disk.resize(128);

  /** 16,000 samples and the range of one record. */
  const batchOf = (series: readonly number[], n: number): WriteBatch => ({
    samples: series.flatMap((id) =>
      Array.from({ length: perSeries }, (_, k) => sample(id, n * perSeries + k, Math.sin(n * perSeries + k))),
    ),
    commits: [{ group: "f", node: "g", epoch: "e", ranges: [[n, n]] }],
  });

  /** Writes until the store refuses; returns how many batches it confirmed. */
  async function fill(store: Telemetry, series: readonly number[]): Promise<{ confirmed: number; error: unknown }> {
    for (let n = 0; ; n += 1) {
      const error = await store.write(batchOf(series, n)).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error !== undefined) return { confirmed: n, error };
    }
  }

  async function expectWhole(store: Telemetry, series: readonly number[], batches: number): Promise<void> {
    expect(await store.committed()).toEqual([{ group: "f", node: "g", epoch: "e", ranges: [[0, batches - 1]] }]);
    for (const id of [series.at(0), series.at(-1)] as number[])
      expect(await readAll(store, id)).toHaveLength(batches * perSeries);
  }

  it("no room for a commit: nothing more is confirmed, what is stored is read, and writing goes on once there is room", async () => {
    disk = smallDisk(12);
    const store = await open();
    const series = await makeSeries(
      store,
      Array.from({ length: 40 }, (_, i) => `m${i}`),
    );
    const { confirmed, error } = await fill(store, series);
    expect(confirmed).toBeGreaterThan(3);
    expect(error).toMatchObject({ code: "STORE_FAILED", message: expect.stringContaining("No space left") });
    for (let again = 0; again < 5; again += 1) {
      expect(codeOf(await store.write(batchOf(series, confirmed)).catch((thrown: unknown) => thrown))).toBe(
        "STORE_FAILED",
      );
    }
    await expectWhole(store, series, confirmed);
    makeRoom();
    for (let n = confirmed; n < confirmed + 5; n += 1) await store.write(batchOf(series, n));
    await expectWhole(store, series, confirmed + 5);
    await store.close();
    const later = await open();
    await expectWhole(later, series, confirmed + 5);
    await later.close();
  });

  it("no room for a checkpoint: the store says that it has ended, and opens again with all it confirmed once there is room", async () => {
    disk = smallDisk(18);
    const store = await open();
    const series = await makeSeries(
      store,
      Array.from({ length: 40 }, (_, i) => `m${i}`),
    );
    const { confirmed } = await fill(store, series);
    expect(await store.failed).toMatchObject({ message: expect.stringContaining("No space left") });
    // A supervisor starts it again and again meanwhile: that must not make it worse.
    for (let again = 0; again < 2; again += 1) {
      await open().then(
        (early) => early.close().catch(() => undefined),
        (thrown) => expect(codeOf(thrown)).toMatch(/^STORE_/),
      );
    }
    makeRoom();
    const later = await open();
    const [held] = await later.committed();
    const batches = (held?.ranges[0]?.[1] ?? -1) + 1;
    // The batch amid which it ended may be stored, and then is so with its range.
    expect([confirmed, confirmed + 1]).toContain(batches);
    await expectWhole(later, series, batches);
    await later.write(batchOf(series, confirmed));
    await expectWhole(later, series, confirmed + 1);
    await later.close();
  });
});
