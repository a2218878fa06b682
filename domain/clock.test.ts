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

  it("follows a file that is set forward and back, and keeps the last setting while that cannot be read", () => {
    let text: string | undefined = "1,5000,1750000000000\n";
    const read = (path: string): string => {
      expect(path).toBe("/run/clock");
      if (text === undefined) throw new Error("it is being written");
      return text;
    };
    const clock = clockFromSetting("@/run/clock", read);
    vi.advanceTimersByTime(100);
    expect([clock.rate, clock.now()]).toEqual([1, 5100]);
    for (const [next, expected] of [
      ["1,3605000,1750000000000", 3_605_200],
      ["1,3605", 3_605_300],
      [undefined, 3_605_400],
      ["1,-3595000,1750000000000", -3_594_500],
    ] as const) {
      text = next;
      vi.advanceTimersByTime(100);
      expect(clock.now()).toBe(expected);
    }
    expect(() => clockFromSetting("@/run/clock", () => "soon")).toThrow(RangeError);
    expect(() => clockFromSetting("@/run/clock")).toThrow(RangeError);
  });

  it.each(["60", "60,1", "60,1,2,3", "0,1,2", "-1,1,2", "x,1,2", "60,1,Infinity", "NaN,0,0"])("refuses %j", (text) => {
    expect(() => clockFromSetting(text)).toThrow(RangeError);
  });
});
