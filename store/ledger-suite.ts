import { hourMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ledger, Principal } from "./ledger.ts";
import { certificateTests } from "./ledger-suite-certificates.ts";
import { completenessTests } from "./ledger-suite-completeness.ts";
import { findingTests } from "./ledger-suite-findings.ts";
import { logSuite } from "./ledger-suite-log.ts";

/** One empty database; `open` opens it again and again, as several processes would. `dispose` closes what is open and removes it. */
export type LedgerUnderTest = { open: () => Ledger; dispose: () => void };

const startMs = Date.UTC(2026, 10, 22, 0);

/** A figure of one hour of one factory. */
export function figure(over: Partial<Result> = {}): Result {
  const from = over.startMs ?? startMs;
  return {
    indicator: "energy.electricity",
    level: "factory",
    entity: "zhuji-1",
    period: "hour",
    startMs: from,
    endMs: from + hourMs,
    value: "12.5",
    reason: null,
    unit: "kWh",
    completeness: 0.9875,
    estimatedShare: 0,
    lowerBound: false,
    status: "provisional",
    revision: 0,
    definitionVersion: 1,
    factorTable: null,
    registryVersion: "0123456789ab",
    inputWatermark: 41,
    asOfMs: from + hourMs + 5,
    simulated: true,
    ...over,
  };
}

const gateway = { kind: "gateway", name: "zhuji-1/gw-1", group: "zhuji-1", node: "gw-1" } satisfies Principal;
const host: Principal = { kind: "host", name: "ingest" };
const supervisor: Principal = { kind: "api", name: "supervisor.a" };

function credentialTests(ledger: () => Ledger, another: () => Ledger): void {
  it("lets in the right secret and nothing else", () => {
    ledger().setCredential(gateway, "correct horse");
    ledger().setCredential(host, "battery staple");
    for (let again = 0; again < 2; again += 1) {
      expect(ledger().authenticate("gateway", gateway.name, "correct horse")).toEqual(gateway);
      expect(ledger().authenticate("host", "ingest", "battery staple")).toEqual(host);
      expect(ledger().authenticate("gateway", gateway.name, "battery staple")).toBeUndefined();
      expect(ledger().authenticate("gateway", "zhuji-1/gw-2", "correct horse")).toBeUndefined();
      expect(ledger().authenticate("host", gateway.name, "correct horse")).toBeUndefined();
      expect(ledger().authenticate("gateway", gateway.name, "")).toBeUndefined();
    }
  });

  it("counts a credential that another session replaced at once, remembered verdicts included", () => {
    ledger().setCredential(gateway, "first secret");
    expect(ledger().authenticate("gateway", gateway.name, "first secret")).toEqual(gateway);
    expect(ledger().authenticate("gateway", gateway.name, "second secret")).toBeUndefined();
    another().setCredential(gateway, "second secret");
    expect(ledger().authenticate("gateway", gateway.name, "first secret")).toBeUndefined();
    expect(ledger().authenticate("gateway", gateway.name, "second secret")).toEqual(gateway);
  });

  it("reads API keys as name.secret, names with dots included", () => {
    ledger().setCredential(supervisor, "s3cret-of-it");
    expect(ledger().authenticateKey("supervisor.a.s3cret-of-it")).toEqual(supervisor);
    for (const wrong of ["supervisor.a", "supervisor.a.", "s3cret-of-it", "", ".", "supervisor.a.s3cret-of-iu"]) {
      expect(ledger().authenticateKey(wrong), wrong).toBeUndefined();
    }
  });

  it("refuses names and secrets that cannot work", () => {
    const cases: [Principal, string][] = [
      [{ ...gateway, node: "gw-2" }, "long enough"],
      [{ kind: "gateway", name: "Zhuji/gw", group: "Zhuji", node: "gw" }, "long enough"],
      [{ kind: "gateway", name: "a/b/c", group: "a", node: "b/c" }, "long enough"],
      [{ kind: "host", name: "a/b" }, "long enough"],
      [host, "short"],
      [supervisor, "with.dot.in.it"],
    ];
    for (const [principal, secret] of cases) {
      expect(() => ledger().setCredential(principal, secret), principal.name).toThrow(
        expect.objectContaining({ code: "CREDENTIAL_INVALID" }),
      );
      expect(ledger().authenticate(principal.kind, principal.name, secret)).toBeUndefined();
    }
  });
}

