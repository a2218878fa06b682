import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { Logger } from "pino";
import { parseDocument, type YAMLMap } from "yaml";
import { demoOpcuaUser, demoPlants, opcuaUrl } from "./make-gateways.ts";

const markerFile = ".jilian-demo";

export type DemoPorts = { modbus: readonly number[]; opcua: readonly number[]; broker: number; api: number };

export type DemoSetting = {
  dir: string;
  ports: DemoPorts;
  /** Ingest reaches the broker over MQTT, as on machines of their own. */
  separateBroker?: boolean;
  /** Keeps telemetry there instead of in DuckDB. */
  influx?: { url: string; database: string } | undefined;
  log: Logger;
};

export type Demo = {
  platformFile: string;
  gatewayFiles: { gateway: string; file: string }[];
  /** How many devices the gateways read. */
  devices: number;
  /** Password of the plants' secured OPC UA servers; in the file that the simulators and the gateways are given. */
  opcuaPassword: string;
  opcuaPasswordFile: string;
  /** A key of the open data interface, made anew. */
  apiKey: string;
};

/** A port that is free now: the preferred one if it is, else any. */
export function freePort(preferred = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => (preferred === 0 ? reject(error) : resolve(freePort())));
    server.listen(preferred, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** Neighbouring ports that are free now, from one upward: simulated plants take them in a row. */
export async function freePorts(count: number, from = 15020): Promise<number[]> {
  for (let first = from; first < from + 10_000; first += 10) {
    const wanted = Array.from({ length: count }, (_, i) => first + i);
    const found = await Promise.all(wanted.map((port) => freePort(port)));
    if (found.every((port, i) => port === wanted[i])) return wanted;
  }
  throw new JilianError(`no free ports from ${from} to ${from + 10_000}`, {
    code: "NO_FREE_PORTS",
    action: "find ports for the simulated plants",
    remedy: "end other programs that listen there",
  });
}

/** The process that works in a demonstration's folder, if it lives and is not this one. */
function ownerOf(dir: string): number | undefined {
  const pid = Number(readFileSync(join(dir, markerFile), "utf8").split("\n")[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    // It may be there and not ours to signal.
    return error instanceof Error && "code" in error && error.code === "EPERM" ? pid : undefined;
  }
}

function folderError(message: string, dir: string, remedy: string, cause?: unknown): JilianError {
  return new JilianError(message, {
    code: "DEMO_FOLDER",
    action: "make the demonstration's folder",
    remedy,
    address: dir,
    cause,
  });
}

/**
 * Makes the folder of a demonstration anew. Only an empty one, or one that such a call made before and that no process works in, is taken.
 * @throws JilianError DEMO_FOLDER when the folder holds anything else, is in use, or cannot be written
 */
export function freshFolder(dir: string): void {
  const another = "name another folder with the environment variable JILIAN_DATA";
  if (existsSync(dir) && !existsSync(join(dir, markerFile)) && readdirSync(dir).length > 0) {
    throw folderError(`${dir} exists and is not a demonstration's folder`, dir, `move it away, or ${another}`);
  }
  const owner = existsSync(join(dir, markerFile)) ? ownerOf(dir) : undefined;
  if (owner !== undefined) {
    throw folderError(`process ${owner} runs a demonstration in ${dir}`, dir, `end it, or ${another}`);
  }
  try {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, markerFile), `${process.pid}\nmade by npm start; emptied at the next start\n`);
  } catch (cause) {
    throw folderError(
      `${dir} cannot be written: ${messageOf(cause)}`,
      dir,
      `give this user the right to write there, or ${another}`,
      cause,
    );
  }
}

function template(name: string): ReturnType<typeof parseDocument> {
  return parseDocument(readFileSync(new URL(`./${name}`, import.meta.url), "utf8"));
}

function secretFile(path: string): string {
  const secret = randomBytes(24).toString("base64url");
  writeFileSync(path, `${secret}\n`, { mode: 0o600 });
  return secret;
}

/**
 * Writes the whole demonstration into a fresh folder: the committed examples with the given ports, passwords of its own, credentials in
 * the ledger.
 */
export function prepareDemo(setting: DemoSetting): Demo {
  const { dir, ports, log } = setting;
  freshFolder(dir);
  const ledger = openLedger({ path: join(dir, "ledger.sqlite"), log });
  writeFileSync(join(dir, "cluster.yaml"), String(template("cluster.yaml")));
  const platform = template("platform.yaml");
  platform.setIn(["broker", "port"], ports.broker);
  platform.setIn(["api", "port"], ports.api);
  const { influx } = setting;
  if (influx) platform.set("influx", platform.createNode({ url: influx.url, database: influx.database }));
  if (setting.separateBroker) {
    ledger.setCredential({ kind: "host", name: "jilian" }, secretFile(join(dir, "ingest.password")));
    const remote = { host: "127.0.0.1", port: ports.broker, username: "jilian", passwordFile: "ingest.password" };
    platform.set("remoteBroker", platform.createNode(remote));
  }
  const platformFile = join(dir, "platform.yaml");
  writeFileSync(platformFile, String(platform));
  const opcuaPasswordFile = join(dir, demoOpcuaUser.passwordFile);
  const opcuaPassword = secretFile(opcuaPasswordFile);
  let deviceCount = 0;
  const gatewayFiles = demoPlants.map(({ factory, gateway }, i) => {
    const secret = secretFile(join(dir, `${gateway}.password`));
    ledger.setCredential({ kind: "gateway", name: `${factory}/${gateway}`, group: factory, node: gateway }, secret);
    const config = template(`gateways/${gateway}.yaml`);
    config.setIn(["broker", "port"], ports.broker);
    const { items } = config.get("devices") as { items: YAMLMap[] };
    for (const device of items) {
      if (device.get("driver") === "opcua") device.set("endpointUrl", opcuaUrl(ports.opcua[i] as number));
      else device.set("port", ports.modbus[i]);
    }
    deviceCount += items.length;
    const file = join(dir, `${gateway}.yaml`);
    writeFileSync(file, String(config));
    return { gateway, file };
  });
  const apiSecret = randomBytes(24).toString("base64url");
  ledger.setCredential({ kind: "api", name: "dev" }, apiSecret);
  ledger.close();
  const apiKey = `dev.${apiSecret}`;
  return { platformFile, gatewayFiles, devices: deviceCount, opcuaPassword, opcuaPasswordFile, apiKey };
}

/**
 * Lets the gateways of a demonstration trust the OPC UA servers of its plants, as an electrician does on site: the server's certificate
 * goes into the folder of the trusted ones.
 * @param certificates by plant; null where it is not served over OPC UA
 */
export function trustServers(demo: Demo, certificates: readonly (string | null)[]): void {
  for (const [i, { gateway, file }] of demo.gatewayFiles.entries()) {
    const certificate = certificates[i] ?? null;
    if (certificate === null) continue;
    const folder = join(dirname(file), `${gateway}.pki`, "trusted", "certs");
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    copyFileSync(certificate, join(folder, "simulator.pem"));
  }
}
