import { expect, it } from "vitest";
import { shareFor } from "./share.ts";

it("makes a thing once for all who ask, again after its time, and shares no failure", async () => {
  let made = 0;
  const shared = shareFor(60_000, async () => ++made);
  expect(await Promise.all([shared(), shared(), shared()])).toEqual([1, 1, 1]);
  const brief = shareFor(0, async () => ++made);
  expect([await brief(), await brief()]).toEqual([2, 3]);
  const failing = shareFor(60_000, async () => {
    made += 1;
    if (made === 4) throw new Error("once");
    return made;
  });
  await expect(failing()).rejects.toThrow("once");
  expect(await failing()).toBe(5);
});
