import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { hourMs } from "@jilian/domain/periods.ts";
import { fencedLedger } from "@jilian/store/leases.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ingestHealth } from "../metrics.ts";
import { always, manualClock, openWorld, silent, testRegistry, until, type World } from "../test-world.ts";
import { createEngine } from "./engine.ts";
import { engineLease, leasedStores, takeLease } from "./lease.ts";
import { type Kpi, startKpi } from "./start.ts";

/** Of leases that are waited for; the others last longer than any test. */
const leaseMs = 1000;
const nobodyWaits = (holder: string) => {
  throw new Error(`waits for ${holder}`);
};

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.end());

/** Has this thread do nothing at all, timers included. */
const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** A process that takes the lease and writes under it, and what it has said. */
function holder(): { child: ChildProcess; said: string[] } {
  const script = new URL("./test-lease-holder.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, world.ledgerPath, String(leaseMs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => said.push(line));
  return { child, said };
}

const taking = (over: Partial<Parameters<typeof takeLease>[0]> = {}) =>
  takeLease({ ledger: world.ledger, isStoreOwned: false, onWait: nobodyWaits, leaseMs: 60_000, ...over });

describe("a lease", () => {
  test("of a process that stands still for longer is taken, and what it writes when it goes on is refused", async () => {
    const { child, said } = holder();
    await until(() => said.includes("writes"), "the holder writes", 20_000);
    // While the ledger is locked, or the stop could come in the midst of a write, which keeps everybody out.
    world.ledger.transaction(() => {
      child.kill("SIGSTOP");
      standStill(50);
    });
    const waitedFor: string[] = [];
    const fromMs = performance.now();
    const lease = await taking({ leaseMs, onWait: (who) => waitedFor.push(who) });
    expect(waitedFor).toEqual([expect.stringContaining(`process ${child.pid}`)]);
    expect(lease.epoch).toBe(2);
    // Not before the time of the lease, and not long after it.
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(leaseMs);
    expect(performance.now() - fromMs).toBeLessThan(10 * leaseMs);
    world.ledger.setNumber("written", -1);
    child.kill("SIGCONT");
    await until(() => said.includes("LEASE_LOST"), "the holder has noticed", 20_000);
    expect(world.ledger.getNumber("written")).toBe(-1);
    expect(world.ledger.lease(engineLease)).toMatchObject({ epoch: 2 });
    await until(() => child.exitCode === 0, "the holder has ended", 20_000);
    lease.close();
  }, 60_000);

  test("is refused by the write itself when it was taken after the last look, whatever is written", async () => {
    const lease = await taking();
    const { ledger, telemetry } = leasedStores(world, lease);
    ledger.setNumber("a", 1);
    const other = openLedger({ path: world.ledgerPath, log: silent });
    expect(other.takeLease(engineLease, "someone else", other.lease(engineLease))).toBe(2);
    const lost = expect.objectContaining({ code: "LEASE_LOST" });
    expect(() => ledger.setNumber("a", 2)).toThrow(lost);
    expect(() => ledger.transaction(() => other.changeLog())).toThrow(lost);
    expect(() => ledger.noteFinding({ code: "C", subject: "s", detail: "d" }, 1)).toThrow(lost);
    expect(() => ledger.moveRecompute(1, 1)).toThrow(lost);
    await expect(telemetry.writeMinuteResults([])).rejects.toThrow(lost);
    expect(ledger.getNumber("a")).toBe(1);
    expect(other.findings(9)).toEqual([]);
    lease.close();
    expect(other.lease(engineLease), "another's lease is not given back").toMatchObject({ holder: "someone else" });
    other.close();
  });

  test("that has run out writes nothing, taken by another or not; what was given back is taken at once", async () => {
    const lease = await taking({ leaseMs });
    const fenced = fencedLedger(world.ledger, lease);
    fenced.setNumber("a", 1);
    // The thread stands still: no sign of life can be given.
    standStill(leaseMs + 1);
    expect(() => fenced.setNumber("a", 2)).toThrow(expect.objectContaining({ code: "LEASE_LOST" }));
    expect(world.ledger.getNumber("a")).toBe(1);
    lease.close();
    const next = await taking();
    expect(next.epoch).toBe(lease.epoch + 1);
    next.close();
  });

  test("is taken at once by whoever has the store for itself, and waiting for one ends when it is told to", async () => {
    const first = await taking();
    const second = await taking({ isStoreOwned: true });
    expect(() => first.check()).toThrow(expect.objectContaining({ code: "LEASE_LOST" }));
    const ending = new AbortController();
    const parts = { ledger: world.ledger, isStoreOwned: false, leaseMs: 60_000, onWait: () => ending.abort() };
    expect(await takeLease(parts, ending.signal)).toBeUndefined();
    second.check();
    first.close();
    second.close();
  });
});

test("somebody who writes for long does not end the waiting", async () => {
  const impatient = openLedger({ path: world.ledgerPath, log: silent });
  const writer = new DatabaseSync(world.ledgerPath);
  writer.exec("BEGIN IMMEDIATE");
  expect(impatient.takeLease(engineLease, "me")).toBeUndefined();
  writer.exec("ROLLBACK");
  writer.close();
  expect(impatient.takeLease(engineLease, "me")).toBe(1);
  impatient.close();
}, 20_000);

describe("engines", () => {
  const startMs = Date.UTC(2026, 10, 22, 2, 0);

  test("write under their epoch alone: one that has lost its lease ends with an error and without a trace", async () => {
    const clock = manualClock(startMs);
    const engineOf = async (epochs: number[]) => {
      const lease = await taking({ isStoreOwned: true });
      epochs.push(lease.epoch);
      const setting = { versions: always(testRegistry(false)), clock, provisionalIntervalMs: 0, txPerTick: 100 };
      return { lease, engine: await createEngine({ ...setting, ...leasedStores(world, lease) }) };
    };
    const epochs: number[] = [];
    const first = await engineOf(epochs);
    clock.set(startMs + hourMs / 2);
    await first.engine.tick();
    const query = { level: "factory", period: "hour", fromMs: 0, toMs: 1e15, limit: 1e6 } as const;
    expect(new Set(world.ledger.readResults(query).map((r) => r.leaseEpoch))).toEqual(new Set([1]));
    const second = await engineOf(epochs);
    const before = world.ledger.changeLog();
    clock.set(startMs + 2 * hourMs);
    await expect(first.engine.tick({ thorough: true })).rejects.toMatchObject({ code: "LEASE_LOST" });
    expect(world.ledger.changeLog()).toEqual(before);
    await second.engine.tick();
    expect(new Set(world.ledger.readResults(query).map((r) => r.leaseEpoch))).toContain(2);
    expect(epochs).toEqual([1, 2]);
    for (const { engine, lease } of [first, second]) {
      await engine.close();
      lease.close();
    }
  });

  /** A thread that computes. */
  async function thread(isStoreOwned: boolean): Promise<Kpi> {
    const config = { kpiIntervalMs: 50, provisionalIntervalMs: 50 };
    const parts = { telemetry: world.telemetry, ledgerPath: world.ledgerPath, clockSetting: undefined, log: silent };
    return await startKpi(config, { ...parts, isStoreOwned, onResults: () => undefined });
  }
  const waits = { waitsFor: expect.stringContaining("process"), behindMs: 0 };

  test("a second one waits, says for whom, and goes on when the first has ended", async () => {
    world.ledger.addRegistryVersion(versionOf(testRegistry(false), { fromMs: 0, appliedMs: 0 }));
    const first = await thread(false);
    await first.settle();
    const second = await thread(false);
    expect(first.stats().waitsFor).toBeUndefined();
    expect(second.stats()).toMatchObject({ ...waits, ticks: 0 });
    const health = ingestHealth({ connected: true, queuedSamples: 0, maxQueuedSamples: 1, kpi: second.stats() });
    expect(health.kpi).toMatchObject({ ready: true, state: "waiting", detail: { waitsFor: waits.waitsFor } });
    await first.close();
    await second.settle();
    expect(second.stats().waitsFor).toBeUndefined();

    // Who has the store for itself shuts it out; it waits then, and begins anew.
    const third = await thread(true);
    await until(() => second.stats().waitsFor !== undefined, "it is shut out", 20_000);
    expect(second.stats()).toMatchObject(waits);
    await third.settle();
    await third.close();
    await second.settle();
    expect(second.stats()).toMatchObject({ alive: true, waitsFor: undefined });
    await second.close();
    expect(world.ledger.lease(engineLease)).toMatchObject({ epoch: 4, holder: null });
  }, 60_000);
});
