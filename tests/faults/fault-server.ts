import { setTimeout as pause } from "node:timers/promises";
import { between, type Fault } from "./fault.ts";
import type { World } from "./world.ts";

const rebirthAsked = "asking the node for its births";

/** A service manager starts again what has ended. */
async function restartIfEnded(world: World, name: string): Promise<void> {
  if (!world.hasEnded(name)) return;
  await world.start(name);
}

const serverDiskFull: Fault = {
  name: "files of the platform may not grow (RLIMIT_FSIZE)",
  short: false,
  store: "duckdb",
  needs: ["prlimit"],
  inject: async (world, draw) => {
    world.limitFiles("ingest", 4096);
    await pause(between(draw, 2000, 4000));
    if (!world.hasEnded("ingest")) world.limitFiles("ingest", "unlimited");
    await pause(500);
    await restartIfEnded(world, "ingest");
    return undefined;
  },
};

const storeGone: Fault = {
  name: "InfluxDB gone for a while",
  short: false,
  store: "influx",
  needs: ["influx"],
  inject: async (world, draw, { isShort }) => {
    await world.influxd?.kill();
    await pause(isShort ? between(draw, 2000, 4000) : 60_000);
    await world.influxd?.restart();
    return undefined;
  },
};

/** Writes take so long that the queue of ingest overflows, and the gateways connect anew meanwhile: data is shed, births and seq are not. */
const slowStore: Fault = {
  name: "slow store",
  short: false,
  store: "influx",
  needs: ["influx"],
  inject: async (world) => {
    const proxy = world.influxProxy;
    const before = world.logged("ingest", rebirthAsked);
    const { promise: quick, resolve } = Promise.withResolvers<"pass">();
    proxy?.decide(({ path }) => (path.startsWith("/write") ? quick : "pass"));
    await pause(4500);
    for (const gateway of world.gateways) gateway.proxy.reset();
    await pause(1500);
    proxy?.decide(() => "pass");
    resolve("pass");
    return {
      broken: () => {
        const asked = world.logged("ingest", rebirthAsked) - before;
        return asked > 0 ? [`births were asked for ${asked} times, because the store was slow`] : [];
      },
    };
  },
};

export const serverFaults: readonly Fault[] = [serverDiskFull, storeGone, slowStore];
