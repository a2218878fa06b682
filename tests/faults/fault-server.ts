import { setTimeout as pause } from "node:timers/promises";
import { between, type Fault, unless } from "./fault.ts";
import type { World } from "./world.ts";

const shedSamples = "jilian_ingest_shed_samples_total";
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
    const before = world.logged("ingest", "STORE_WRITE");
    world.limitFiles("ingest", 4096);
    await pause(between(draw, 2000, 4000));
    if (!world.hasEnded("ingest")) world.limitFiles("ingest", "unlimited");
    await pause(500);
    const isMet = world.hasEnded("ingest") || world.logged("ingest", "STORE_WRITE") > before;
    await restartIfEnded(world, "ingest");
    return { unfelt: unless({ "the store could write all the while": isMet }) };
  },
};

const storeGone: Fault = {
  name: "InfluxDB gone for a while",
  short: false,
  store: "influx",
  needs: ["influx"],
  // What was kept for a minute goes out at a rate that begins low and adapts.
  recoveryBoundMs: 180_000,
  inject: async (world, draw, { isShort }) => {
    const before = world.logged("ingest", "STORE_WRITE");
    await world.influxd?.kill();
    await pause(isShort ? between(draw, 2000, 4000) : 60_000);
    const isMet = world.logged("ingest", "STORE_WRITE") > before;
    await world.influxd?.restart();
    return { unfelt: unless({ "the store took all the while": isMet }) };
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
    const shedBefore = await world.metric("ingest", shedSamples);
    const { promise: quick, resolve } = Promise.withResolvers<"pass">();
    proxy?.decide(({ path }) => (path.startsWith("/write") ? quick : "pass"));
    await pause(4500);
    for (const gateway of world.gateways) gateway.proxy.reset();
    await pause(1500);
    const shed = (await world.metric("ingest", shedSamples)) - shedBefore;
    proxy?.decide(() => "pass");
    resolve("pass");
    return {
      unfelt: unless({ "ingest shed nothing": shed > 0 }),
      broken: () => {
        const asked = world.logged("ingest", rebirthAsked) - before;
        return asked > 0 ? [`births were asked for ${asked} times, because the store was slow`] : [];
      },
    };
  },
};

export const serverFaults: readonly Fault[] = [serverDiskFull, storeGone, slowStore];
