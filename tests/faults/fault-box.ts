import { cpSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../e2e/until.ts";
import { anyGateway, between, type Draw, type Fault, lasting, type Plan } from "./fault.ts";
import { allStored } from "./stored.ts";
import type { World } from "./world.ts";

/** `outbox.fsyncMs` as it stands in the configurations of the demonstration: the default. */
const fsyncMs = 500;
/** How late a timer of a busy test machine may be. */
const timerSlackMs = 300;
const hourMs = 3_600_000;

/** While nothing of it can be stored: only then does the medium hold the only copy. */
const powerCut = (name: string, torn: boolean, short: boolean): Fault => ({
  name,
  short,
  store: "duckdb",
  needs: ["shim"],
  limit: `the last ${fsyncMs} ms`,
  inject: async (world, draw, plan) => {
    const { id, proxy, cut, killsMs } = anyGateway(world, draw);
    proxy.refuse(true);
    proxy.reset();
    await lasting(draw, plan, 2600, 3500);
    await world.kill(id);
    const killedMs = killsMs.at(-1) as number;
    cut?.strike(torn ? draw : undefined);
    proxy.refuse(false);
    await world.start(id);
    return { allowances: new Map([[id, [{ fromMs: killedMs - fsyncMs - timerSlackMs, toMs: killedMs }]]]) };
  },
});

/** The disk of a gateway is full while its readings cannot be stored elsewhere. */
const diskFull: Fault = {
  name: "disk full at the gateway (ENOSPC)",
  short: true,
  store: "duckdb",
  needs: ["shim"],
  limit: "dropped, counted and told",
  inject: async (world, draw, plan) => {
    const { cut, proxy } = anyGateway(world, draw);
    cut?.fill(true);
    proxy.refuse(true);
    proxy.reset();
    await lasting(draw, plan, 2000, 3000);
    cut?.fill(false);
    proxy.refuse(false);
    return { countedDrops: true };
  },
};

const fileLimit: Fault = {
  name: "files of the gateway may not grow (RLIMIT_FSIZE)",
  short: false,
  store: "duckdb",
  needs: ["prlimit"],
  limit: "dropped, counted and told",
  inject: async (world, draw) => {
    const { id, proxy } = anyGateway(world, draw);
    world.limitFiles(id, 4096);
    proxy.refuse(true);
    proxy.reset();
    await pause(between(draw, 2000, 3000));
    world.limitFiles(id, "unlimited");
    proxy.refuse(false);
    return { countedDrops: true };
  },
};

const clockJumps: Fault = {
  name: "clock jumps forward and back",
  short: true,
  store: "duckdb",
  inject: async (world, draw, plan) => {
    const { setClock } = anyGateway(world, draw);
    for (const offsetMs of [between(draw, 60_000, hourMs), 0]) {
      setClock(offsetMs);
      await lasting(draw, plan, 1200, 1200);
    }
    return undefined;
  },
};

const clockBack: Fault = {
  name: "clock stands back, then is set right",
  short: false,
  store: "duckdb",
  inject: async (world, draw) => {
    const { id, setClock } = anyGateway(world, draw);
    setClock(-between(draw, 60_000, hourMs));
    await pause(1500);
    await world.kill(id);
    await world.start(id);
    await pause(1500);
    setClock(0);
    return undefined;
  },
};

/**
 * The folder of the outbox is put back to an earlier state, as a virtual machine's disk is; nothing unstored is in between. The gateway
 * was started again since that state: that another start than the one known has its number is what the platform can see.
 */
async function setBack(world: World, draw: Draw, plan: Plan): Promise<undefined> {
  const gateway = anyGateway(world, draw);
  const { id, meters, proxy, outboxFile } = gateway;
  const folder = dirname(outboxFile);
  const copy = `${folder}.copy`;
  const startedMs = Date.now();
  // Some of what the copy holds is still pending in it.
  proxy.refuse(true);
  proxy.reset();
  await lasting(draw, plan, 800, 800);
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
  return undefined;
}

export const boxFaults: readonly Fault[] = [
  powerCut("power cut", false, true),
  powerCut("power cut, torn writes survive", true, false),
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