function resultTests(ledger: () => Ledger, another: () => Ledger): void {
  it("gives back every field as written", () => {
    const full = figure({ factorTable: "cn-2024", lowerBound: true, simulated: false });
    const empty = figure({
      startMs: startMs + hourMs,
      value: null,
      reason: "no_meter",
      completeness: null,
      estimatedShare: null,
    });
    expect(ledger().writeResults([full, empty])).toBe(2);
    expect(another().readResult(full)).toEqual({ ...full, change: 1, leaseEpoch: 0 });
    expect(another().readResult(empty)).toEqual({ ...empty, change: 2, leaseEpoch: 0 });
    expect(ledger().readResult({ ...full, entity: "zhuji-2" })).toBeUndefined();
  });

  it("writes and numbers only what says something new", () => {
    expect(ledger().writeResults([figure()])).toBe(1);
    expect(ledger().writeResults([figure({ inputWatermark: 99, asOfMs: 7 })])).toBe(0);
    expect(ledger().readResult(figure())).toMatchObject({ inputWatermark: 41, change: 1 });
    expect(ledger().writeResults([figure({ status: "final" }), figure({ startMs: startMs + hourMs })])).toBe(2);
    expect(ledger().readResult(figure())).toMatchObject({ status: "final", change: 2 });
    expect(ledger().readResult(figure({ startMs: startMs + hourMs }))).toMatchObject({ change: 3 });
    expect(ledger().writeResults([])).toBe(0);
  });

  it("keeps what was final or revised, and replaces what was provisional", () => {
    const steps: Partial<Result>[] = [
      { value: "1" },
      { value: "2" },
      { value: "2", status: "final" },
      { value: "3", status: "revised", revision: 1 },
      { value: null, reason: "no_data", status: "revised", revision: 2 },
    ];
    for (const step of steps) expect(ledger().writeResults([figure(step)])).toBe(1);
    expect(another().history(figure())).toEqual(
      [figure({ value: "2", status: "final" }), figure({ value: "3", status: "revised", revision: 1 })].map(
        (result, i) => ({ ...result, change: 3 + i, leaseEpoch: 0 }),
      ),
    );
    expect(ledger().readResult(figure())).toMatchObject({ value: null, revision: 2, change: 5 });
    expect(ledger().history(figure({ entity: "zhuji-2" }))).toEqual([]);
  });
}

function queryTests(ledger: () => Ledger): void {
  it("reads by level and period in a half-open range, ordered by start, entity, indicator, up to the limit", () => {
    const written = [0, 1, 2].flatMap((hour) =>
      ["b", "a"].flatMap((entity) =>
        ["y", "x"].map((indicator) => figure({ startMs: startMs + hour * hourMs, entity, indicator })),
      ),
    );
    ledger().writeResults([...written, figure({ level: "cluster" }), figure({ period: "day" })]);
    const query = {
      level: "factory",
      period: "hour",
      fromMs: startMs,
      toMs: startMs + 2 * hourMs,
      limit: 100,
    } as const;
    const read = (over: object) =>
      ledger()
        .readResults({ ...query, ...over })
        .map((r) => `${(r.startMs - startMs) / hourMs}${r.entity}${r.indicator}`);
    expect(read({})).toEqual(["0ax", "0ay", "0bx", "0by", "1ax", "1ay", "1bx", "1by"]);
    expect(read({ limit: 3 })).toEqual(["0ax", "0ay", "0bx"]);
    expect(read({ entity: "b", indicator: "y" })).toEqual(["0by", "1by"]);
    expect(read({ fromMs: startMs + 2 * hourMs, toMs: startMs + 3 * hourMs, entity: "a" })).toEqual(["2ax", "2ay"]);
    expect(ledger().readResults({ ...query, level: "cluster" })).toHaveLength(1);
  });

  it("finds what is provisional and ended before a time", () => {
    const hours = [0, 1, 2].map((hour) => startMs + hour * hourMs);
    ledger().writeResults(hours.map((from, i) => figure({ startMs: from, status: i === 0 ? "final" : "provisional" })));
    ledger().writeResults([figure({ period: "day", startMs: startMs - 24 * hourMs })]);
    const found = (endMs: number) =>
      ledger()
        .provisionalBefore("hour", endMs)
        .map((r) => r.startMs);
    expect(found(startMs + 2 * hourMs)).toEqual([]);
    expect(found(startMs + 2 * hourMs + 1)).toEqual([hours[1]]);
    expect(found(startMs + 9 * hourMs)).toEqual([hours[1], hours[2]]);
  });
}

function transactionTests(ledger: () => Ledger, another: () => Ledger): void {
  it("does all of a transaction or nothing of it, change numbers included", () => {
    const failing = () =>
      ledger().transaction(() => {
        ledger().writeResults([figure()]);
        ledger().setNumber("kpi.tx", 5);
        throw new Error("half-way");
      });
    expect(failing).toThrow("half-way");
    expect(another().readResult(figure())).toBeUndefined();
    expect(another().getNumber("kpi.tx")).toBeUndefined();
    ledger().writeResults([figure()]);
    expect(another().readResult(figure())).toMatchObject({ change: 1 });
  });

  it("nests: a failed inner transaction is undone alone, a failed outer one takes the inner with it", () => {
    const value = ledger().transaction(() => {
      ledger().setNumber("a", 1);
      expect(() =>
        ledger().transaction(() => {
          ledger().setNumber("a", 2);
          throw new Error("inner");
        }),
      ).toThrow("inner");
      ledger().transaction(() => ledger().setNumber("b", 3));
      return "done";
    });
    expect([value, another().getNumber("a"), another().getNumber("b")]).toEqual(["done", 1, 3]);
    expect(() =>
      ledger().transaction(() => {
        ledger().transaction(() => ledger().setNumber("b", 4));
        throw new Error("outer");
      }),
    ).toThrow("outer");
    expect(another().getNumber("b")).toBe(3);
  });
}

