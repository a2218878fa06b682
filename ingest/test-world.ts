/** What the tests of ingest share: real stores in a folder of their own, a small registry, and a clock that stands still. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTelemetryHere } from "@jilian/store/duckdb/testing/here.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { indexRegistry, type Registry } from "@jilian/store/registry.ts";
import type { RegistryDevice } from "@jilian/store/registry-schema.ts";
import { onlyVersion, type RegistryVersions } from "@jilian/store/registry-versions.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import type { OwnedTelemetry } from "@jilian/store/thread/owner.ts";
import { type Logger, pino } from "pino";

export const silent = pino({ level: "silent" });

/** A clock that the test sets. */
export type ManualClock = { now: () => number; rate: number; set: (nowMs: number) => void };

export function manualClock(nowMs: number): ManualClock {
  let at = nowMs;
  return {
    now: () => at,
    rate: 1,
    set: (ms) => {
      at = ms;
    },
  };
}

const meter = (id: string, over: Partial<RegistryDevice> = {}): RegistryDevice => ({
  id,
  name: id,
  kind: "meter",
  meteringPoint: "incoming",
  ...over,
});
const machine = (id: string): RegistryDevice => ({ id, name: id, kind: "machine" });
const factory = (id: string, devices: RegistryDevice[]) => ({ id, name: id, gateways: [{ id: "gw-1", devices }] });

/** Two enterprises, three factories: one with two incoming meters and a feeder, one with two meters, one without any. */
export function testRegistry(demo: boolean): Registry {
  return indexRegistry({
    cluster: { id: "jinlv", name: "金铝" },
    pilot: { id: "p1", name: "试点", demo },
    enterprises: [
      {
        id: "e1",
        name: "甲",
        creditCode: "91440200MA4UQ0000X",
        factories: [
          factory("f1", [
            meter("meter-1", { ratedPowerKW: 500 }),
            meter("meter-2"),
            meter("feeder-1", { meteringPoint: "feeder" }),
            machine("press-1"),
          ]),
          factory("f2", [meter("meter-1"), meter("meter-2"), meter("gas-1", { carrier: "gas" as never })]),
        ],
      },
      { id: "e2", name: "乙", creditCode: "91440200MA4UQ0001X", factories: [factory("f3", [machine("press-1")])] },
    ],
  });
}

/** A registry that is in force since ever. */
export function always(registry: Registry): () => RegistryVersions {
  const versions = onlyVersion(registry);
  return () => versions;
}

export type World = {
  folder: string;
  ledgerPath: string;
  telemetry: OwnedTelemetry;
  ledger: Ledger;
  /** Closes the telemetry store and opens it again, as a restart would. */
  reopen: () => Promise<OwnedTelemetry>;
  end: () => Promise<void>;
};

export async function openWorld(log: Logger = silent): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "ingest-"));
  const ledgerPath = join(folder, "ledger.sqlite");
  const open = () => openTelemetryHere({ path: join(folder, "t.duckdb"), memoryLimitMb: 256, threads: 1 });
  const world: World = {
    folder,
    ledgerPath,
    telemetry: await open(),
    ledger: openLedger({ path: ledgerPath, log }),
    reopen: async () => {
      await world.telemetry.close();
      world.telemetry = await open();
      return world.telemetry;
    },
    end: async () => {
      await world.telemetry.close();
      world.ledger.close();
      rmSync(folder, { recursive: true });
    },
  };
  return world;
}

/** A store that answers writes with errors as long as there are some; and when it was asked, ms. */
export function answering(store: Telemetry, errors: Error[]): { telemetry: Telemetry; writes: number[] } {
  const writes: number[] = [];
  const write: Telemetry["write"] = async (batch) => {
    writes.push(performance.now());
    const error = errors.shift();
    if (error) throw error;
    return await store.write(batch);
  };
  return { telemetry: { ...store, write }, writes };
}

/** Waits until something holds, for a bounded time; for conditions that no event announces. */
export async function until(holds: () => boolean, what: string, withinMs = 5000): Promise<void> {
  const from = performance.now();
  while (!holds()) {
    if (performance.now() - from > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
