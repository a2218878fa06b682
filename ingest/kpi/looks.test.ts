import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { lookPace } from "./looks.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Looks when it is due, a hundred times in 10 ms each; a look takes a time. @returns when it looked at short periods, and at long ones */
async function looked(paceMs: number, tookMs: number, isBusy: boolean): Promise<{ short: number[]; long: number[] }> {
  const pace = lookPace(paceMs);
  const from = performance.now();
  const at: { short: number[]; long: number[] } = { short: [], long: [] };
  for (let i = 0; i < 100; i += 1) {
    const { short, long } = pace.due(false, isBusy);
    if (long) at.long.push(performance.now() - from);
    if (short) {
      at.short.push(performance.now() - from);
      await pace.took(async () => vi.advanceTimersByTime(tookMs));
    }
    vi.advanceTimersByTime(10);
  }
  return at;
}

test("short periods are looked at at the pace, long ones twelve times more seldom", async () => {
  const { short, long } = await looked(50, 0, true);
  expect(short).toEqual(Array.from({ length: 20 }, (_, i) => i * 50));
  expect(long).toEqual([0, 600]);
});

test("a look that takes longer than the pace rests as long as it took while something else waits, and then alone", async () => {
  const gaps = ({ short }: { short: number[] }) => new Set(short.slice(1).map((at, i) => at - (short[i] as number)));
  expect(gaps(await looked(50, 100, true))).toEqual(new Set([200]));
  expect(gaps(await looked(50, 100, false))).toEqual(new Set([110]));
});

test("long periods keep their pace while something else waits, however long a look takes", async () => {
  expect((await looked(50, 100, true)).long).toEqual([0, 600, 1200, 1800]);
});

test("a pace of nothing is a look with every tick", async () => {
  expect((await looked(0, 100, true)).short).toHaveLength(100);
});
