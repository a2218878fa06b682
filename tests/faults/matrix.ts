import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { randomFrom } from "@jilian/domain/test-random.ts";
import { hasInfluxd } from "@jilian/store/influx/influxd.ts";
import { isAllowed } from "./compare.ts";
import { type Draw, type Fault, identityFindings, type Need, pendingOf, recoveryBoundMs } from "./fault.ts";
import { boxFaults, clockFaults } from "./fault-box.ts";
import { killFaults } from "./fault-kills.ts";
import { networkFaults } from "./fault-network.ts";
import { noticeFaults } from "./fault-notices.ts";
import { recordFaults } from "./fault-records.ts";
import { serverFaults } from "./fault-server.ts";
import { followedShare } from "./meters.ts";
import { canCutPower } from "./power-cut.ts";
import { type StoreSearch, storeSearch } from "./stored.ts";
import { type Row, type Run, rowOf, tallyRuns } from "./tally.ts";
import { startWorld, type World, type WorldGateway } from "./world.ts";

const modbusFaults: readonly Fault[] = [
  ...killFaults,
  ...boxFaults,
  ...networkFaults,
  ...noticeFaults,
  ...serverFaults,
  ...recordFaults,
  ...clockFaults,
];

/** Faults that are injected once more where a plant is read over OPC UA: what its server told must be stored. */
const alsoOpcua = ["gateway killed", "ingest killed", "network cut", "half-open TCP", "power cut"];

export const allFaults: readonly Fault[] = [
  ...modbusFaults,
  ...modbusFaults
    .filter(({ name }) => alsoOpcua.includes(name))
    .map((fault) => ({ ...fault, name: `${fault.name} (Modbus and OPC UA)`, short: false, opcua: true })),
];

