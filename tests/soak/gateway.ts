/**
 * `npm run soak:gateway -- [--minutes N] [--seed N] [--only TRACK,...]
 * [--samples FILE] [--packed]`: a real gateway reads simulated devices (Modbus TCP, RTU over TCP and by
 * a box that dials, DL/T 645, OPC UA) for a real broker and ingest, while all of them fail as a seeded plan says, and the configuration is
 * reloaded. With --packed the gateway is the bundle that boxes are given (deploy/gateway/pack.ts), else the sources. Its memory, open files, handles and timers are looked at every five seconds. Prints one table; exit code 0 when everything was
 * flat in the second half, well again in the end, and the gateway ended by itself when it was asked to, else 1.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort, prepareDemo } from "@jilian/deploy/demo/prepare.ts";
import { type Arch, nodeBinaryOf } from "@jilian/deploy/gateway/node-binary.ts";
import { gatewayPack, writePack } from "@jilian/deploy/gateway/pack.ts";
import { unitSettings } from "@jilian/deploy/gateway/unit-settings.ts";
import { createMeter, plantMeterValues } from "@jilian/simulators/dlt645-meter.ts";
import { startDlt645Server } from "@jilian/simulators/dlt645-server.ts";
import { createPlant } from "@jilian/simulators/plant.ts";
import { startSimulator } from "@jilian/simulators/simulator.ts";
import { pino } from "pino";
import { parse } from "yaml";
import { brokerProgram, gatewayProgram, ingestProgram, programs } from "../e2e/programs.ts";
import { until } from "../e2e/until.ts";
import { wholeNumber } from "../whole-number.ts";
import { type Episode, planOf, trackNames } from "./plan.ts";
import { startDialler, startRtuServer } from "./rtu-plant.ts";
import { box, changedText, meterAddresses, type SoakConfig, soakConfig } from "./setting.ts";
import { isGood, tableOf, verdictOf } from "./slope.ts";
import { type Struck, strike } from "./strike.ts";
import { bounds, compareRest, lookAtRest, metricsIn, risenOf, startWatch, sumOf, type Watch } from "./watch.ts";

const root = resolve(import.meta.dirname, "../..");
const feeders = ["feeder-1", "feeder-2", "feeder-3"] as const;
const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** The devices, in this process. */
async function startDevices(seed: number, dir: string, dialled: number) {
  const simulator = await startSimulator({
    plants: [{ profile: "copper-casting", seed, port: 0, opcuaPort: 0 }],
    now: Date.now,
    maxServedReads: 1000,
    opcua: { pkiDir: join(dir, "simulator.pki"), maxLoggedValues: 1000, scanIntervalMs: 200 },
  });
  const plant = simulator.plants[0];
  if (!plant) throw new RangeError("a plant was asked for");
  const truth = createPlant({ profile: "copper-casting", seed, startMs: Date.now() });
  const valuesOf = (feeder: (typeof feeders)[number]) => () => {
    truth.advanceTo(Date.now());
    return plantMeterValues(truth, feeder);
  };
  const meters = await startDlt645Server({
    port: 0,
    meters: feeders.map((feeder, i) => createMeter({ address: meterAddresses[i] ?? "", values: valuesOf(feeder) })),
  });
  const rtu = await startRtuServer();
  const dialler = startDialler({ port: dialled, ...box });
  const close = async (): Promise<void> => {
    dialler.close();
    await Promise.all([rtu.close(), meters.stop(), simulator.close()]);
  };
  return { plant, meters, rtu, dialler, close };
}

type Devices = Awaited<ReturnType<typeof startDevices>>;

/** Counts of what a gateway logged, by code or message. */
function logged() {
  const counts = new Map<string, number>();
  return {
    take: (line: string): void => {
      if (!line.startsWith("{")) return;
      const { code, msg } = JSON.parse(line) as { code?: string; msg?: string };
      for (const text of new Set([code, msg])) if (text !== undefined) counts.set(text, (counts.get(text) ?? 0) + 1);
    },
    of: (text: string): number => counts.get(text) ?? 0,
    codes: () => [...counts].filter(([text]) => /^[A-Z_0-9]+$/.test(text)),
  };
}

/** Unpacks what a box is given into a folder. @returns the program in it, for the Node.js of this process */
async function unpacked(dir: string): Promise<string> {
  const pack = await gatewayPack(process.arch as Arch, nodeBinaryOf(root, process.arch as Arch));
  execFileSync("tar", ["-xzf", writePack(pack, dir, 0), "-C", dir]);
  return join(dir, pack.name, "lib/main.mjs");
}

