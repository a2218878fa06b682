import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { fencedLedger } from "../leases.ts";
import type { Ledger } from "../ledger.ts";
import { figure } from "../ledger-suite.ts";
import { openLedger } from "./ledger.ts";

let folder = "";
let ledger: Ledger;
let other: DatabaseSync;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "leases-"));
  const path = join(folder, "ledger.sqlite");
  ledger = openLedger({ path, log: pino({ level: "silent" }) });
  other = new DatabaseSync(path, { timeout: 0 });
});
afterEach(() => {
  other.close();
  ledger.close();
  rmSync(folder, { recursive: true });
});

it("is held by one at a time, under an epoch of its own", () => {
  expect(ledger.lease("a")).toBeUndefined();
  expect(ledger.takeLease("a", "one")).toBe(1);
  const seen = ledger.lease("a");
  expect(seen).toMatchObject({ epoch: 1, holder: "one" });
  expect(ledger.takeLease("a", "two")).toBeUndefined();
  expect(ledger.renewLease("a", 1)).toBe(true);
  expect(ledger.takeLease("a", "two", seen), "it has given a sign of life since").toBeUndefined();
  expect(ledger.takeLease("a", "two", ledger.lease("a"))).toBe(2);
  expect(ledger.renewLease("a", 1)).toBe(false);
  ledger.releaseLease("a", 1);
  expect(ledger.lease("a")).toMatchObject({ epoch: 2, holder: "two" });
  ledger.releaseLease("a", 2);
  expect(ledger.renewLease("a", 2)).toBe(false);
  expect(ledger.takeLease("a", "three")).toBe(3);
  expect(ledger.takeLease("b", "three")).toBe(1);
});

it("is looked at under the lock of the write, once in a transaction, and results carry its epoch", () => {
  let looks = 0;
  const fenced = fencedLedger(ledger, {
    epoch: 7,
    hold: () => {
      looks += 1;
      expect(() => other.exec("BEGIN IMMEDIATE"), "nobody else can write now").toThrow("locked");
    },
  });
  fenced.transaction(() => {
    fenced.setNumber("a", 1);
    fenced.writeResults([figure()]);
  });
  expect(looks).toBe(1);
  fenced.writeResults([figure({ status: "final" })]);
  fenced.writeResults([figure({ status: "revised", revision: 1, value: "2" })]);
  expect(looks).toBe(3);
  expect(fenced.revisions(figure()).map(({ leaseEpoch }) => leaseEpoch)).toEqual([7, 7]);
  expect(looks, "who reads needs none").toBe(3);
});

it("that is not held lets nothing through, and what was begun is undone", () => {
  let isHeld = true;
  const hold = () => {
    if (!isHeld) throw new Error("lost");
  };
  const fenced = fencedLedger(ledger, { epoch: 1, hold });
  expect(() =>
    fenced.transaction(() => {
      fenced.setNumber("a", 1);
      throw new Error("other");
    }),
  ).toThrow("other");
  isHeld = false;
  expect(() => fenced.setNumber("a", 2)).toThrow("lost");
  expect(() => fenced.writeResults([figure()])).toThrow("lost");
  expect(() => fenced.judgeFindings([], 1)).toThrow("lost");
  expect(() => fenced.noteHours([1])).toThrow("lost");
  expect(() => fenced.writeAlarms([], 1)).toThrow("lost");
  expect(() => fenced.writeStored([])).toThrow("lost");
  expect(fenced.getNumber("a")).toBeUndefined();
  expect(fenced.changeLog().last).toBe(0);
});
