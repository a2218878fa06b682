import { hourMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { expect, it } from "vitest";
import type { Ledger, LoggedResult, PinnedQuery } from "./ledger.ts";

/** The part of the ledger's suite about the change log, and who has a credential. `figure` makes one figure of one hour. */

const startMs = Date.UTC(2026, 10, 22, 0);

type Make = (over?: Partial<Result>) => Result;
type Open = () => Ledger;

/** The whole log, read in steps of `limit`, each from the last number of the one before. */
function follow(ledger: Ledger, limit: number): LoggedResult[] {
  const found: LoggedResult[] = [];
  for (let at = 0; ; at = found.at(-1)?.change ?? 0) {
    const step = ledger.changesAfter(at, limit);
    expect(step.length).toBeLessThanOrEqual(limit);
    if (step.length === 0) return found;
    found.push(...step);
  }
}

const said = (r: LoggedResult) => `${r.change} ${r.entity} ${r.value} ${r.status}`;

function logTests(ledger: Open, another: Open, figure: Make): void {
  it("gives the log in its order, old revisions in their places, replaced provisional looks left out", () => {
    const a = (over: Partial<Result>) => figure({ entity: "a", ...over });
    const b = (over: Partial<Result>) => figure({ entity: "b", ...over });
    expect(ledger().changeLog()).toEqual({ id: another().changeLog().id, last: 0 });
    expect(ledger().changesAfter(0, 10)).toEqual([]);
    for (const step of [
      a({ value: "1" }),
      b({ value: "1" }),
      a({ value: "2", status: "final" }),
      b({ value: "2" }),
      a({ value: "3", status: "revised", revision: 1 }),
      b({ value: "2", status: "final" }),
      a({ value: "4", status: "revised", revision: 2 }),
    ])
      ledger().writeResults([step]);
    const whole = ["3 a 2 final", "5 a 3 revised", "6 b 2 final", "7 a 4 revised"];
    for (const limit of [1, 2, 3, 10]) expect(follow(another(), limit).map(said)).toEqual(whole);
    expect(another().changeLog().last).toBe(7);
    expect(another().changesAfter(5, 10).map(said)).toEqual(whole.slice(2));
    expect(another().changesAfter(7, 10)).toEqual([]);
    expect(another().changesAfter(99, 10)).toEqual([]);
    expect(another().revisions(a({})).map(said)).toEqual(["3 a 2 final", "5 a 3 revised", "7 a 4 revised"]);
    expect(another().revisions(b({ entity: "c" }))).toEqual([]);
  });

  it("shows the log of a transaction only when it is done, all of it at once", () => {
    const reader = another();
    ledger().transaction(() => {
      ledger().writeResults([figure({ entity: "a" }), figure({ entity: "b" })]);
      expect(reader.changeLog().last).toBe(0);
      expect(reader.changesAfter(0, 10)).toEqual([]);
    });
    expect(reader.changesAfter(0, 10)).toHaveLength(2);
  });
}

function pinTests(ledger: Open, another: Open, figure: Make): void {
  const query = { level: "factory", period: "hour", fromMs: startMs, toMs: startMs + 9 * hourMs, limit: 100 } as const;
  const hours = (over: Partial<Result> = {}, from = 0, to = 4) =>
    Array.from({ length: to - from }, (_, i) =>
      ["a", "b"].map((entity) =>
        figure({ entity, startMs: startMs + (from + i) * hourMs, status: "final", value: `${from + i}`, ...over }),
      ),
    ).flat();
  /** Page by page as of a change; `between` runs after each. */
  const pages = (over: Partial<PinnedQuery>, limit: number, between = () => {}) => {
    const asOfChange = another().changeLog().last;
    const found: LoggedResult[] = [];
    for (;;) {
      const last = found.at(-1);
      const after = last && ([last.startMs, last.entity, last.indicator] as const);
      const page = another().readResultsAsOf({ ...query, asOfChange, limit, ...over, ...(after && { after }) });
      if (page.length === 0) return found;
      found.push(...page);
      between();
    }
  };

  it("reads figures as of a change: revised and new ones make no difference to what was final then", () => {
    ledger().writeResults(hours());
    const whole = pages({}, 100);
    expect(whole.map(said)).toEqual(ledger().readResults(query).map(said));
    let revision = 0;
    const revise = () => {
      revision += 1;
      ledger().writeResults(hours({ value: `late ${revision}`, status: "revised", revision }));
      ledger().writeResults(hours({}, 4 + revision, 5 + revision));
      ledger().writeResults([figure({ entity: `aa${revision}`, startMs: startMs + hourMs })]);
    };
    for (const limit of [1, 3]) {
      const before = another().readResultsAsOf({ ...query, asOfChange: another().changeLog().last });
      expect(pages({}, limit, revise)).toEqual(before);
    }
    expect(pages({ asOfChange: 8 }, 2, revise)).toEqual(whole);
    expect(pages({ asOfChange: 8, entity: "b", indicator: "energy.electricity" }, 1)).toEqual(
      whole.filter((r) => r.entity === "b"),
    );
    expect(pages({ asOfChange: 3 }, 5).map(said)).toEqual(["1 a 0 final", "2 b 0 final", "3 a 1 final"]);
  });

  it("gives a figure that was provisional then its oldest kept digits after, and the change number that tells", () => {
    ledger().writeResults([figure({ value: "1" })]);
    ledger().writeResults([figure({ value: "2" })]);
    expect(pages({ asOfChange: 1 }, 5)).toMatchObject([{ value: "2", status: "provisional", change: 2 }]);
    ledger().writeResults([figure({ value: "3", status: "final" })]);
    ledger().writeResults([figure({ value: "4", status: "revised", revision: 1 })]);
    expect(pages({ asOfChange: 1 }, 5)).toMatchObject([{ value: "3", status: "final", change: 3 }]);
    expect(pages({ asOfChange: 0 }, 5)).toEqual([]);
  });
}

function listTests(ledger: Open, another: Open): void {
  it("lists who has a credential and since when, without secrets, and withdraws one at once", () => {
    const fromMs = Math.floor(Date.now());
    ledger().setCredential({ kind: "host", name: "ingest" }, "battery staple");
    ledger().setCredential({ kind: "api", name: "ingest" }, "correct-horse");
    ledger().setCredential({ kind: "api", name: "county" }, "correct-horse");
    expect(another().authenticateKey("county.correct-horse")).toBeDefined();
    const listed = another().credentials();
    expect(listed.map(({ kind, name }) => `${kind} ${name}`)).toEqual(["api county", "api ingest", "host ingest"]);
    expect(listed.map((c) => Object.keys(c).sort())).toEqual(Array(3).fill(["createdMs", "kind", "name"]));
    for (const { createdMs } of listed) expect(Math.abs((createdMs ?? 0) - fromMs)).toBeLessThan(10_000);
    expect(ledger().revokeCredential("api", "county")).toBe(true);
    expect(ledger().revokeCredential("api", "county")).toBe(false);
    expect(another().authenticateKey("county.correct-horse")).toBeUndefined();
    expect(another().authenticate("host", "ingest", "battery staple")).toBeDefined();
    expect(another().credentials()).toHaveLength(2);
  });
}

/** What every ledger must do with its log and its credentials. */
export const logSuite = [logTests, pinTests, listTests];
