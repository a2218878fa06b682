import { expect, test } from "vitest";
import { hourMs, minuteMs } from "../periods.ts";
import { oeeEffectiveness } from "./oee-effectiveness.ts";
import { ratioOf } from "./ratio.ts";

/** Planned run time: ms at 6 places x pieces at 6 places. */
const planned = (ms: number, pieces: number) => BigInt(ms) * BigInt(pieces) * 10n ** 12n;

test("by hand from the standard's formula, E: PRI 1 min x PQ 360 in APT 6 h 24 min: 0.9375", () => {
  const terms = { planned_run_time: planned(minuteMs, 360), apt: BigInt(6 * hourMs + 24 * minuteMs) };
  expect(ratioOf(oeeEffectiveness, terms)).toEqual({ value: "0.9375", reason: null });
});

test("above 1 it stands as it is; without production time there is none", () => {
  expect(ratioOf(oeeEffectiveness, { planned_run_time: planned(1000, 11), apt: 10_000n }).value).toBe("1.1");
  expect(ratioOf(oeeEffectiveness, { planned_run_time: 0n, apt: 1n }).value).toBe("0");
  expect(ratioOf(oeeEffectiveness, { planned_run_time: 0n, apt: 0n })).toEqual({ value: null, reason: "not_running" });
});
