import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { clockFromSetting, scaledClock, systemClock } from "./clock.ts";

describe("clocks", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_750_000_000_000 }));
  afterEach(() => void vi.useRealTimers());

  it("the system clock is the machine's", () => {
    expect(systemClock.now()).toBe(1_750_000_000_000);
    expect(systemClock.rate).toBe(1);
  });

  it("a scaled clock runs from its origin at its rate, in whole milliseconds", () => {
    const clock = scaledClock({ rate: 60, originMs: 1000, startedMs: 1_750_000_000_000 });
    expect(clock.now()).toBe(1000);
    vi.advanceTimersByTime(1500);
    expect(clock.now()).toBe(91_000);
    const slow = scaledClock({ rate: 0.3, originMs: 0, startedMs: 1_750_000_000_000 });
    expect(slow.now()).toBe(450);
    vi.advanceTimersByTime(1);
    expect(slow.now()).toBe(450);
  });

  it("is read from a setting", () => {
    expect(clockFromSetting(undefined)).toBe(systemClock);
    expect(clockFromSetting("")).toBe(systemClock);
    const clock = clockFromSetting("60,5000,1750000000000");
    vi.advanceTimersByTime(100);
    expect([clock.rate, clock.now()]).toEqual([60, 11_000]);
  });

  it.each(["60", "60,1", "60,1,2,3", "0,1,2", "-1,1,2", "x,1,2", "60,1,Infinity", "NaN,0,0"])("refuses %j", (text) => {
    expect(() => clockFromSetting(text)).toThrow(RangeError);
  });
});
