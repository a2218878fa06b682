import { setTimeout as pause } from "node:timers/promises";
import { anyGateway, between, type Draw, type Fault, type Outcome, pendingOf, unless } from "./fault.ts";
import type { World } from "./world.ts";

type Part = "gateway" | "broker" | "ingest" | "store";

async function kill(world: World, name: string): Promise<void> {
  await (name === "store" ? world.influxd?.kill() : world.kill(name));
}

function pidOf(world: World, name: string): number {
  return name === "store" ? (world.influxd?.pid() ?? 0) : world.pid(name);
}

async function start(world: World, name: string): Promise<void> {
  await (name === "store" ? world.influxd?.restart() : world.start(name));
}

/** SIGKILL of the named parts within 200 ms, then their start again, one after the other. */
async function killAll(world: World, draw: Draw, parts: readonly Part[]): Promise<Outcome> {
  const names = parts.map((part) => (part === "gateway" ? anyGateway(world, draw).id : part));
  const before = names.map((name) => pidOf(world, name));
  await pause(between(draw, 200, 900));
  await Promise.all(names.map((name) => pause(draw(200)).then(() => kill(world, name))));
  await pause(between(draw, 0, 1000));
  // What the others need first: ingest ends when it finds no InfluxDB at its start.
  const order = ["store", "broker", "ingest"];
  for (const name of names.toSorted((a, b) => ((order.indexOf(a) + 4) % 4) - ((order.indexOf(b) + 4) % 4))) {
    await start(world, name);
  }
  const alive = names.filter((name, i) => pidOf(world, name) === before[i]);
  return { unfelt: () => alive.map((name) => `${name} is the process that it was`) };
}

function killed(parts: readonly Part[], short: boolean): Fault {
  const influx = parts.includes("store");
  return {
    name: `${parts.join(" and ")} killed`,
    short,
    store: influx ? "influx" : "duckdb",
    ...(influx ? { needs: ["influx"] as const } : {}),
    inject: (world, draw) => killAll(world, draw, parts),
  };
}

/** A backlog drains while the broker is killed again and again. */
const brokerUnderLoad: Fault = {
  name: "broker killed thrice under load",
  short: false,
  store: "duckdb",
  inject: async (world, draw) => {
    for (const { proxy } of world.gateways) {
      proxy.refuse(true);
      proxy.reset();
    }
    await pause(4000);
    const backlog = await pendingOf(world, world.gateways);
    for (const { proxy } of world.gateways) proxy.refuse(false);
    const pids = new Set([world.pid("broker")]);
    for (let i = 0; i < 3; i += 1) {
      await pause(between(draw, 100, 700));
      await world.kill("broker");
      await world.start("broker");
      pids.add(world.pid("broker"));
    }
    return {
      unfelt: unless({ "there was no backlog": backlog > 50, "the broker was not killed thrice": pids.size === 4 }),
    };
  },
};

const ingestStopped: Fault = {
  name: "ingest stands still (SIGSTOP)",
  short: false,
  store: "duckdb",
  inject: async (world, draw) => {
    world.signal("ingest", "SIGSTOP");
    await pause(between(draw, 1500, 3500));
    const kept = await pendingOf(world, world.gateways);
    world.signal("ingest", "SIGCONT");
    return { unfelt: unless({ "what was read meanwhile was confirmed": kept > 20 }) };
  },
};

export const killFaults: readonly Fault[] = [
  killed(["gateway"], true),
  killed(["broker"], true),
  killed(["ingest"], true),
  killed(["gateway", "broker"], false),
  killed(["gateway", "ingest"], false),
  killed(["broker", "ingest"], false),
  brokerUnderLoad,
  ingestStopped,
  killed(["store"], false),
  killed(["gateway", "store"], false),
  killed(["broker", "store"], false),
  killed(["ingest", "store"], false),
];