/** Broker, ingest and gateway as processes, with their files in a folder. */
async function startPrograms(devices: Devices, dir: string, { dialled, main }: { dialled: number; main?: string }) {
  const [broker, api, ops] = [await freePort(), await freePort(), await freePort()];
  const log = pino({ level: "silent" });
  const demo = prepareDemo({
    dir,
    ports: { modbus: [1, 2, 3], opcua: [1, 2, 3], broker, api },
    separateBroker: true,
    log,
  });
  const file = demo.gatewayFiles[0]?.file ?? "";
  const { group, node, broker: known } = parse(readFileSync(file, "utf8")) as Parameters<typeof soakConfig>[0];
  const ports = { meters: devices.meters.port, rtu: devices.rtu.port, dialled };
  const config = soakConfig({ group, node, broker: known }, devices.plant, ports);
  writeFileSync(file, changedText(config, undefined, 0));
  const { flags, env } = unitSettings(root);
  const plain = gatewayProgram(file, { ...env, JILIAN__ops__port: String(ops), JILIAN_LOG_LEVEL: "info" });
  const [source = "", ...args] = plain.args;
  const settings = new Map([
    ["broker", brokerProgram(demo.platformFile)],
    ["ingest", ingestProgram(demo.platformFile)],
    ["gateway", { ...plain, args: [...flags, "--trace-gc", main ?? source, ...args] }],
  ]);
  const lines = logged();
  const listeners: ((line: string) => void)[] = [lines.take];
  const running = programs(settings, { JILIAN_LOG_LEVEL: "error" }, (name, line) => {
    if (name === "gateway") for (const listen of listeners) listen(line);
  });
  for (const name of settings.keys()) await running.start(name);
  return { running, config, file, ops, lines, listen: (listener: (line: string) => void) => listeners.push(listener) };
}

type Programs = Awaited<ReturnType<typeof startPrograms>>;

/** Has the gateway read its configuration and waits until it has said what it made of it. */
function reloader({ running, file, config, lines }: Programs): Struck["reload"] {
  const answers = () => ["configuration reloaded", "CONFIG_REFUSED", "the configuration is the same"].map(lines.of);
  return async (kind, draw) => {
    const before = answers();
    writeFileSync(`${file}.new`, changedText(config as SoakConfig, kind, draw));
    renameSync(`${file}.new`, file);
    process.kill(running.pids().get("gateway") as number, "SIGHUP");
    const at = kind === "faulty" ? 1 : 0;
    // After a faulty one the first is what is in use already.
    await until(`the reload (${kind ?? "back"})`, 30_000, () => {
      const now = answers();
      return (
        (now[at] as number) > (before[at] as number) ||
        (kind === undefined && (now[2] as number) > (before[2] as number))
      );
    });
  };
}

/** Plays one track of the plan, one thing after the other. */
async function play(episodes: readonly Episode[], struck: Struck, startMs: number): Promise<void> {
  for (const episode of episodes) {
    const { track, kind, atMs, forMs } = episode;
    await sleep(Math.max(0, startMs + atMs - performance.now()));
    const began = performance.now();
    try {
      const end = await strike(episode, struck);
      await sleep(Math.max(0, forMs - (performance.now() - began)));
      await end();
    } catch (cause) {
      throw new Error(`${track}: ${kind}: ${String(cause)}`, { cause });
    }
  }
}

/** What is not as it must be once nothing is wrong any more; tried again for a while. */
async function notWell(ops: number, devices: number): Promise<string[]> {
  let wrong: string[] = [];
  const look = async () => {
    const metrics = metricsIn(await (await fetch(`http://127.0.0.1:${ops}/metrics`)).text());
    const connected = sumOf(metrics, "jilian_gateway_device_connected");
    const dropped = sumOf(metrics, "jilian_gateway_outbox_dropped_samples_total");
    const pending = sumOf(metrics, "jilian_gateway_outbox_pending_records");
    wrong = [
      ...(connected === devices ? [] : [`${devices - connected} devices are not connected`]),
      ...(dropped === 0 ? [] : [`${dropped} samples were dropped`]),
      // What was read in the last seconds is on its way.
      ...(pending < 300 ? [] : [`${pending} records wait still`]),
    ];
    return wrong.length === 0;
  };
  await until("all well again", 30_000, look).catch(
    (error: unknown) => wrong.length === 0 && wrong.push(String(error)),
  );
  return wrong;
}

/** Whether the faults reached the gateway: a soak in which nothing happened proves nothing. */
function unfelt(plan: readonly Episode[], watch: Watch, { lines }: Programs): string[] {
  const planned = (track: string, kinds?: readonly string[]) =>
    plan.filter((episode) => episode.track === track && (kinds?.includes(episode.kind) ?? true)).length;
  const risen = (name: string) => risenOf(watch.points(name).map(({ value }) => value));
  const felt = {
    // Not what the gateway counts: a reload of all begins that anew, and is none of them.
    "lost connections to the broker": [
      lines.of("BROKER_LOST"),
      // A second outage may come before the first one is over for the gateway.
      Math.ceil(planned("platform", ["brokerKilled", "allKilled"]) / 2),
    ],
    reloads: [lines.of("configuration reloaded"), 2 * (planned("reload") - planned("reload", ["faulty"]))],
    "refused configurations": [lines.of("CONFIG_REFUSED"), planned("reload", ["faulty"])],
    "failures of devices": [risen("failures"), 1],
    "opened lines": [risen("opens"), 3],
  } as const;
  say(
    `felt: ${Object.entries(felt)
      .map(([what, [found]]) => `${found} ${what}`)
      .join(", ")}`,
  );
  return Object.entries(felt).flatMap(([what, [found, least]]) =>
    found >= least ? [] : [`${found} ${what}, where the plan has ${least}`],
  );
}