function noteTests(ledger: () => Ledger, another: () => Ledger): void {
  it("keeps the earliest birth and tells the first one", () => {
    const birth = { group: "zhuji-1", node: "gw-1", device: "loom-1" };
    expect(ledger().noteBirth({ ...birth, firstBirthMs: 200 })).toBe(true);
    expect(another().noteBirth({ ...birth, firstBirthMs: 300 })).toBe(false);
    expect(ledger().noteBirth({ ...birth, firstBirthMs: 100 })).toBe(false);
    expect(ledger().noteBirth({ ...birth, device: "loom-0", firstBirthMs: 400 })).toBe(true);
    expect(another().firstBirths()).toEqual([
      { ...birth, device: "loom-0", firstBirthMs: 400 },
      { ...birth, firstBirthMs: 100 },
    ]);
  });

  it("keeps first and last sight of unregistered devices", () => {
    const device = { group: "zhuji-1", node: "gw-1", device: "stranger" };
    for (const atMs of [20, 50, 10, 40]) ledger().noteUnregistered(device, atMs);
    expect(another().unregistered()).toEqual([{ ...device, firstSeenMs: 10, lastSeenMs: 50 }]);
  });

  it("keeps the boxes of a gateway, the last seen first, whatever the clocks say, and few of them", () => {
    const counters = { droppedSamples: 0, setAsideRecords: 0, setBacks: 0 };
    const box = (name: string, lastSeenMs: number, starts = 1, node = "gw-1") => {
      return { group: "zhuji-1", node, box: name, starts, epoch: `epoch of ${starts}`, ...counters, lastSeenMs };
    };
    ledger().noteNodeBox(box("a", 30));
    ledger().noteNodeBox(box("b", 20));
    ledger().noteNodeBox(box("x", 99, 7, "gw-2"));
    expect(another().nodeBoxes("zhuji-1", "gw-1")).toEqual([box("b", 20), box("a", 30)]);
    const again = { ...box("a", 10, 2), droppedSamples: 2 ** 40, setAsideRecords: 3, setBacks: 1 };
    ledger().noteNodeBox(again);
    expect(another().nodeBoxes("zhuji-1", "gw-1")).toEqual([again, box("b", 20)]);
    for (let n = 0; n < 20; n += 1) ledger().noteNodeBox(box(`n${n}`, n));
    expect(
      another()
        .nodeBoxes("zhuji-1", "gw-1")
        .map((found) => found.box),
    ).toEqual(Array.from({ length: 16 }, (_, n) => `n${19 - n}`));
    expect(another().nodeBoxes("zhuji-1", "gw-2")).toEqual([box("x", 99, 7, "gw-2")]);
    expect(another().nodeBoxes("zhuji-1", "gw-3")).toEqual([]);
  });

  it("keeps what was taken up of each series last, until it is forgotten", () => {
    const e = { series: '["f2","gw-1","meter-1","e"]', dated: "[[0,{}]]" };
    const t = { ...e, series: '["f2","gw-1","meter-1","t"]' };
    expect(another().takenUp()).toEqual([]);
    ledger().noteTakenUp([e, t]);
    ledger().noteTakenUp([{ ...t, dated: "[[0,{}],[5,{}]]" }]);
    const bySeries = (a: typeof e, b: typeof e) => (a.series < b.series ? -1 : 1);
    expect(another().takenUp().sort(bySeries)).toEqual([e, { ...t, dated: "[[0,{}],[5,{}]]" }]);
    ledger().forgetTakenUp();
    expect(another().takenUp()).toEqual([]);
  });

  it("keeps numbers exactly up to 2^53", () => {
    for (const value of [0, -1, 0.1, Number.MAX_SAFE_INTEGER, 1e300]) {
      ledger().setNumber("n", value);
      expect(another().getNumber("n")).toBe(value);
    }
    expect(ledger().getNumber("absent")).toBeUndefined();
  });

  it("may be closed twice", () => {
    const third = another();
    third.close();
    third.close();
  });
}

/** What every ledger must do. Implementations add what is their own: processes, migrations, power cuts. */
export function ledgerSuite(name: string, make: () => LedgerUnderTest): void {
  describe(`ledger on ${name}`, () => {
    let under: LedgerUnderTest;
    let first: Ledger;
    beforeEach(() => {
      under = make();
      first = under.open();
    });
    afterEach(() => under.dispose());
    for (const tests of [
      credentialTests,
      resultTests,
      queryTests,
      transactionTests,
      noteTests,
      completenessTests,
      findingTests,
      certificateTests,
      ...logSuite,
    ])
      tests(
        () => first,
        () => under.open(),
        figure,
      );
  });
}
