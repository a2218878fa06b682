import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { demoOpcuaUser, demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import { type Demo, freePort, freePorts, prepareDemo, trustServers } from "@jilian/deploy/demo/prepare.ts";
import { type Simulator, scaledNow, startSimulator } from "@jilian/simulators/simulator.ts";
import { pino } from "pino";
import { parseDocument, type YAMLMap } from "yaml";
import { demoMosquitto } from "../mosquitto.ts";
import {
  brokerProgram,
  gatewayProgram,
  ingestProgram,
  type ProgramSetting,
  platformProgram,
  programs,
} from "./programs.ts";
import { until } from "./until.ts";

export type ClusterSetting = {
  /** Plant seconds in a second of the machine. */
  rate: number;
  /** Plant time at the start, UTC ms. */
  originMs: number;
  pollIntervalMs: number;
  heartbeatMs: number;
  /** Broker, and ingest with api, as processes of their own. */
  separateBroker: boolean;
  /** mosquitto in place of the broker. */
  mosquitto?: boolean;
  /** Keeps telemetry in this InfluxDB instead of in DuckDB. */
  influxUrl?: string;
  /** Device ids of the first gateway whose PLC is not there: nothing listens at their address. */
  absent?: readonly string[];
};

/** Which process was killed, when, and when it was ready again, in plant time. */
export type Kill = { readonly name: string; readonly killedAtMs: number; backAtMs?: number };

/** The real product as processes, with the simulated plants, the oracle, in this one. */
export type Cluster = {
  simulator: Simulator;
  /** Plant time now. */
  now: () => number;
  apiUrl: string;
  get: <T>(path: string) => Promise<T>;
  /** Process ids by name: platform, or broker and ingest; the gateways. */
  pids: () => Map<string, number>;
  /** SIGKILL; resolves when the process is gone. What it tells gets its time of being back at `start`. */
  kill: (name: string) => Promise<Kill>;
  /** Starts a killed process again; resolves when it is ready. */
  start: (name: string) => Promise<void>;
  /** Until everything that the gateways wrote before a time is confirmed by the store. @param timeMs plant time */
  confirmed: (timeMs: number) => Promise<void>;
  /** Does something while the gateways stand still (SIGSTOP), so that the platform has the machine to itself. */
  whileHeld: <T>(work: () => Promise<T>) => Promise<T>;
  /** Everything that the programs logged at level warn and above, and what was not a log line. */
  complaints: () => string[];
  close: () => Promise<void>;
};

/** Of the machine's time, as a server knows no other. */
const publishingIntervalMs = 250;

/** Makes polling fast enough for a plant that runs `rate` times faster; every counter is read with each poll. */
function adaptGateway(file: string, setting: ClusterSetting, absent: readonly string[], closedPort: number): void {
  const config = parseDocument(readFileSync(file, "utf8"));
  const devices = config.get("devices") as { items: YAMLMap[] };
  for (const device of devices.items) {
    if (absent.includes(String(device.get("id")))) device.set("port", closedPort);
    if (device.get("driver") === "opcua") {
      // Every change is told, as often as a PLC is polled: each message is signed and encrypted, which costs more than what it carries.
      device.set("samplingIntervalMs", 0);
      device.set("publishingIntervalMs", publishingIntervalMs);
      device.set("queueSize", 1000);
    }
    device.set("pollIntervalMs", setting.pollIntervalMs);
    // A heartbeat of an OPC UA tag needs three publishing intervals.
    device.set(
      "heartbeatMs",
      device.get("driver") === "opcua" ? Math.max(3 * publishingIntervalMs, setting.heartbeatMs) : setting.heartbeatMs,
    );
    device.set("retryMinMs", 50);
    // A stall of the test's machine is no silence of the plant.
    device.set("timeoutMs", 5000);
  }
  config.setIn(["broker", "reconnectMinMs"], 50);
  config.setIn(["broker", "reconnectMaxMs"], 500);
  config.setIn(["outbox", "commitTimeoutMs"], 2000);
  writeFileSync(file, String(config));
}

function adaptPlatform(demo: Demo, dir: string): void {
  const config = parseDocument(readFileSync(demo.platformFile, "utf8"));
  config.setIn(["ingest", "provisionalIntervalMs"], 1000);
  config.setIn(["ingest", "kpiIntervalMs"], 250);
  config.setIn(["ingest", "rebirthIntervalMs"], 500);
  writeFileSync(demo.platformFile, String(config));
  // A machine that stalls for 100 ms stalls a plant that runs 20 times faster for 2 s: no power limit would hold then.
  const registry = join(dir, "cluster.yaml");
  writeFileSync(registry, readFileSync(registry, "utf8").replaceAll(/,\s*ratedPowerKW: \d+/g, ""));
}

export async function startCluster(setting: ClusterSetting): Promise<Cluster> {
  const dir = join(mkdtempSync(join(tmpdir(), "jilian-e2e-")), "demo");
  const startedMs = Date.now();
  const now = scaledNow({ rate: setting.rate, originMs: setting.originMs, startedRealMs: startedMs });
  const [broker, api] = [await freePort(), await freePort()];
  const [modbus, opcua] = [await freePorts(demoPlants.length), await freePorts(demoPlants.length, 25_020)];
  const log = pino({ level: "silent" });
  const demo = prepareDemo({
    dir,
    ports: { modbus, opcua, broker, api },
    separateBroker: setting.separateBroker,
    influx: setting.influxUrl === undefined ? undefined : { url: setting.influxUrl, database: "jilian" },
    log,
  });
  adaptPlatform(demo, dir);
  const closedPort = await freePort();
  for (const [i, { file }] of demo.gatewayFiles.entries()) {
    adaptGateway(file, setting, i === 0 ? (setting.absent ?? []) : [], closedPort);
  }

  const env = { JILIAN_CLOCK: `${setting.rate},${setting.originMs},${startedMs}`, JILIAN_LOG_LEVEL: "info" };
  const kills = new Map<string, Kill>();
  const settings = new Map<string, ProgramSetting>();
  if (setting.separateBroker)
    settings
      .set("broker", setting.mosquitto ? demoMosquitto(demo.platformFile, broker) : brokerProgram(demo.platformFile))
      .set("ingest", ingestProgram(demo.platformFile));
  else settings.set("platform", platformProgram(demo.platformFile));
  const platforms = [...settings.keys()];
  for (const { gateway, file } of demo.gatewayFiles) settings.set(gateway, gatewayProgram(file));
  const gateways = demo.gatewayFiles.map(({ gateway }) => gateway);
  const running = programs(settings, env);
  for (const name of platforms) await running.start(name);
  // The plants begin last: some of their counters roll over within their first minutes, which must not pass unread.
  const plants = demoPlants.map(({ profile, protocols }, i) => ({
    profile,
    seed: i + 1,
    port: protocols === "opcua" ? null : (modbus[i] as number),
    opcuaPort: protocols === "modbus" ? null : (opcua[i] as number),
  }));
  const simulator = await startSimulator({
    plants,
    now,
    maxServedReads: 1_000_000,
    opcua: {
      pkiDir: join(dir, "simulators.pki"),
      user: { name: demoOpcuaUser.name, password: demo.opcuaPassword },
      maxLoggedValues: 1_000_000,
    },
  });
  trustServers(
    demo,
    simulator.plants.map((plant) => plant.opcua?.certificatePath ?? null),
  );
  await Promise.all(gateways.map(running.start));

  const apiUrl = `http://127.0.0.1:${api}`;
  return {
    simulator,
    now,
    apiUrl,
    get: async <T>(path: string) => {
      const response = await fetch(`${apiUrl}${path}`, { headers: { authorization: `Bearer ${demo.apiKey}` } });
      const body = await response.text();
      if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${body}`);
      return JSON.parse(body) as T;
    },
    pids: running.pids,
    kill: async (name) => {
      const killing = running.kill(name);
      const killedAtMs = now();
      await killing;
      const killed: Kill = { name, killedAtMs };
      kills.set(name, killed);
      return killed;
    },
    start: async (name) => {
      await running.start(name);
      const killed = kills.get(name);
      if (killed) killed.backAtMs = now();
    },
    confirmed: async (timeMs) => {
      for (const name of gateways) {
        await until(`${name} to have sent what is older`, 60_000, async () => {
          const sinceMs = now() - 1000 * (await running.metric(name, "jilian_gateway_outbox_oldest_age_seconds"));
          return sinceMs > timeMs;
        });
      }
    },
    whileHeld: async (work) => {
      const pids = gateways.map((name) => running.pids().get(name) ?? 0).filter((pid) => pid > 0);
      for (const pid of pids) process.kill(pid, "SIGSTOP");
      try {
        return await work();
      } finally {
        for (const pid of pids) process.kill(pid, "SIGCONT");
      }
    },
    complaints: running.complaints,
    close: async () => {
      await running.close(gateways, platforms.toReversed());
      await simulator.close();
      rmSync(resolve(dir, ".."), { recursive: true, force: true });
    },
  };
}
