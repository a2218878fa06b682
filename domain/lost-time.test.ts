import { expect, it } from "vitest";
import { lostTimes } from "./lost-time.ts";
import { hourMs } from "./periods.ts";

const at = 500_000 * hourMs;

it("takes of each hour the share that is not stored, rounded up, and of an open hour of what has passed", () => {
  const losses = [
    { device: "a", hourMs: at, queued: 3, stored: 2 },
    { device: "a", hourMs: at + hourMs, queued: 7, stored: 6 },
    { device: "b", hourMs: at, queued: 1_000_000_000_000, stored: 999_999_999_999 },
    { device: "c", hourMs: at, queued: 5, stored: 6 },
    { device: "d", hourMs: at - hourMs, queued: 5, stored: 0 },
  ];
  expect(lostTimes(losses, at, at + 2 * hourMs)).toEqual(
    new Map([
      ["a", 1_200_000 + 514_286],
      ["b", 1],
    ]),
  );
  expect(lostTimes(losses, at, at + 1000)).toEqual(
    new Map([
      ["a", 334],
      ["b", 1],
    ]),
  );
  expect(lostTimes(losses, at, at)).toEqual(new Map());
});
