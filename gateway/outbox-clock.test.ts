import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { DropReason } from "./model.ts";
import { type OutboxBench, outboxBench, sample } from "./test-outbox.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 5, 1);

let bench: OutboxBench;
let told: DropReason[] = [];
/** The gateway's clock and the machine's timer, each moved by hand. */
let wallMs = startMs;
let timerMs = 0;
let looks = 0;
const machineMs = (): number => {
  looks += 1;
  return timerMs;
};
const clock = { now: () => wallMs, rate: 1 };
beforeEach(() => {
  bench = outboxBench();
  told = [];
  wallMs = startMs;
  timerMs = 0;
});
afterEach(() => bench.close());

const start = (options = {}) =>
  bench.start({
    ...{ clock, machineMs, maxAgeMs: 10 * dayMs, fsyncMs: 1 },
    onDropped: (_device, _samples, reason) => void told.push(reason),
    ...options,
  });

/** Time passes; the outbox looks at it at its next tick. */
function pass(ms: number): void {
  wallMs += ms;
  timerMs += ms;
}

/** Some ticks of the outbox have gone by: each looks at both clocks. */
async function ticks(): Promise<void> {
  const from = looks;
  await vi.waitFor(() => expect(looks).toBeGreaterThan(from + 3), { timeout: 5000, interval: 1 });
}

const offsets = (outbox: ReturnType<typeof start>) => outbox.pending(0, 100).map(({ record }) => record.offset);

describe("readings older than maxAgeMs", () => {
  test("are dropped, the oldest first, counted and told, with a clock that has run steadily for an hour", async () => {
    const outbox = start();
    for (let i = 0; i < 3; i += 1) {
      outbox.write("press", [sample(1, i)]);
      pass(dayMs);
    }
    pass(8.5 * dayMs);
    await vi.waitFor(() => expect(offsets(outbox)).toEqual([2]), { timeout: 5000, interval: 5 });
    expect(told).toEqual(["age", "age"]);
    expect(outbox.stats()).toMatchObject({ droppedSamples: 2, droppedByReason: { full: 0, age: 2, unwritable: 0 } });
    await bench.stop(outbox);
    expect(bench.start({ clock }).stats()).toMatchObject({ pendingRecords: 1, droppedByReason: { age: 2 } });
  });

  test("stay while the clock has not run steadily for an hour since the start", async () => {
    const first = start();
    first.write("press", [sample(1)]);
    await bench.stop(first);
    pass(60 * dayMs);
    timerMs = 0;
    const second = start();
    pass(hourMs - 1);
    await ticks();
    expect(offsets(second)).toEqual([0]);
    pass(2);
    await vi.waitFor(() => expect(offsets(second)).toEqual([]), { timeout: 5000, interval: 5 });
  });

  test("are not what a clock makes old that is set ahead by a year, however long it runs on, also after a restart", async () => {
    const first = start();
    first.write("press", [sample(1)]);
    pass(2 * hourMs);
    await ticks();
    wallMs += 365 * dayMs;
    first.write("press", [sample(1)]);
    pass(2 * hourMs);
    await ticks();
    expect(offsets(first)).toEqual([0, 1]);
    await bench.stop(first);
    const second = start();
    pass(2 * hourMs);
    await ticks();
    expect(offsets(second)).toEqual([0, 1].map(() => expect.any(Number)));
    // And back: the record of the year to come has no age below 0 that would hold up the others.
    wallMs -= 365 * dayMs;
    pass(9 * dayMs);
    await ticks();
    expect(second.stats().pendingRecords).toBe(2);
    pass(1.5 * dayMs);
    await vi.waitFor(() => expect(second.stats().pendingRecords).toBe(0), { timeout: 5000, interval: 5 });
    expect(told).toEqual(["age", "age"]);
  });

  test("are not those of a box that starts in 1970 and learns the date later", async () => {
    wallMs = 5000;
    const outbox = start();
    outbox.write("press", [sample(1, "1970")]);
    pass(2 * hourMs);
    await ticks();
    wallMs = startMs;
    outbox.write("press", [sample(1, "2026")]);
    pass(20 * dayMs);
    await ticks();
    // The first has no age that could be told, and what is behind it waits with it: oldest first.
    expect(outbox.stats()).toMatchObject({ pendingRecords: 2, droppedSamples: 0 });
    outbox.commit(outbox.epoch, [[0, 0]]);
    await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBe(0), { timeout: 5000, interval: 5 });
  });
});

describe("times of writing", () => {
  test("never fall within an epoch: a small step back waits, a large one begins another epoch", async () => {
    const outbox = start();
    const first = outbox.write("press", [sample(1)]);
    wallMs -= 900;
    const second = outbox.write("press", [sample(1)]);
    expect(second).toMatchObject({ epoch: first?.epoch, offset: 1, writtenAtMs: first?.writtenAtMs });
    const { starts } = outbox.identity;
    wallMs -= hourMs;
    const third = outbox.write("press", [sample(1)]);
    expect(third).toMatchObject({ offset: 0, writtenAtMs: wallMs, epoch: outbox.epoch });
    expect(third?.epoch).not.toBe(first?.epoch);
    expect(outbox.identity.starts).toBe(starts + 1);
    // The records before stay under their epoch.
    expect(outbox.pending(0, 10).map(({ record }) => [record.epoch, record.offset])).toEqual([
      [first?.epoch, 0],
      [first?.epoch, 1],
      [third?.epoch, 0],
    ]);
    expect(outbox.commit(first?.epoch as string, [[0, 9]])).toBe(2);
    await bench.stop(outbox);
    expect(start().stats().pendingRecords).toBe(1);
  });
});
