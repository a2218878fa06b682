import { cpSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../e2e/until.ts";
import type { Answer } from "./compare.ts";
import {
  anyGateway,
  between,
  came,
  type Draw,
  type Fault,
  lasting,
  type Outcome,
  type Plan,
  pendingOf,
  unless,
} from "./fault.ts";
import { pointName } from "./meters.ts";
import type { PowerCut } from "./power-cut.ts";
import { allStored, clockSkewsMs, storedOf } from "./stored.ts";
import type { World, WorldGateway } from "./world.ts";

/** `outbox.fsyncMs` as it stands in the configurations of the demonstration: the default. */
const fsyncMs = 500;
/** How late a timer of a busy test machine may be. */
const timerSlackMs = 300;
const hourMs = 3_600_000;

/** Some of what was written since the last sync is there to be lost: not where a busy machine has let the next one come meanwhile. */
async function amidSyncs(draw: Draw, { syncedMs }: PowerCut): Promise<void> {
  const pauseMs = between(draw, 200, 350);
  for (let tries = 0; tries < 5; tries += 1) {
    const before = syncedMs();
    await came(2 * fsyncMs, () => syncedMs() > before);
    const atMs = syncedMs();
    await pause(pauseMs);
    if (syncedMs() === atMs) return;
  }
}

type CutSetting = { short: boolean; torn?: boolean; connected?: boolean };

/**
 * While nothing of it can be stored, so that the medium holds the only copy; or connected up to the cut, which then takes back what the
 * platform has stored, and with it the offsets that were used.
 */
const powerCutFault = (name: string, { short, torn = false, connected = false }: CutSetting): Fault => ({
  name,
  short,
  store: "duckdb",
  needs: ["shim"],
  limit: `the last ${fsyncMs} ms`,
  inject: async (world, draw, plan) => {
    const { id, meters, proxy, cut, killsMs } = anyGateway(world, draw);
    if (!cut) throw new RangeError("a power cut needs the shim");
    if (!connected) {
      proxy.refuse(true);
      proxy.reset();
    }
    await lasting(draw, plan, 2000, 3000);
    await amidSyncs(draw, cut);
    const syncedMs = cut.syncedMs();
    await world.kill(id);
    const killedMs = killsMs.at(-1) as number;
    const unsynced = cut.strike(torn ? draw : undefined);
    proxy.refuse(false);
    await world.start(id);
    const isTaken = ({ servedMs }: Answer) => servedMs > syncedMs && servedMs < killedMs;
    return {
      allowances: new Map([[id, [{ fromMs: killedMs - fsyncMs - timerSlackMs, toMs: killedMs }]]]),
      unfelt: async () => {
        const taken = await Promise.all(
          meters.map(async (meter) => {
            const stored = new Set((await storedOf(world, meter, pointName)).map(({ value }) => value));
            return meter.answers()[pointName].some((answer) => isTaken(answer) && stored.has(answer.value));
          }),
        );
        return unless({
          "everything had been synced": unsynced > 0,
          "nothing that the cut took had been stored": !connected || taken.includes(true),
        })();
      },
    };
  },
});

/** Until the gateway has felt it, or for this long. */
const fullMs = 30_000;
/** A file that has been longer takes so much still that a fault which only keeps it from growing would be felt after minutes. */
const growthMs = 5000;
/** A medium that failed is tried again after 10 s, after 20 s where it failed again soon, and so on. */
const backOnFileMs = 60_000;

/** Nothing can be written while nothing can be stored elsewhere. Readings are held at first, and go on from memory after 3 s: it may end in either. */
async function withoutRoom(
  world: World,
  draw: Draw,
  plan: Plan,
  fill: (gateway: WorldGateway, full: "growth" | "any" | undefined) => void,
) {
  const gateway = anyGateway(world, draw);
  gateway.proxy.refuse(true);
  gateway.proxy.reset();
  // What the file holds then is to come back with it.
  await lasting(draw, plan, 600, 2000);
  const isWritable = async () => (await world.metric(gateway.id, "jilian_gateway_outbox_writable")) === 1;
  const isUnwritable = async () => (await world.metric(gateway.id, "jilian_gateway_outbox_writable")) === 0;
  fill(gateway, "growth");
  let isFelt = await came(growthMs, isUnwritable);
  if (!isFelt) {
    fill(gateway, "any");
    isFelt = await came(fullMs, isUnwritable);
  }
  await pause(between(draw, 500, 6000));
  fill(gateway, undefined);
  gateway.proxy.refuse(false);
  let isBack = false;
  return {
    countedDrops: true,
    // What the file held when it was left goes out when it is had again. And what waits in memory is lost with the process by right: the
    // next fault is not to meet it.
    returned: async () => {
      isBack = await came(backOnFileMs, isWritable);
    },
    broken: () => (isBack ? [] : [`the outbox was not back on its file within ${backOnFileMs} ms`]),
    unfelt: unless({ [`the outbox was writable for ${fullMs} ms`]: isFelt }),
  };
}

const diskFull: Fault = {
  name: "disk full at the gateway (ENOSPC)",
  short: true,
  store: "duckdb",
  needs: ["shim"],
  limit: "dropped, counted and told",
  inject: (world, draw, plan) => withoutRoom(world, draw, plan, ({ cut }, full) => cut?.fill(full)),
};

const fileLimit: Fault = {
  name: "files of the gateway may not grow (RLIMIT_FSIZE)",
  short: false,
  store: "duckdb",
  needs: ["prlimit"],
  limit: "dropped, counted and told",
  inject: (world, draw, plan) =>
    withoutRoom(world, draw, plan, ({ id }, full) => world.limitFiles(id, full ? 4096 : "unlimited")),
};

/** Evidence of a clock that was set: readings that were written by it. */
const skewed =
  (world: World, { meters }: WorldGateway, fromMs: number, offsetMs: number): Outcome["unfelt"] =>
  async () => {
    const skews = (await Promise.all(meters.map((meter) => clockSkewsMs(world, meter, fromMs)))).flat();
    const isSeen = skews.some((ms) => (offsetMs > 0 ? ms > offsetMs / 2 : ms < offsetMs / 2));
    return isSeen ? [] : [`no stored reading was written by a clock ${offsetMs} ms off`];
  };

const clockJumps: Fault = {
  name: "clock jumps forward and back",
  short: true,
  store: "duckdb",
  inject: async (world, draw, plan) => {
    const gateway = anyGateway(world, draw);
    const fromMs = Date.now();
    const jumpMs = between(draw, 60_000, hourMs);
    for (const offsetMs of [jumpMs, 0]) {
      gateway.setClock(offsetMs);
      await lasting(draw, plan, 1200, 1200);
    }
    return { unfelt: skewed(world, gateway, fromMs, jumpMs) };
  },
};

const clockBack: Fault = {
  name: "clock stands back, then is set right",
  short: false,
  store: "duckdb",
  inject: async (world, draw) => {
    const gateway = anyGateway(world, draw);
    const { id, setClock } = gateway;
    const fromMs = Date.now();
    const backMs = between(draw, 60_000, hourMs);
    setClock(-backMs);
    await pause(1500);
    await world.kill(id);
    await world.start(id);
    await pause(1500);
    setClock(0);
    return { unfelt: skewed(world, gateway, fromMs, -backMs) };
  },
};

/**
 * The folder of the outbox is put back to an earlier state, as a virtual machine's disk is; nothing unstored is in between. The gateway
 * was started again since that state: that another start than the one known has its number is what the platform can see.
 */
async function setBack(world: World, draw: Draw, plan: Plan): Promise<Outcome> {
  const gateway = anyGateway(world, draw);
  const { id, meters, proxy, outboxFile } = gateway;
  const folder = dirname(outboxFile);
  const copy = `${folder}.copy`;
  const startedMs = Date.now();
  // Some of what the copy holds is still pending in it.
  proxy.refuse(true);
  proxy.reset();
  await lasting(draw, plan, 800, 800);
  const pending = await pendingOf(world, [gateway]);
  world.signal(id, "SIGSTOP");
  // Without its control socket, which cannot be copied.
  cpSync(folder, copy, { recursive: true, filter: (path) => statSync(path).isDirectory() || statSync(path).isFile() });
  world.signal(id, "SIGCONT");
  proxy.refuse(false);
  await world.kill(id);
  await world.start(id);
  await lasting(draw, plan, 1000, 2000);
  for (const { plant } of meters) await plant.startFault({ kind: "silent" });
  await until("everything read to be stored before the set-back", 30_000, () => allStored(world, gateway, startedMs));
  await world.kill(id);
  rmSync(folder, { recursive: true });
  cpSync(copy, folder, { recursive: true });
  rmSync(copy, { recursive: true });
  for (const { plant } of meters) await plant.clearFaults();
  await world.start(id);
  return { unfelt: unless({ "nothing was pending in the copy": pending > 0 }) };
}

export const boxFaults: readonly Fault[] = [
  powerCutFault("power cut", { short: true }),
  powerCutFault("power cut, torn writes survive", { short: false, torn: true }),
  powerCutFault("power cut while connected", { short: false, connected: true }),
  diskFull,
  fileLimit,
  {
    name: "outbox set back to an earlier copy",
    short: true,
    store: "duckdb",
    findings: ["GATEWAY_RESTORED", "GATEWAY_SET_BACK"],
    inject: setBack,
  },
];

/** Injected last: a gateway whose clock was set back stamps its readings in the future until the machine's clock has come there. */
export const clockFaults: readonly Fault[] = [clockJumps, clockBack];
