import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ledger } from "./ledger.ts";
import { indexRegistry } from "./registry.ts";
import { applyRegistry, planApplication, readMoment } from "./registry-apply.ts";
import type { RegistryFile } from "./registry-schema.ts";
import { followVersions, onlyVersion, registryNow, registryVersions, versionOf } from "./registry-versions.ts";
import { openLedger } from "./sqlite/ledger.ts";

function fileNamed(name: string, ratedPowerKW = 100): RegistryFile {
  const meter = { id: "m", name: "表", kind: "meter" as const, meteringPoint: "incoming" as const, ratedPowerKW };
  const factory = { id: "f", name: "厂", gateways: [{ id: "g", devices: [meter] }] };
  return {
    cluster: { id: "c", name },
    pilot: { id: "p", name: "试点", demo: true },
    enterprises: [{ id: "e", name: "甲", creditCode: "91350100M000100Y43", factories: [factory] }],
  };
}
const registryNamed = (name: string) => indexRegistry(fileNamed(name));
const stored = (fromMs: readonly number[]) =>
  fromMs.map((ms, i) => ({ number: i + 1, ...versionOf(registryNamed(`v${i + 1}`), { fromMs: ms }) }));
const nameAt = (fromMs: readonly number[], timeMs: number) =>
  registryVersions(stored(fromMs)).at(timeMs).file.cluster.name;

describe("versions over time", () => {
  it("are in force from their date on; the first one since ever", () => {
    const versions = registryVersions(stored([500, 1000, 2000]));
    expect([0, 500, 999, 1000, 1999, 2000, 9e12].map((ms) => versions.at(ms).file.cluster.name)).toEqual([
      "v1",
      "v1",
      "v1",
      "v2",
      "v2",
      "v3",
      "v3",
    ]);
    expect(versions.changesIn(0, 3000)).toEqual([1000, 2000]);
    expect(versions.changesIn(1000, 2000)).toEqual([]);
    expect(versions.versionAt(1000).number).toBe(2);
  });

  it("give way to a later applied one, be they in force since its date or planned for after it", () => {
    const versions = registryVersions(stored([0, 1000, 2000, 1500]));
    expect([999, 1000, 1499, 1500, 2500].map((ms) => versions.at(ms).file.cluster.name)).toEqual([
      "v1",
      "v2",
      "v2",
      "v4",
      "v4",
    ]);
    expect(versions.inForce().map(({ number }) => number)).toEqual([1, 2, 4]);
    expect(versions.all().map(({ number }) => number)).toEqual([1, 2, 3, 4]);
    expect(versions.numbered(3)?.file.cluster.name).toBe("v3");
    expect(versions.numbered(5)).toBeUndefined();
    expect(versions.newest().file.cluster.name).toBe("v4");
  });

  it("are at each moment the one that was applied last of those that have begun", () => {
    const times = fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(times, fc.integer({ min: 0, max: 31 }), (fromMs, timeMs) => {
        const begun = fromMs.map((ms, i) => (ms <= timeMs || i === 0 ? i + 1 : 0));
        // What replaced the first one since before this moment is what was before it, too.
        const first = registryVersions(stored(fromMs)).inForce()[0]?.number ?? 0;
        expect(nameAt(fromMs, timeMs)).toBe(`v${Math.max(first, ...begun)}`);
      }),
      { numRuns: 60 },
    );
  });

  it("are shown one after the other, also those that are in force no more, as far as they are wanted", () => {
    const versions = registryVersions(stored([0, 2000, 1000]));
    const seen: string[] = [];
    versions.visit(
      ({ number }) => number > 1,
      ({ file }) => seen.push(file.cluster.name),
    );
    expect(seen).toEqual(["v2", "v3"]);
    expect(versions.inForce().map(({ number }) => number)).toEqual([1, 3]);
  });

  it("need one at least", () => {
    expect(() => registryVersions([])).toThrow(expect.objectContaining({ code: "REGISTRY_NONE" }));
    expect(onlyVersion(registryNamed("x")).at(0).file.cluster.name).toBe("x");
  });
});

describe("moments", () => {
  it("are read in Asia/Shanghai, and nothing is guessed", () => {
    expect(readMoment("now", 5)).toBe(5);
    expect(readMoment("ever", 5)).toBe(0);
    expect(readMoment("2026-11-01", 5)).toBe(Date.parse("2026-10-31T16:00:00Z"));
    expect(readMoment("2026-11-01T06:00+08:00", 5)).toBe(Date.parse("2026-10-31T22:00:00Z"));
    for (const text of ["2026-02-30", "2026-11-01T06:00", "yesterday", "", "2026-11-01T25:00Z", "1930-01-01T00:00Z"])
      expect(readMoment(text, 5), text).toBeUndefined();
  });
});

