import { readdirSync, readFileSync } from "node:fs";
import { constants, getPriority } from "node:os";
import { versionOf } from "@jilian/store/registry-versions.ts";
import { expect, test } from "vitest";
import { openWorld, silent, testRegistry } from "../test-world.ts";
import { startKpi } from "./start.ts";

/** Niceness of each thread of this process, with its name. */
const threads = () =>
  readdirSync("/proc/self/task").map((tid) => ({
    name: readFileSync(`/proc/self/task/${tid}/comm`, "utf8").trim(),
    nice: getPriority(Number(tid)),
  }));

test.runIf(process.platform === "linux")(
  "the thread of the figures is nicer than the process, and no other one is",
  async () => {
    const world = await openWorld();
    world.ledger.addRegistryVersion(versionOf(testRegistry(false), { fromMs: 0, appliedMs: 0 }));
    const kpi = await startKpi(
      { kpiIntervalMs: 50, provisionalIntervalMs: 50 },
      {
        ...{ telemetry: world.telemetry, ledgerPath: world.ledgerPath, clockSetting: undefined, log: silent },
        ...{ isStoreOwned: true, onResults: () => undefined },
      },
    );
    await kpi.settle();
    const found = threads();
    await kpi.close();
    await world.end();
    const ownNice = getPriority();
    const nicer = Math.min(ownNice + 5, constants.priority.PRIORITY_LOW);
    const [figures, others] = [found.filter(({ name }) => name === "kpi"), found.filter(({ name }) => name !== "kpi")];
    expect(figures.map(({ nice }) => nice)).toEqual([nicer]);
    expect(new Set(others.map(({ nice }) => nice))).toEqual(new Set([ownNice]));
  },
);
