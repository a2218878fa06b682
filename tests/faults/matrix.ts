import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { randomFrom } from "@jilian/domain/test-random.ts";
import { hasInfluxd } from "@jilian/store/influx/influxd.ts";
import { isAllowed } from "./compare.ts";
import type { Draw, Fault, Need } from "./fault.ts";
import { boxFaults, clockFaults } from "./fault-box.ts";
import { killFaults } from "./fault-kills.ts";
import { networkFaults } from "./fault-network.ts";
import { noticeFaults } from "./fault-notices.ts";
import { serverFaults } from "./fault-server.ts";
import { followedShare } from "./meters.ts";
import { canCutPower } from "./power-cut.ts";
import { type StoreSearch, storeSearch } from "./stored.ts";
import { type Row, type Run, rowOf, tallyRuns } from "./tally.ts";
import { startWorld, type World } from "./world.ts";

export const allFaults: readonly Fault[] = [
  ...killFaults,
  ...boxFaults,
  ...networkFaults,
  ...noticeFaults,
  ...serverFaults,
  ...clockFaults,
];

export type MatrixSetting = {
  seed: number;
  faults: readonly Fault[];
  /** Of each fault. */
  runs: number;
  isShort: boolean;
  /** How long nothing may arrive while something is missing before that counts as lost. */
  patienceMs: number;
  /** More environment of every process. */
  env?: Readonly<Record<string, string>>;
  /** Told of each run as it ends. */
  onRun?: (run: Run) => void;
  /** Told in the end of what the programs logged at level warn and above. */
  onComplaints?: (lines: readonly string[]) => void;
};

const needMet: Readonly<Record<Need, () => boolean>> = {
  shim: canCutPower,
  prlimit: () => spawnSync("prlimit", ["--version"], { stdio: "ignore" }).status === 0,
  influx: hasInfluxd,
};

/** What a fault needs that this machine lacks; undefined when it can be injected. */
export function missingNeed({ needs = [] }: Fault): Need | undefined {
  return needs.find((need) => !needMet[need]());
}

/** Draws of one run: from seed, name and number alone, so that --only replays what the whole plan did. */
function drawsOf(seed: number, name: string, run: number): Draw {
  let hash = 0x811c9dc5 ^ seed;
  for (const char of `${name} ${run}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  const random = randomFrom(hash);
  // The first numbers of neighbouring seeds are alike.
  for (let i = 0; i < 8; i += 1) random.bits();
  return random.below;
}

async function dropsOf(world: World): Promise<Map<string, number>> {
  return new Map((await world.states()).map(({ id, droppedSamples }) => [id, droppedSamples ?? 0]));
}

/** How many samples read in a run are missing beyond what may be. `before`: drops told before it, where they count. */
async function missingOf(world: World, search: StoreSearch, run: Run, before: Map<string, number> | undefined) {
  const missing = await search.missing(run.fromMs, run.toMs);
  const found = missing.filter(({ gateway, answer }) => !isAllowed(answer, run.allowances.get(gateway) ?? []));
  if (!before) return found.length;
  const told = [...(await dropsOf(world))].map(([id, drops]): [string, number] => [id, drops - (before.get(id) ?? 0)]);
  // Records are dropped whole.
  run.drops = new Map(told.map(([id, drops]) => [id, Math.ceil(drops * followedShare)]));
  const byGateway = Map.groupBy(found, ({ gateway }) => gateway);
  return [...byGateway].reduce((sum, [id, all]) => sum + Math.max(0, all.length - (run.drops.get(id) ?? 0)), 0);
}

/** Resolves when nothing is missing that may not be, or when nothing more arrives, or too slowly. */
async function drained(patienceMs: number, missing: () => Promise<number>): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  const startedMs = Date.now();
  const isInTime = (changedMs: number) =>
    Date.now() - changedMs < patienceMs && Date.now() - startedMs < 4 * patienceMs;
  for (let changedMs = startedMs; isInTime(changedMs); await pause(100)) {
    // The interface may be on its way back.
    const found = await missing().catch(() => least);
    if (found === 0) return;
    if (found < least) changedMs = Date.now();
    least = Math.min(least, found);
  }
}

async function runFault(
  world: World,
  search: StoreSearch,
  fault: Fault,
  draw: Draw,
  { patienceMs, isShort }: MatrixSetting,
): Promise<Run> {
  const before = await dropsOf(world);
  const fromMs = Date.now();
  const { allowances = new Map(), broken, countedDrops = false } = (await fault.inject(world, draw, { isShort })) ?? {};
  const toMs = Date.now();
  const run: Run = { fault, fromMs, toMs, recoveryMs: 0, allowances, drops: new Map(), broken: [] };
  await drained(patienceMs, () => missingOf(world, search, run, countedDrops ? before : undefined));
  run.recoveryMs = Date.now() - toMs;
  run.broken.push(...(broken?.() ?? []));
  return run;
}

/** Injects the faults of one store into one cluster, one after the other, and compares in the end. */
async function runOn(store: Fault["store"], setting: MatrixSetting): Promise<Row[]> {
  const { seed, runs: wanted, env = {}, onRun } = setting;
  const faults = setting.faults.filter((fault) => fault.store === store);
  if (faults.length === 0) return [];
  const world = await startWorld({ store, seed, env });
  try {
    const search = storeSearch(world);
    // The first fault begins when all is quiet: what was read while ingest was starting is stored.
    const readyMs = Date.now();
    await drained(setting.patienceMs, async () => (await search.missing(0, readyMs)).length);
    const runs: Run[] = [];
    for (const fault of faults) {
      for (let n = 0; n < wanted; n += 1) {
        // What is read while the next one is prepared still belongs to the last.
        const last = runs.at(-1);
        if (last) await search.advance();
        if (last) last.toMs = Date.now();
        const run = await runFault(world, search, fault, drawsOf(seed, fault.name, n), setting);
        runs.push(run);
        onRun?.(run);
      }
    }
    const tallies = await tallyRuns(world, runs);
    return faults.map((fault) => rowOf(fault, runs, tallies));
  } finally {
    setting.onComplaints?.(world.complaints());
    await world.close();
  }
}

/** The matrix: every fault as often as wanted, on the store that it is for. */
export async function runMatrix(setting: MatrixSetting): Promise<Row[]> {
  return [...(await runOn("duckdb", setting)), ...(await runOn("influx", setting))];
}
