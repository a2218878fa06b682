import { expect, test } from "vitest";
import { hourMs, minuteMs } from "../periods.ts";
import { oeeAvailability } from "./oee-availability.ts";
import { ratioOf } from "./ratio.ts";

test("by hand from the standard's formula, A: APT 6 h 24 min of PBT 8 h: 0.8", () => {
  const terms = { apt: BigInt(6 * hourMs + 24 * minuteMs), pbt: BigInt(8 * hourMs) };
  expect(ratioOf(oeeAvailability, terms)).toEqual({ value: "0.8", reason: null });
});

test("a machine that stood still in its planned time is at 0; one without planned time at nothing", () => {
  expect(ratioOf(oeeAvailability, { apt: 0n, pbt: 1n }).value).toBe("0");
  expect(ratioOf(oeeAvailability, { apt: 0n, pbt: 0n })).toEqual({ value: null, reason: "not_planned" });
});
