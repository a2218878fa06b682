import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import { type Demo, freePort, prepareDemo } from "@jilian/deploy/demo/prepare.ts";
import { type Simulator, scaledNow, startSimulator } from "@jilian/simulators/simulator.ts";
import { type Influxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { type FaultProxy as HttpProxy, startProxy } from "@jilian/store/influx/test-proxy.ts";
import { pino } from "pino";
import { parseDocument } from "yaml";
import { brokerProgram, gatewayProgram, ingestProgram, type ProgramSetting, programs } from "../e2e/programs.ts";
import { until } from "../e2e/until.ts";
import { demoMosquitto } from "../mosquitto.ts";
import { deviceConfig, type Meter, meterOf, pointName } from "./meters.ts";
import { buildShim, canCutPower, type PowerCut, powerCut } from "./power-cut.ts";
import { type FaultProxy, startFaultProxy } from "./proxy.ts";

/** Plants run faster than the machine, so that a counter rises between any two polls. */
const plantRate = 50;
const gatewayIds = ["gw-casting", "gw-rolling"] as const;
const deviceIds = ["incoming-meter", "feeder-1"] as const;

export type WorldSetting = {
  store: "duckdb" | "influx";
  seed: number;
  /** The last meter of each gateway is read over OPC UA. */
  opcua?: boolean;
  /** mosquitto in place of the broker. */
  mosquitto?: boolean;
  /** Backlogs go out ten times as fast as by default. */
  isShort?: boolean;
  /** More environment of every process: mutations. */
  env?: Readonly<Record<string, string>>;
};

/** A gateway with what stands around it. */
export type WorldGateway = {
  readonly id: string;
  readonly group: string;
  readonly meters: readonly Meter[];
  /** Between it and the broker. */
  readonly proxy: FaultProxy;
  readonly outboxFile: string;
  /** Absent where the shim cannot be built. */
  readonly cut: PowerCut | undefined;
  /** Sets its clock that much before the machine's (or behind), at once, while it runs. */
  readonly setClock: (offsetMs: number) => void;
  /** When it was killed, machine time. */
  readonly killsMs: number[];
};

/** What the platform says of a gateway. */
export type GatewayState = { id: string; alive: boolean; pendingRecords: number | null; droppedSamples: number | null };

/** The real processes, with the simulated plants in this one. */
export type World = {
  readonly dir: string;
  readonly gateways: readonly WorldGateway[];
  readonly simulator: Simulator;
  /** Where the platform keeps telemetry, and a proxy before it. */
  readonly influxd: Influxd | undefined;
  readonly influxProxy: HttpProxy | undefined;
  readonly get: <T>(path: string) => Promise<T>;
  /** The platform's picture of its gateways. */
  readonly states: () => Promise<GatewayState[]>;
  /** Starts a program that was killed or ended. */
  readonly start: (name: string) => Promise<void>;
  /** Gives a program that is started from now on more environment than `WorldSetting.env`: mutations. */
  readonly setEnv: (name: string, env: Readonly<Record<string, string>>) => void;
  readonly kill: (name: string) => Promise<void>;
  /** Sends a signal, for example SIGSTOP. */
  readonly signal: (name: string, signal: NodeJS.Signals) => void;
  /** Bounds the size of files that a running process may write (RLIMIT_FSIZE), or lifts that. */
  readonly limitFiles: (name: string, bytes: number | "unlimited") => void;
  readonly hasEnded: (name: string) => boolean;
  /** Of the process that bears the name now. */
  readonly pid: (name: string) => number;
  /** What a gateway or ingest that runs tells of itself under a name of its Prometheus metrics, of all labels together. */
  readonly metric: (name: string, metric: string) => Promise<number>;
  /** How often a line of this code or message was logged, by program and text. */
  readonly logged: (name: string, text: string) => number;
  readonly complaints: () => string[];
  readonly close: () => Promise<void>;
};

/** Written and renamed, so that a reader never sees half of it. */
function writeClock(file: string, offsetMs: number): void {
  const nowMs = Date.now();
  writeFileSync(`${file}.new`, `1,${nowMs + offsetMs},${nowMs}`);
  renameSync(`${file}.new`, file);
}

function adaptGateway(file: string, brokerPort: number, meters: readonly Meter[], isShort: boolean): void {
  const config = parseDocument(readFileSync(file, "utf8"));
  // A server of OPC UA in the process of the proxies holds them up now and then.
  const keepaliveMs = meters.some(({ protocol }) => protocol === "opcua") ? 3000 : 1000;
  const broker = { port: brokerPort, keepaliveMs, reconnectMinMs: 50, reconnectMaxMs: 300 };
  for (const [key, value] of Object.entries(broker)) config.setIn(["broker", key], value);
  config.setIn(["outbox", "commitTimeoutMs"], 1000);
  if (isShort) config.setIn(["outbox", "backlogRecordsPerSecond"], 5000);
  config.set("devices", config.createNode(meters.map(deviceConfig)));
  writeFileSync(file, String(config));
}

function adaptPlatform({ platformFile }: Demo): void {
  const config = parseDocument(readFileSync(platformFile, "utf8"));
  const ingest = { rebirthIntervalMs: 500, reorderMs: 500, queueSamples: 1000, batchSamples: 500 };
  for (const [key, value] of Object.entries(ingest)) config.setIn(["ingest", key], value);
  writeFileSync(platformFile, String(config));
}

/** Counts of logged lines by program and by code or message in them. */
function linesOf() {
  const counts = new Map<string, number>();
  return {
    take: (name: string, line: string): void => {
      let told: { code?: string; msg?: string };
      try {
        told = JSON.parse(line) as typeof told;
      } catch {
        return;
      }
      for (const text of [told.code, told.msg]) {
        const key = `${name} ${text}`;
        if (text !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    },
    of: (name: string, text: string): number => counts.get(`${name} ${text}`) ?? 0,
  };
}

const scanIntervalMs = 200;
const protocolOf = (device: number, opcua: boolean) => (opcua && device === deviceIds.length - 1 ? "opcua" : "modbus");

async function startPlants(seed: number, opcua: boolean, dir: string): Promise<Simulator> {
  const startedMs = Date.now();
  const now = scaledNow({ rate: plantRate, originMs: startedMs, startedRealMs: startedMs });
  const count = gatewayIds.length * deviceIds.length;
  const plants = Array.from({ length: count }, (_, i) => ({
    profile: "copper-casting" as const,
    seed: seed + i,
    ...(protocolOf(i % deviceIds.length, opcua) === "opcua" ? { port: null, opcuaPort: 0 } : { port: 0 }),
  }));
  const maxLogged = 1_000_000;
  // Proxies and oracle are in this process too: a server that looked at its hundreds of variables more often would hold them up.
  return startSimulator({
    plants,
    now,
    maxServedReads: maxLogged,
    opcua: { pkiDir: join(dir, "simulators.pki"), maxLoggedValues: maxLogged, scanIntervalMs },
  });
}

/** Gateways of the demonstration with meters, proxies and clocks of their own. */
async function makeGateways(
  demo: Demo,
  simulator: Simulator,
  { opcua = false, isShort = false }: WorldSetting,
  { brokerPort, shim }: { brokerPort: number; shim: string | undefined },
) {
  const gateways: WorldGateway[] = [];
  const settings = new Map<string, ProgramSetting>();
  for (const { gateway: id, file } of demo.gatewayFiles) {
    const n = (gatewayIds as readonly string[]).indexOf(id);
    const group = demoPlants.find(({ gateway }) => gateway === id)?.factory ?? "";
    if (n < 0) continue;
    const meters = deviceIds.map((device, i) => {
      const plant = simulator.plants[n * deviceIds.length + i];
      if (!plant) throw new RangeError("a plant for each meter");
      return meterOf(plant, { group, node: id, device }, protocolOf(i, opcua));
    });
    const proxy = await startFaultProxy(brokerPort);
    adaptGateway(file, proxy.port, meters, isShort);
    // A folder of its own, as on a box: what is set back or cut is this and nothing else.
    const outboxFile = join(dirname(file), id, "outbox.sqlite");
    const config = parseDocument(readFileSync(file, "utf8"));
    config.setIn(["outbox", "path"], outboxFile);
    if (opcua) config.set("opcua", { pkiDir: join(dirname(file), `${id}.pki`), acceptUnknownCertificates: true });
    writeFileSync(file, String(config));
    for (const folder of [dirname(outboxFile), join(dirname(file), `${id}.cut`)]) mkdirSync(folder);
    const cut = shim === undefined ? undefined : powerCut(outboxFile, shim, join(dirname(file), `${id}.cut`));
    cut?.settle();
    const clockFile = join(dirname(file), `${id}.clock`);
    writeClock(clockFile, 0);
    settings.set(id, gatewayProgram(file, { JILIAN_CLOCK: `@${clockFile}`, ...cut?.env }));
    const setClock = (offsetMs: number) => writeClock(clockFile, offsetMs);
    gateways.push({ id, group, meters, proxy, outboxFile, cut, setClock, killsMs: [] });
  }
  return { gateways, settings };
}

/** What can be done to the processes. */
function controlsOf(
  settings: Map<string, ProgramSetting>,
  gateways: readonly WorldGateway[],
  env: Readonly<Record<string, string>>,
) {
  const lines = linesOf();
  const running = programs(settings, { JILIAN_LOG_LEVEL: "info", ...env }, lines.take);
  const ended = new Set<string>();
  const plain = new Map(settings);
  const pidOf = (name: string) => running.pids().get(name) as number;
  const gatewayOf = (name: string) => gateways.find(({ id }) => id === name);
  return {
    start: async (name: string): Promise<void> => {
      gatewayOf(name)?.cut?.settle();
      ended.delete(name);
      const ready = running.start(name);
      void running.ended(name).then(() => ended.add(name));
      await ready.catch((cause: unknown) => {
        throw new Error(`${String(cause)}\n${running.complaints().slice(-5).join("\n")}`, { cause });
      });
    },
    setEnv: (name: string, more: Readonly<Record<string, string>>): void => {
      const setting = plain.get(name);
      if (!setting) throw new RangeError(`no program is called ${name}`);
      settings.set(name, { ...setting, env: { ...setting.env, ...more } });
    },
    kill: async (name: string): Promise<void> => {
      const killing = running.kill(name);
      gatewayOf(name)?.killsMs.push(Date.now());
      await killing;
    },
    signal: (name: string, signal: NodeJS.Signals): void => void process.kill(pidOf(name), signal),
    limitFiles: (name: string, bytes: number | "unlimited"): void => {
      execFileSync("prlimit", ["--pid", String(pidOf(name)), `--fsize=${bytes}:unlimited`]);
    },
    hasEnded: (name: string): boolean => ended.has(name),
    pid: pidOf,
    metric: running.metric,
    logged: lines.of,
    complaints: running.complaints,
    end: () => running.close([...gatewayIds], ["ingest", "broker"]),
  };
}

/** What can be asked of the platform. */
function interfaceOf(url: string, key: string) {
  const get = async <T>(path: string): Promise<T> => {
    const headers = { authorization: `Bearer ${key}` };
    const answer = await fetch(`${url}${path}`, { headers, signal: AbortSignal.timeout(5000) });
    const body = await answer.text();
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${body}`);
    return JSON.parse(body) as T;
  };
  return {
    get,
    states: async (): Promise<GatewayState[]> => {
      const { factories } = await get<{ factories: { gateways: GatewayState[] }[] }>("/wall/state");
      return factories.flatMap((factory) => factory.gateways);
    },
  };
}

/** Starts everything; resolves when every meter has had a reading stored. */
export async function startWorld(setting: WorldSetting): Promise<World> {
  const { store, seed, opcua = false, env = {} } = setting;
  const dir = join(mkdtempSync(join(tmpdir(), "jilian-faults-")), "world");
  const closers: (() => unknown)[] = [() => rmSync(resolve(dir, ".."), { recursive: true, force: true })];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const influxd = store === "influx" ? await startInfluxd() : undefined;
    if (influxd) closers.push(influxd.stop);
    const influxProxy = influxd && (await startProxy(influxd.url));
    if (influxProxy) closers.push(influxProxy.close);
    const [broker, api] = [await freePort(), await freePort()];
    const ports = { modbus: demoPlants.map(() => 502), opcua: demoPlants.map(() => 4840), broker, api };
    const influx = influxProxy && { url: influxProxy.url, database: "jilian" };
    const log = pino({ level: "silent" });
    const demo = prepareDemo({ dir, ports, separateBroker: true, influx, log });
    adaptPlatform(demo);
    const simulator = await startPlants(seed, opcua, dir);
    closers.push(simulator.close);
    const shim = canCutPower() ? buildShim(dir) : undefined;
    const { gateways, settings } = await makeGateways(demo, simulator, setting, { brokerPort: broker, shim });
    for (const { proxy } of gateways) closers.push(proxy.close);
    const brokers = setting.mosquitto ? demoMosquitto(demo.platformFile, broker) : brokerProgram(demo.platformFile);
    settings.set("broker", brokers).set("ingest", ingestProgram(demo.platformFile));
    const controls = controlsOf(settings, gateways, env);
    closers.push(controls.end);
    await controls.start("broker");
    await Promise.all(["ingest", ...gatewayIds].map(controls.start));
    const asking = interfaceOf(`http://127.0.0.1:${api}`, demo.apiKey);
    const world: World = { dir, gateways, simulator, influxd, influxProxy, ...controls, ...asking, close };
    await until("a stored reading of every meter", 60_000, async () => {
      for (const { entity } of gateways.flatMap(({ meters }) => meters)) {
        const path = `/open/v1/readings?device=${entity}&metric=${pointName}`;
        if ((await asking.get<{ readings: unknown[] }>(path)).readings.length === 0) return false;
      }
      return true;
    });
    return world;
  } catch (error) {
    await close();
    throw error;
  }
}