describe("in a ledger", () => {
  let folder = "";
  let ledger: Ledger;
  const path = () => join(folder, "ledger.sqlite");
  const open = () => openLedger({ path: path(), log: pino({ level: "silent" }) });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "jilian-versions-"));
    ledger = open();
  });
  afterEach(() => {
    ledger.close();
    rmSync(folder, { recursive: true });
  });
  const dayMs = 86_400_000;
  const nowMs = Date.parse("2026-11-27T10:00:00+08:00");

  function apply(file: RegistryFile, fromMs: number, by = "li"): ReturnType<typeof planApplication> {
    const registry = indexRegistry(file);
    const plan = planApplication(ledger, registry, fromMs, nowMs);
    applyRegistry(ledger, registry, plan, { fromMs, nowMs, by, origin: "command", note: "因为" });
    return plan;
  }

  it("are kept with who applied them, and audited in the same step", () => {
    apply(fileNamed("a"), 0);
    const plan = apply(fileNamed("a", 200), nowMs - 2.5 * dayMs, "wang");
    expect(plan).toMatchObject({ base: 1, days: 3, changesAnything: true, replaced: [] });
    expect(plan.differences).toMatchObject([{ entity: "f/g/m", field: "ratedPowerKW", before: "100", after: "200" }]);
    const again = open();
    expect(registryVersions(again.registryVersions()).all()).toEqual([
      expect.objectContaining({ number: 1, fromMs: 0, appliedMs: nowMs, appliedBy: "li", note: "因为" }),
      expect.objectContaining({ number: 2, fromMs: nowMs - 2.5 * dayMs, appliedBy: "wang" }),
    ]);
    again.close();
    const [entry, first] = ledger.audit({ limit: 10 });
    expect(entry).toMatchObject({ id: 2, atMs: nowMs, actor: "wang", origin: "command", action: "registry.apply" });
    expect(JSON.parse(entry?.detail ?? "")).toMatchObject({ number: 2, differences: [{ field: "ratedPowerKW" }] });
    expect(ledger.audit({ limit: 10, beforeId: 2 })).toEqual([first]);
    expect(registryVersions(ledger.registryVersions()).at(nowMs).version).toBe(
      indexRegistry(fileNamed("a", 200)).version,
    );
  });

  it("tell what they replace, and that there is nothing to do", () => {
    apply(fileNamed("a"), 0);
    apply(fileNamed("b"), nowMs);
    apply(fileNamed("c"), nowMs + dayMs);
    const plan = planApplication(ledger, indexRegistry(fileNamed("d")), nowMs, nowMs);
    expect(plan.replaced.map(({ number }) => number)).toEqual([2, 3]);
    const same = (fromMs: number) => planApplication(ledger, indexRegistry(fileNamed("c")), fromMs, nowMs);
    expect(same(nowMs + 2 * dayMs)).toMatchObject({ changesAnything: false, differences: [], replaced: [] });
    expect(same(nowMs - dayMs)).toMatchObject({ changesAnything: true, differences: [], days: 1 });
  });

  it("are refused, with nothing written, when another one was applied since the plan", () => {
    apply(fileNamed("a"), 0);
    const stale = planApplication(ledger, indexRegistry(fileNamed("b")), nowMs, nowMs);
    apply(fileNamed("c"), nowMs);
    const on = { fromMs: nowMs, nowMs, by: "li", origin: "command", note: "" };
    expect(() => applyRegistry(ledger, indexRegistry(fileNamed("b")), stale, on)).toThrow(
      expect.objectContaining({ code: "REGISTRY_MOVED" }),
    );
    expect([ledger.lastRegistryNumber(), ledger.audit({ limit: 10 }).length]).toEqual([2, 2]);
  });

  it("are followed without reading them again while none was applied", () => {
    apply(fileNamed("a"), 0);
    const versions = followVersions(ledger);
    const seen = versions();
    expect(versions()).toBe(seen);
    const other = open();
    other.addRegistryVersion(versionOf(registryNamed("b"), { fromMs: 1 }));
    other.close();
    expect(versions().newest().file.cluster.name).toBe("b");
  });

  it("make one object whose fields are those in force, and stay what they were when the ledger fails", async () => {
    apply(fileNamed("a"), 0);
    apply(fileNamed("b"), nowMs + 1000);
    let timeMs = nowMs;
    const failures: unknown[] = [];
    const looked = { failed: (thrown: unknown) => failures.push(thrown), well: () => {} };
    const now = registryNow(followVersions(ledger), { now: () => timeMs }, looked);
    expect([now.file.cluster.name, now.devices.size, Object.keys(now).sort()]).toEqual([
      "a",
      1,
      Object.keys(registryNamed("x")).sort(),
    ]);
    timeMs = nowMs + 1000;
    await expect.poll(() => now.file.cluster.name, { timeout: 5000 }).toBe("b");
    ledger.close();
    await expect.poll(() => [now.file.cluster.name, failures.length], { timeout: 5000 }).toEqual(["b", 1]);
  });
});
