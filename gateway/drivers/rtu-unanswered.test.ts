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

it("takes any answer for that to an unknown request of before, and then, until its order is proven, for one whose own is to come", () => {
  let nowMs = 0;
  const unknown = (untilMs: number) => createUnanswered(() => nowMs, untilMs);
  const doubts = ({ has, hasCode }: ReturnType<typeof unknown>) => [has(3, 4), has(4, 2), hasCode(3), hasCode(4)];
  const unanswered = unknown(20_000);
  expect(doubts(unanswered)).toEqual([true, true, true, true]);
  unanswered.answered({ code: 3, bytes: 4 });
  expect(doubts(unanswered)).toEqual([true, false, true, false]);
  // Of what is known an answer proves nothing.
  unanswered.answered({ code: 4, bytes: 2 });
  expect(doubts(unanswered)).toEqual([true, false, true, false]);
  const [identified, waited, cleared] = [unknown(20_000), unknown(90_000), unknown(20_000)];
  identified.answered();
  cleared.clear();
  nowMs = 20_000;
  expect([identified, cleared, unknown(20_000)].flatMap(doubts)).not.toContain(true);
  expect(waited.hasCode(3)).toBe(true);
  nowMs = 60_000;
  expect(waited.hasCode(3)).toBe(false);
});
