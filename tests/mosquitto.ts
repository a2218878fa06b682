import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { mosquittoAccess } from "@jilian/deploy/access-command.ts";
import { demoPlants } from "@jilian/deploy/demo/make-gateways.ts";
import type { Running } from "@jilian/deploy/processes.ts";
import { eachLine } from "@jilian/deploy/readable-log.ts";
import type { ProgramSetting } from "./e2e/programs.ts";

/** A daemon's folder, where Debian puts it, is not on everybody's path. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
export const hasMosquitto = spawnSync("mosquitto", ["-h"], { env }).error === undefined;
export const noMosquitto = hasMosquitto ? "" : " (skipped: no mosquitto here; on Debian: apt install mosquitto)";

const documented = fileURLToPath(new URL("../deploy/brokers/mosquitto.conf", import.meta.url));

export type MosquittoSetting = {
  dir: string;
  /** On 127.0.0.1, without TLS. */
  port: number;
  /** The listener of the gateways; absent where a test needs none. */
  tls?: { port: number; certFile: string; keyFile: string };
  hostId: string;
  /** By user name. */
  passwords: Readonly<Record<string, string>>;
};

/** The documented configuration, with the paths and ports of a test put in. @throws Error when it has no such line */
function configText({ dir, port, tls }: MosquittoSetting): string {
  let text = readFileSync(documented, "utf8");
  const put = (line: RegExp, by: string): void => {
    if (text.match(line)?.length !== 1) throw new Error(`mosquitto.conf has not one line like ${line}`);
    text = text.replace(line, by);
  };
  put(/^password_file .*$/m, `password_file ${join(dir, "passwords")}`);
  put(/^acl_file .*$/m, `acl_file ${join(dir, "acl")}`);
  put(/^listener 1883 127\.0\.0\.1$/m, `listener ${port} 127.0.0.1`);
  // As root it would become another user, who may not read the folder of a test.
  const own = process.getuid?.() === 0 ? "user root\n" : "";
  if (!tls) return own + text.slice(0, text.indexOf("# Gateways."));
  put(/^listener 8883$/m, `listener ${tls.port} 127.0.0.1`);
  put(/^certfile .*$/m, `certfile ${tls.certFile}`);
  put(/^keyfile .*$/m, `keyfile ${tls.keyFile}`);
  return own + text;
}

/** Writes configuration, passwords and access rules. @returns path of the configuration */
export function writeMosquitto(setting: MosquittoSetting): string {
  const { dir, passwords, hostId } = setting;
  mkdirSync(dir, { recursive: true });
  const file = join(dir, "passwords");
  writeFileSync(file, "", { mode: 0o600 });
  for (const [name, password] of Object.entries(passwords))
    execFileSync("mosquitto_passwd", ["-b", file, name, password], { stdio: "ignore" });
  const gateways = Object.keys(passwords).filter((name) => name.includes("/"));
  writeFileSync(join(dir, "acl"), mosquittoAccess(gateways, hostId), { mode: 0o600 });
  const path = join(dir, "mosquitto.conf");
  writeFileSync(path, configText(setting), { mode: 0o600 });
  return path;
}

/** Starts it with a configuration, as a process that can be killed. */
export function startMosquitto(path: string, onLine: (line: string) => void = () => undefined): Running {
  const child = spawn("mosquitto", ["-c", path], { stdio: ["ignore", "ignore", "pipe"], env });
  const endIt = () => void child.kill("SIGKILL");
  process.once("exit", endIt);
  const ready = Promise.withResolvers<Record<string, unknown>>();
  ready.promise.catch(() => undefined);
  const last: string[] = [];
  eachLine(child.stderr, (line) => {
    last.push(line);
    last.splice(0, last.length - 5);
    onLine(line);
    if (/mosquitto version .* running/.test(line)) ready.resolve({});
  });
  const ended = new Promise<number | string>((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? code ?? 0));
    child.once("error", (error) => resolve(error.message));
  });
  ended.then((how) => {
    process.off("exit", endIt);
    ready.reject(new Error(`mosquitto ended (${how}): ${last.join("; ")}`));
  });
  const signal = async (name: NodeJS.Signals) => {
    child.kill(name);
    await ended;
  };
  return {
    ready: ready.promise,
    pid: () => child.pid,
    ended,
    kill: () => signal("SIGKILL"),
    stop: () => signal("SIGTERM"),
  };
}

/** mosquitto in place of the broker of a demonstration (deploy/demo/prepare.ts), with the passwords that its programs have. */
export function demoMosquitto(platformFile: string, port: number): ProgramSetting {
  const folder = dirname(platformFile);
  const secret = (name: string) => readFileSync(join(folder, `${name}.password`), "utf8").trim();
  const gateways = demoPlants.map(({ factory, gateway }) => [`${factory}/${gateway}`, secret(gateway)]);
  const passwords = Object.fromEntries([["jilian", secret("ingest")], ...gateways]);
  const path = writeMosquitto({ dir: join(folder, "mosquitto"), port, hostId: "jilian", passwords });
  return { args: [], run: (onLine) => startMosquitto(path, (line) => line.includes("Error") && onLine(line)) };
}
