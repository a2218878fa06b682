import fs, { copyFileSync, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { raiseNote } from "./model.ts";
import { bench, benchPerTest, sample } from "./test-outbox.ts";

benchPerTest();

/** The files as they are while the outbox is open: what a sudden end leaves, when everything reached the medium. */
function copyOpen(path = bench.path): string {
  const copy = `${path}-copy`;
  for (const suffix of ["", "-wal"]) if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
  return copy;
}

describe("source times", () => {
  async function after(end: "closed" | "killed", boot: string, options = {}) {
    const own = join(bench.folder, `${boot}-${end}.db`);
    const first = bench.start({ path: own, bootId: "boot-1", ...options });
    first.write("press", [sample(1)]);
    const lastMs = first.lastSourceTimeMs("press");
    if (end === "closed") await bench.stop(first);
    const path = end === "closed" ? own : copyOpen(own);
    const second = bench.start({ bootId: boot, ...options, path });
    return { raisedMs: second.lastSourceTimeMs("press") - lastMs, told: second.raisedMs, second, lastMs, path };
  }

  test("go on as they are after an end in order, and after a killed process of the same boot", async () => {
    expect(await after("closed", "boot-2")).toMatchObject({ raisedMs: 0, told: 0 });
    expect(await after("killed", "boot-1")).toMatchObject({ raisedMs: 0, told: 0 });
  });

  test("are raised after a power cut by what may have been sent and lost, also of a device that was lost as a whole", async () => {
    const { raisedMs, told, second, lastMs, path } = await after("killed", "boot-2");
    expect([raisedMs, told]).toEqual([2000, 2000]);
    expect(second.lastSourceTimeMs("never seen")).toBe(lastMs + 2000);
    // The raise itself is on disk: it is not made again, and told until the accounts have made it theirs, whoever opens the file first.
    await bench.stop(second);
    const third = bench.start({ bootId: "boot-2", path });
    expect([third.lastSourceTimeMs("press"), third.raisedMs]).toEqual([lastMs + 2000, 2000]);
    third.note(raiseNote, undefined);
    await bench.stop(third);
    const fourth = bench.start({ bootId: "boot-2", path });
    expect([fourth.lastSourceTimeMs("press"), fourth.raisedMs]).toEqual([lastMs + 2000, 0]);
  });

  test("are raised in the clock's own rate, and by more where fsync is rarer or is not ours", async () => {
    const clock = { now: () => 1_760_000_000_000, rate: 60 };
    expect((await after("killed", "boot-2", { clock })).raisedMs).toBe(120_000);
    expect((await after("killed", "boot-3", { fsyncMs: 5000 })).raisedMs).toBe(20_000);
    expect((await after("killed", "boot-4", { durability: "process" })).raisedMs).toBe(60_000);
  });
});

/** Counts the fsyncs of the group. */
function countSyncs(): () => number {
  const spy = vi.spyOn(fs, "fdatasync");
  return () => spy.mock.calls.length;
}

describe("durability", () => {
  test("power-cut syncs what was written, once a group; process leaves that to the operating system", async () => {
    const syncs = countSyncs();
    const synced = bench.start({ fsyncMs: 5 });
    synced.write("press", [sample(1)]);
    await vi.waitFor(() => expect(syncs()).toBeGreaterThan(0));
    await bench.stop(synced);
    const before = syncs();
    let ticks = 0;
    const machineMs = (): number => ++ticks;
    const unsynced = bench.start({ fsyncMs: 5, durability: "process", machineMs });
    for (let i = 0; i < 20; i += 1) unsynced.write("press", [sample(1)]);
    const from = ticks;
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(from + 5), { interval: 5 });
    expect(syncs()).toBe(before);
    // A killed process costs nothing all the same.
    expect(bench.start({ path: copyOpen() }).stats().pendingRecords).toBe(21);
  });

  test("a sync that fails is told, tried again, and made good by copying the log into the database", async () => {
    const spy = vi.spyOn(fs, "fdatasync").mockImplementation((_, done) => done(new Error("EIO: i/o error, fdatasync")));
    const outbox = bench.start({ fsyncMs: 5 });
    const pageBytes = statSync(bench.path).size;
    for (let i = 0; i < 50; i += 1) outbox.write("press", [sample(1, "x".repeat(1000))]);
    await vi.waitFor(() => expect(spy.mock.calls.length).toBeGreaterThan(2));
    expect(bench.codes().filter((code) => code === "OUTBOX_FSYNC")).toHaveLength(1);
    expect(statSync(bench.path).size).toBe(pageBytes);
    spy.mockRestore();
    await vi.waitFor(() => expect(statSync(bench.path).size).toBeGreaterThan(pageBytes + 40_000));
    expect(outbox.stats().pendingRecords).toBe(50);
  });
});

test("a file that grew to its peak gives the space back also when the process is started again before it was", async () => {
  const outbox = bench.start({ fsyncMs: 60_000 });
  for (let i = 0; i < 5000; i += 1) outbox.write("press", [sample(1, "x".repeat(2000))]);
  outbox.commit(outbox.epoch, [[0, 4998]]);
  const path = copyOpen();
  expect(statSync(path).size + statSync(`${path}-wal`).size).toBeGreaterThan(10_000_000);
  const next = bench.start({ path, fsyncMs: 1 });
  await vi.waitFor(() => expect(statSync(path).size).toBeLessThan(2_000_000), { timeout: 20_000, interval: 20 });
  expect(next.stats().pendingRecords).toBe(1);
  await bench.stop(next);
  expect(existsSync(`${path}-wal`)).toBe(false);
});