function report(watch: Watch, runMs: number): string[] {
  const verdicts = bounds(runMs).map((bound) => verdictOf(watch.points(bound.name), bound, runMs));
  say(`\n${tableOf(verdicts)}\n`);
  const { looks, missed } = watch;
  const pending = looks.map(({ values }) => values.pending ?? 0);
  say(`outbox: at most ${Math.max(...pending)} records waited, in the end ${pending.at(-1)}; ${looks.length} looks`);
  const bad = verdicts.filter((verdict) => !isGood(verdict));
  if (bad.length > 0) {
    const middle = looks.find(({ atMs }) => atMs >= runMs / 2);
    say(
      `kinds in the middle: ${JSON.stringify(middle?.kinds)}\nkinds in the end: ${JSON.stringify(looks.at(-1)?.kinds)}`,
    );
  }
  const told = missed.length > 0 ? [`${missed.length} looks failed, the last: ${missed.at(-1)}`] : [];
  return [...bad.map(({ bound, says }) => `${bound.name}: ${says}`), ...told];
}

async function main(): Promise<void> {
  const options = {
    minutes: { type: "string" },
    seed: { type: "string" },
    only: { type: "string" },
    samples: { type: "string" },
    packed: { type: "boolean", default: false },
  } as const;
  const { values } = parseArgs({ options });
  const runMs = 60_000 * wholeNumber("minutes", values.minutes, 30);
  const seed = wholeNumber("seed", values.seed, 1 + Math.floor(Math.random() * 2 ** 31));
  const wanted = values.only?.split(",");
  const plan = planOf(seed, runMs).filter(({ track }) => wanted?.includes(track) ?? true);
  say(
    `seed ${seed}, ${runMs / 60_000} minutes, ${plan.length} faults and reloads, ${values.packed ? "the packed program" : "from the sources"}`,
  );
  const dir = join(mkdtempSync(join(tmpdir(), "jilian-soak-")), "soak");
  const closers: (() => unknown)[] = [() => rmSync(dirname(dir), { recursive: true, force: true })];
  const wrong: string[] = [];
  try {
    const dialled = await freePort();
    const devices = await startDevices(seed, `${dir}.devices`, dialled);
    closers.push(devices.close);
    const main = values.packed ? { main: await unpacked(dirname(dir)) } : {};
    const started = await startPrograms(devices, dir, { dialled, ...main });
    const { running, ops, config } = started;
    closers.push(() => running.close(["gateway"], ["ingest", "broker"]));
    wrong.push(...(await notWell(ops, config.devices.length)).map((text) => `at the start: ${text}`));
    const pid = running.pids().get("gateway") as number;
    const before = await lookAtRest(pid, ops);
    const watch = startWatch(pid, ops, runMs, (look) => {
      if (values.samples !== undefined) appendFileSync(values.samples, `${JSON.stringify(look)}\n`);
    });
    started.listen(watch.line);
    const { kill, start } = running;
    const signal: Struck["signal"] = (name, kind) => void process.kill(running.pids().get(name) as number, kind);
    const struck: Struck = { ...devices, kill, start, signal, reload: reloader(started) };
    const startMs = performance.now();
    const playing = trackNames.map((name) =>
      play(
        plan.filter(({ track }) => track === name),
        struck,
        startMs,
      ),
    );
    const played = await Promise.allSettled(playing);
    for (const track of played) if (track.status === "rejected") wrong.push(String(track.reason));
    await watch.ended;
    wrong.push(...report(watch, runMs), ...(await notWell(ops, config.devices.length)));
    const rest = compareRest(before, await lookAtRest(pid, ops));
    say(`\n${rest.table}\n`);
    wrong.push(...rest.wrong);
    wrong.push(...unfelt(plan, watch, started));
    const ended = running.ended("gateway");
    await running.close(["gateway"], []);
    const how = await ended;
    if (how !== 0) wrong.push(`the gateway did not end by itself within its time: ${how}`);
    say(
      `logged: ${started.lines
        .codes()
        .map(([code, count]) => `${code} ${count}`)
        .join(", ")}`,
    );
  } finally {
    for (const closer of closers.reverse()) await closer();
  }
  say(
    wrong.length === 0
      ? `flat; seed ${seed}`
      : `NOT as it must be; seed ${seed}:\n${wrong.map((text) => `- ${text}`).join("\n")}`,
  );
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

await main();