export type MatrixSetting = {
  seed: number;
  faults: readonly Fault[];
  /** Of each fault. */
  runs: number;
  isShort: boolean;
  /** How long nothing may arrive while something is missing before that counts as lost. */
  patienceMs: number;
  /** The same while the gateways have nothing pending that it could come from; as `patienceMs` if absent. */
  emptyPatienceMs?: number;
  /** mosquitto in place of the broker. */
  mosquitto?: boolean;
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
const findingMs = 10_000;

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

/** Records that are read within a second: so many may be on their way at any moment, and none for longer than this. */
const onTheWay = 20;
const onTheWayS = 5;
/** How long gateways may take at least to tell that they have nothing pending any more: they tell it once a second. */
const calmMs = 10_000;

/**
 * What the gateways, and the platform's picture of them, show that they must not once all is stored, in words; waits for it to settle.
 */
async function unsettled(world: World, withinMs: number): Promise<string[]> {
  let found: string[] = [];
  const oldestS = ({ id }: WorldGateway) => world.metric(id, "jilian_gateway_outbox_oldest_age_seconds").catch(() => 0);
  for (const endMs = Date.now() + withinMs; ; await pause(100)) {
    const states = await world.states().catch(() => []);
    const ages = await Promise.all(world.gateways.map(oldestS));
    found = world.gateways.flatMap(({ id }, i) => {
      const ageS = ages[i] ?? 0;
      if (ageS > onTheWayS) return [`${id} has a record pending that is ${ageS} s old, although all is stored`];
      const own = states.find((state) => state.id === id);
      if (!own?.alive) return [`the platform takes ${id} for dead`];
      const { pendingRecords } = own;
      if (pendingRecords !== null && pendingRecords <= onTheWay) return [];
      return [`the platform says of ${id} that ${pendingRecords} records are pending, although all is stored`];
    });
    if (found.length === 0 || Date.now() > endMs) return found;
  }
}

/** Resolves when nothing is missing that may not be (true), or when nothing more arrives, or too slowly (false). */
async function drained(
  patienceMs: () => Promise<number>,
  longestMs: number,
  missing: () => Promise<number>,
): Promise<boolean> {
  let least = Number.POSITIVE_INFINITY;
  const startedMs = Date.now();
  const isInTime = async (changedMs: number) => {
    const ms = await patienceMs();
    return Date.now() - changedMs < ms && Date.now() - startedMs < longestMs;
  };
  for (let changedMs = startedMs; await isInTime(changedMs); await pause(100)) {
    // The interface may be on its way back.
    const found = await missing().catch(() => least);
    if (found === 0) return true;
    if (found < least) changedMs = Date.now();
    least = Math.min(least, found);
  }
  return false;
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
export async function startMatrix(
  { store, opcua }: Pick<Fault, "store" | "opcua">,
  setting: Omit<MatrixSetting, "faults" | "runs">,
) {
  const { seed, env = {}, onRun, isShort, mosquitto = false } = setting;
  const world = await startWorld({ store, seed, env, isShort, mosquitto, opcua: opcua === true });
  const search = storeSearch(world, 2);
  const runs: Run[] = [];

  /** Asked of the gateways themselves, and only where it makes a difference. */
  async function patienceMs(): Promise<number> {
    const { patienceMs, emptyPatienceMs = patienceMs } = setting;
    if (emptyPatienceMs === patienceMs) return patienceMs;
    const pending = await pendingOf(world, world.gateways).catch(() => Number.POSITIVE_INFINITY);
    return pending <= world.gateways.length * onTheWay ? emptyPatienceMs : patienceMs;
  }

  async function settle(fromMs: number): Promise<void> {
    const toMs = Date.now();
    await drained(patienceMs, 4 * setting.patienceMs, async () => (await search.missing(fromMs, toMs)).length);
  }

  /** How many samples of the last run are missing; undefined where some are lost, of which more say nothing. */
  let missingOfLast: (() => Promise<number>) | undefined;

  /** What was read up to now belongs to the last run: the next fault, or the end, is not to meet it on its way. */
  async function endLast(): Promise<void> {
    const last = runs.at(-1);
    if (!last) return;
    last.toMs = Date.now();
    if (missingOfLast) await drained(patienceMs, setting.patienceMs, missingOfLast);
  }

  async function run(fault: Fault, n: number): Promise<Run> {
    await endLast();
    search.advance();
    const [before, found] = [await dropsOf(world), await findingsOf(world)];
    const fromMs = Date.now();
    const outcome = await fault.inject(world, drawsOf(seed, fault.name, n), { isShort });
    const { allowances = new Map(), broken, countedDrops = false, returned, unfelt } = outcome;
    const toMs = Date.now();
    const own: Run = { fault, fromMs, toMs, recoveryMs: 0, allowances, drops: new Map(), broken: [], unfelt: [] };
    runs.push(own);
    const missing = () => missingOf(world, search, own, countedDrops ? before : undefined);
    await returned?.();
    const isStored = await drained(patienceMs, 4 * setting.patienceMs, missing);
    missingOfLast = isStored ? missing : undefined;
    own.recoveryMs = Date.now() - toMs;
    const boundMs = fault.recoveryBoundMs ?? recoveryBoundMs;
    if (own.recoveryMs > boundMs) own.broken.push(`recovery took ${own.recoveryMs} ms, more than ${boundMs} ms`);
    // Where readings are lost the rest says nothing more, and would be waited for in vain.
    if (isStored) own.broken.push(...(await unsettled(world, Math.max(calmMs, setting.patienceMs))));
    own.broken.push(...((await broken?.()) ?? []), ...(await wrongFindings(world, fault, found)));
    own.unfelt.push(...(await unfelt()));
    onRun?.(own);
    return own;
  }

  async function tally() {
    await endLast();
    return tallyRuns(world, runs);
  }

  return { world, runs, settle, run, tally };
}
export type Matrix = Awaited<ReturnType<typeof startMatrix>>;

/** Injects faults into one cluster, one after the other, and compares in the end. @param of what they have in common */
async function runOn(of: Pick<Fault, "store" | "opcua">, setting: MatrixSetting): Promise<Row[]> {
  const faults = setting.faults.filter(({ store, opcua }) => store === of.store && opcua === of.opcua);
  if (faults.length === 0) return [];
  const matrix = await startMatrix(of, setting);
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

/** The matrix: every fault as often as wanted, on the store and with the plants that it is for. */
export async function runMatrix(setting: MatrixSetting): Promise<Row[]> {
  const rows: Row[] = [];
  const clusters = [{ store: "duckdb" }, { store: "duckdb", opcua: true }, { store: "influx" }] as const;
  for (const one of clusters) rows.push(...(await runOn(one, setting)));
  return rows;
}
