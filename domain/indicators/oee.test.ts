import { expect, test } from "vitest";
import { hourMs, minuteMs } from "../periods.ts";
import { oee } from "./oee.ts";
import { ratioOf } from "./ratio.ts";

const terms = {
  apt: BigInt(6 * hourMs + 24 * minuteMs),
  pbt: BigInt(8 * hourMs),
  planned_run_time: BigInt(minuteMs) * 360n * 10n ** 12n,
  "production.total": 360_000_000n,
  "production.good": 342_000_000n,
};

test("by hand from the standard's formula: A 0.8 x E 0.9375 x Q 0.95 = 0.7125", () => {
  expect(ratioOf(oee, terms)).toEqual({ value: "0.7125", reason: null });
});

test("the product is rounded once, not the factors", () => {
  // A = 1/3, E = 1/7 and Q = 1/3: 1/63; of factors at six places it would be 0.015872.
  const thirds = { apt: 7n, pbt: 21n, planned_run_time: 10n ** 12n, "production.total": 3n, "production.good": 1n };
  expect(ratioOf(oee, thirds).value).toBe("0.015873");
});

test("it is null for the first of its factors that is", () => {
  expect(ratioOf(oee, { ...terms, pbt: 0n }).reason).toBe("not_planned");
  expect(ratioOf(oee, { ...terms, apt: 0n }).reason).toBe("not_running");
  expect(ratioOf(oee, { ...terms, "production.total": 0n }).reason).toBe("no_production");
  expect(ratioOf(oee, { ...terms, "production.good": 0n }).value).toBe("0");
});
