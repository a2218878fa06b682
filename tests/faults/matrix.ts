import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { randomFrom } from "@jilian/domain/test-random.ts";
import { hasInfluxd } from "@jilian/store/influx/influxd.ts";
import { isAllowed } from "./compare.ts";
import { type Draw, type Fault, identityFindings, type Need } from "./fault.ts";
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

/** How long a finding may take from its cause to the interface. */
const findingMs = 5000;

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

/** How often each finding was raised. */
async function findingsOf(world: World): Promise<Map<string, number>> {
  const { findings } = await world.get<{ findings: { code: string; count: number }[] }>("/open/v1/findings");
  const counts = new Map<string, number>();
  for (const { code, count } of findings) counts.set(code, (counts.get(code) ?? 0) + count);
  return counts;
}

/** What was found and should not have been, and what was not and should; waits for the latter, since findings are noted in bundles. */
async function wrongFindings(world: World, { findings = [] }: Fault, before: ReadonlyMap<string, number>) {
  let raised: string[] = [];
  for (const endMs = Date.now() + findingMs; ; await pause(200)) {
    raised = [...(await findingsOf(world))].flatMap(([code, n]) => (n > (before.get(code) ?? 0) ? [code] : []));
    if (findings.length === 0 || findings.some((code) => raised.includes(code)) || Date.now() > endMs) break;
  }
  const unfounded = raised.filter((code) => identityFindings.includes(code) && !findings.includes(code));
  const isSeen = findings.length === 0 || findings.some((code) => raised.includes(code));
  return [
    ...unfounded.map((code) => `finding ${code} without cause`),
    ...(isSeen ? [] : [`no finding ${findings.join(" or ")}`]),
  ];
}

/**
 * Starts one cluster, into which faults are injected one after the other; the caller closes its world.
 * `run` injects one and waits until all has drained; what is read until the next one belongs to it. `settle` waits until what was read since
 * a time is stored, but not for what never comes. `tally` compares all that was read with all that is stored.
 */
export async function startMatrix(store: Fault["store"], setting: Omit<MatrixSetting, "faults" | "runs">) {
  const { seed, env = {}, onRun, isShort } = setting;
  const world = await startWorld({ store, seed, env });
  const search = storeSearch(world, 2);
  const runs: Run[] = [];

  async function settle(fromMs: number): Promise<void> {
    const toMs = Date.now();
    await drained(setting.patienceMs, async () => (await search.missing(fromMs, toMs)).length);
  }

  async function run(fault: Fault, n: number): Promise<Run> {
    const last = runs.at(-1);
    search.advance();
    if (last) last.toMs = Date.now();
    const [before, found] = [await dropsOf(world), await findingsOf(world)];
    const fromMs = Date.now();
    const outcome = (await fault.inject(world, drawsOf(seed, fault.name, n), { isShort })) ?? {};
    const { allowances = new Map(), broken, countedDrops = false } = outcome;
    const toMs = Date.now();
    const own: Run = { fault, fromMs, toMs, recoveryMs: 0, allowances, drops: new Map(), broken: [] };
    runs.push(own);
    await drained(setting.patienceMs, () => missingOf(world, search, own, countedDrops ? before : undefined));
    own.recoveryMs = Date.now() - toMs;
    own.broken.push(...(broken?.() ?? []), ...(await wrongFindings(world, fault, found)));
    onRun?.(own);
    return own;
  }

  return { world, runs, settle, run, tally: () => tallyRuns(world, runs) };
}
export type Matrix = Awaited<ReturnType<typeof startMatrix>>;

/** Injects the faults of one store into one cluster, one after the other, and compares in the end. */
async function runOn(store: Fault["store"], setting: MatrixSetting): Promise<Row[]> {
  const faults = setting.faults.filter((fault) => fault.store === store);
  if (faults.length === 0) return [];
  const matrix = await startMatrix(store, setting);
  try {
    // The first fault begins when all is quiet: what was read while ingest was starting is stored.
    await matrix.settle(0);
    for (const fault of faults) for (let n = 0; n < setting.runs; n += 1) await matrix.run(fault, n);
    const tallies = await matrix.tally();
    return faults.map((fault) => rowOf(fault, matrix.runs, tallies));
  } finally {
    setting.onComplaints?.(matrix.world.complaints());
    await matrix.world.close();
  }
}

/** The matrix: every fault as often as wanted, on the store that it is for. */
export async function runMatrix(setting: MatrixSetting): Promise<Row[]> {
  return [...(await runOn("duckdb", setting)), ...(await runOn("influx", setting))];
}
