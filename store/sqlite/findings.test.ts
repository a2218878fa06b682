import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { FindingLook } from "../findings.ts";
import { findingLedger } from "./findings.ts";
import { migrate } from "./schema.ts";

let db: DatabaseSync;
beforeEach(() => {
  db = new DatabaseSync(":memory:");
  migrate(db, ":memory:");
});
afterEach(() => db.close());

it("keeps so many periods at most: the oldest go, counted, and their finding stays", () => {
  const ledger = findingLedger(db, (work) => work(), 3);
  const look = (startMs: number, found: boolean): FindingLook => ({
    ...{ place: "f1", period: "hour", startMs, codes: ["SUM"], inputWatermark: 5, registryVersion: "r1" },
    found: found ? [{ code: "SUM", subject: "f1", detail: `hour ${startMs}` }] : [],
  });
  for (const startMs of [5, 1, 4, 2, 3]) ledger.judgeFindings([look(startMs, true)], startMs);
  expect(ledger.findingPeriods("SUM", "f1", 9).map(({ startMs }) => startMs)).toEqual([3, 4, 5]);
  expect(ledger.droppedFindingPeriods()).toBe(2);
  ledger.judgeFindings(
    [3, 4, 5].map((startMs) => look(startMs, false)),
    9,
  );
  // What was found in the two periods that went cannot be looked up any more; the finding is closed with the last that is known.
  expect(ledger.findings(9)).toMatchObject([{ count: 5, closedMs: 9 }]);
});
