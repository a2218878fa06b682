#!/usr/bin/env node
/**
 * `npm start`: the whole product on one machine. Three simulated plants, three gateways as processes of their own, one platform process
 * on the embedded stores; no server, no root. `npm start -- --influx URL [--database NAME]` keeps telemetry in an InfluxDB instead.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { pino } from "pino";
import { demoInflux } from "./demo/influx.ts";
import { demoOpcuaUser, demoPlants } from "./demo/make-gateways.ts";
import { type Demo, freePort, freePorts, prepareDemo, trustServers } from "./demo/prepare.ts";
import { type Program, type Running, startProgram } from "./processes.ts";
import { readableLine } from "./readable-log.ts";

/** A part that ends at once again and again is started ever more rarely. */
const restartMinMs = 1000;
const restartMaxMs = 30_000;
const steadyMs = 20_000;
/** How long the devices may take to connect before the address is printed without them. */
const connectMs = 10_000;
const root = resolve(fileURLToPath(import.meta.url), "../..");
const dataDir = resolve(process.env.JILIAN_DATA ?? resolve(root, "data/demo"));
/** Variables that stand for values of platform.yaml (`JILIAN__influx__username`) are none of a gateway's business. */
const gatewayEnv = Object.fromEntries(
  Object.keys(process.env)
    .filter((name) => name.startsWith("JILIAN__"))
    .map((name) => [name, undefined]),
);
const say = (text: string) => process.stdout.write(`${text}\n`);

const running = new Map<string, Running>();
let ending = false;

type Kept = { quiet?: boolean; onLine?: (line: string) => void; waitMs?: number };

/** Starts a program and starts it again when it ends by itself: a killed part of the demonstration comes back. */
function keepRunning(program: Program, { quiet = false, onLine, waitMs = restartMinMs }: Kept = {}): Running {
  const startedMs = performance.now();
  const handle = startProgram(program, (line) => {
    onLine?.(line);
    if (!quiet) say(readableLine(program.name, line));
  });
  running.set(program.name, handle);
  handle.ended.then((how) => {
    if (ending) return;
    const pauseMs = performance.now() - startedMs > steadyMs ? restartMinMs : waitMs;
    say(readableLine(program.name, `ended (${how}); starting it again in ${pauseMs / 1000} s`));
    setTimeout(() => {
      const next = { quiet, waitMs: Math.min(pauseMs * 2, restartMaxMs), ...(onLine ? { onLine } : {}) };
      if (!ending) keepRunning(program, next);
    }, pauseMs);
  });
  return handle;
}

async function endAll(): Promise<void> {
  if (ending) return;
  ending = true;
  const platform = running.get("platform");
  const others = [...running.values()].filter((handle) => handle !== platform);
  // Gateways first: what they have sent is stored and committed before the platform goes.
  await Promise.all(others.map((handle) => handle.stop(1200)));
  await platform?.stop(1500);
}

/** What the simulators are told. The same origin at every start: plants that are started again go on where they would be. */
function plantArgs(demo: Demo, modbus: readonly number[], opcua: readonly number[], originMs: number): string[] {
  return [
    ...["--plants", String(demoPlants.length), "--protocols", demoPlants.map((p) => p.protocols).join(",")],
    ...["--base-port", String(modbus[0]), "--opcua-base-port", String(opcua[0])],
    ...["--opcua-pki", resolve(dataDir, "simulators.pki"), "--opcua-user", demoOpcuaUser.name],
    ...["--opcua-password-file", demo.opcuaPasswordFile],
    ...["--origin-ms", String(originMs), "--started-real-ms", String(originMs)],
  ];
}

async function main(): Promise<void> {
  const startedMs = Date.now();
  const influx = demoInflux(process.argv.slice(2), process.env);
  const [modbus, opcua] = [await freePorts(demoPlants.length), await freePorts(demoPlants.length, 15120)];
  const [broker, api] = await Promise.all([freePort(1883), freePort(8080)]);
  const ops = await freePorts(1 + demoPlants.length, 9464);
  const log = pino({ level: "warn" }, pino.destination(2));
  const demo = prepareDemo({ dir: dataDir, ports: { modbus, opcua, broker, api }, influx, log });
  // The folder is ours by now: nobody else's demonstration works in it and with this database.
  if (influx) say(`Making the database ${influx.database} of ${influx.url} anew ...`);
  await influx?.empty();
  const simulators = keepRunning(
    {
      name: "simulators",
      args: [resolve(root, "simulators/simulate.ts"), ...plantArgs(demo, modbus, opcua, startedMs)],
    },
    { quiet: true },
  );
  const platform = keepRunning({
    name: "platform",
    args: [resolve(root, "deploy/jilian.ts"), "run", "--config", demo.platformFile],
    env: { JILIAN__ops__port: String(ops[0]) },
  });
  const [plants] = await Promise.all([simulators.ready, platform.ready]);
  const servers = plants.opcua as readonly ({ certificatePath: string } | null)[];
  trustServers(
    demo,
    servers.map((server) => server?.certificatePath ?? null),
  );
  await connectGateways(demo, ops.slice(1));
  const url = `http://localhost:${api}`;
  say(`
  Jilian (集联) is running: 3 simulated plants, 3 gateways, 1 platform.   模拟数据 / simulated data

    Wall page         ${url}
    Health, metrics   http://localhost:${ops[0]}/metrics, gateways on ${ops.slice(1).join(", ")}
    Open interface    curl -H 'Authorization: Bearer ${demo.apiKey}' '${url}/open/v1/metrics/latest'
    Data folder       ${dataDir} (made anew at each start)${influx ? `\n    InfluxDB          ${influx.url}, database ${influx.database} (made anew at each start)` : ""}

  Ctrl-C ends everything. Try: kill -9 ${running.get("gw-casting")?.pid() ?? ""} (a gateway) and watch it come back.
`);
}

/** Starts the gateways and waits, within bounds, until their devices are connected: the address shall be the last thing on the screen. */
async function connectGateways({ gatewayFiles, devices }: Demo, ops: readonly number[]): Promise<void> {
  const all = Promise.withResolvers<void>();
  let connected = 0;
  const onLine = (line: string) => {
    if (line.includes('"msg":"device connected"')) connected += 1;
    if (connected === devices) all.resolve();
  };
  const gateways = gatewayFiles.map(({ gateway, file }, i) => {
    const env = { ...gatewayEnv, JILIAN__ops__port: String(ops[i]) };
    return keepRunning(
      { name: gateway, args: [resolve(root, "gateway/main.ts"), "run", "--config", file], env },
      { onLine },
    );
  });
  await Promise.all(gateways.map((gateway) => gateway.ready));
  const guard = setTimeout(all.resolve, connectMs);
  await all.promise;
  clearTimeout(guard);
}

/** npm passes no signal on: it ends, its shell ends, and this process would go on. When its parent has changed, npm is gone. */
function endWithNpm(): void {
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event !== "start") return;
  setInterval(() => {
    if (process.ppid !== parent) endAll().then(() => process.exit(0));
  }, 250).unref();
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (!ending) say("\n  Ending: gateways, platform, simulated plants ...");
    endAll().then(() => process.exit(0));
  });
}
endWithNpm();
main().catch(async (error: unknown) => {
  const remedy = error instanceof JilianError ? `\n  remedy: ${error.remedy}` : "";
  process.stderr.write(`could not start: ${codeOf(error)}: ${messageOf(error)}${remedy}\n`);
  await endAll();
  process.exit(1);
});
