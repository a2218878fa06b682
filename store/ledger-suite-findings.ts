/** What every ledger must do with findings. */
import { dayMs } from "@jilian/domain/periods.ts";
import { expect, it } from "vitest";
import type { FindingLook } from "./findings.ts";
import type { Ledger } from "./ledger.ts";

/** @param another the same ledger, opened a second time */
export function findingTests(ledger: () => Ledger, another: () => Ledger): void {
  const look = (day: number, found: readonly string[], over: Partial<FindingLook> = {}): FindingLook => ({
    ...{
      place: "f1",
      period: "day",
      startMs: day * dayMs,
      codes: ["SUM", "DUE"],
      inputWatermark: 5,
      registryVersion: "r1",
    },
    found: found.map((detail) => ({ code: "SUM", subject: "f1", detail })),
    ...over,
  });
  const one = () => another().findings(1)[0];

  it("keeps one finding for each code and subject, newest first", () => {
    ledger().noteFinding({ code: "CONFLICT", subject: "a", detail: "1 != 2" }, 10);
    ledger().noteFinding({ code: "CONFLICT", subject: "b", detail: "x" }, 20);
    ledger().noteFinding({ code: "CONFLICT", subject: "a", detail: "1 != 3" }, 30);
    const a = { code: "CONFLICT", subject: "a", detail: "1 != 3", firstMs: 10, lastMs: 30, count: 2 };
    expect(another().findings(1)).toEqual([{ ...a, closedMs: null, closedBy: null }]);
    expect(
      another()
        .findings(10)
        .map((f) => f.subject),
    ).toEqual(["a", "b"]);
  });

  it("raises a finding for each period once, whatever number of looks show it", () => {
    for (const atMs of [10, 20]) ledger().judgeFindings([look(1, ["one"]), look(2, ["two"])], atMs);
    expect(one()).toEqual({
      ...{
        code: "SUM",
        subject: "f1",
        detail: "two",
        firstMs: 10,
        lastMs: 10,
        count: 2,
        closedMs: null,
        closedBy: null,
      },
    });
    ledger().judgeFindings([look(1, ["one, more"])], 30);
    // It speaks of the last period that is open.
    expect(one()).toMatchObject({ detail: "two", count: 2 });
  });

  it("closes one with its last open period, says what cured it, and opens it again", () => {
    ledger().judgeFindings([look(1, ["one"]), look(2, ["two"])], 10);
    ledger().judgeFindings([look(2, [], { inputWatermark: 9 })], 20);
    expect(one()).toMatchObject({ detail: "one", closedMs: null });
    ledger().judgeFindings([look(1, [], { registryVersion: "r2" })], 30);
    expect(one()).toMatchObject({ closedMs: 30, closedBy: "registry r2, it was found with r1", count: 2 });
    expect(another().findingPeriods("SUM", "f1", 9)).toMatchObject([
      { startMs: dayMs, detail: "one", raisedMs: 10, closedMs: 30, closedBy: "registry r2, it was found with r1" },
      { startMs: 2 * dayMs, closedMs: 20, closedBy: "readings up to transaction 9, it was found with those up to 5" },
    ]);
    ledger().judgeFindings([look(2, [], { inputWatermark: 11 })], 40);
    expect(another().findingPeriods("SUM", "f1", 9)[1]).toMatchObject({ closedMs: 20 });
    ledger().judgeFindings([look(2, ["two again"])], 50);
    expect(one()).toMatchObject({ detail: "two again", closedMs: null, closedBy: null, count: 3, lastMs: 50 });
    expect(another().findingPeriods("SUM", "f1", 9)[1]).toMatchObject({ raisedMs: 50, closedMs: null });
  });

  it("closes nothing that a look did not look at: other places, periods and checks, and what has no period", () => {
    ledger().judgeFindings([look(1, ["one"])], 10);
    ledger().noteFinding({ code: "DUE", subject: "x", detail: "noted" }, 10);
    const elsewhere = [
      look(1, [], { place: "f2" }),
      look(1, [], { period: "hour" }),
      look(2, []),
      look(1, [], { codes: ["DUE"] }),
    ];
    ledger().judgeFindings(elsewhere, 20);
    expect(another().findings(9)).toMatchObject([{ closedMs: null }, { closedMs: null }]);
    ledger().judgeFindings([look(1, [])], 30);
    ledger().noteFinding({ code: "SUM", subject: "f1", detail: "seen elsewhere" }, 40);
    expect(one()).toMatchObject({ detail: "seen elsewhere", closedMs: null, closedBy: null });
  });
}
