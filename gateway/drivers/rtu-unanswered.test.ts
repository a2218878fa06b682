import { expect, it } from "vitest";
import { createUnanswered } from "./rtu-unanswered.ts";

it("knows what may still come by function and length, for a minute or until something proves that it does not", () => {
  let nowMs = 0;
  const unanswered = createUnanswered(() => nowMs);
  unanswered.note(3, 4);
  expect([unanswered.has(3, 4), unanswered.has(3, 2), unanswered.has(4, 4)]).toEqual([true, false, false]);
  expect([unanswered.hasCode(3), unanswered.hasCode(4)]).toEqual([true, false]);
  nowMs = 59_999;
  unanswered.note(4, 2);
  nowMs = 60_000;
  expect([unanswered.has(3, 4), unanswered.hasCode(3), unanswered.has(4, 2)]).toEqual([false, false, true]);
  unanswered.clear();
  expect(unanswered.hasCode(4)).toBe(false);
});
