import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, copyFileSync, existsSync, readFileSync, renameSync } from "node:fs";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { opcuaMapOf } from "@jilian/simulators/opcua-map.ts";
import { type Simulator, startSimulator } from "@jilian/simulators/simulator.ts";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { parseDocument, type YAMLMap } from "yaml";
import { freePort, freePorts, prepareDemo } from "../demo/prepare.ts";
import { type Running, startProgram } from "../processes.ts";
import { eachLine } from "../readable-log.ts";
import { ownNode, repository, testBox } from "./test-box.ts";

/**
 * The packed gateway where nothing else is: a folder made by install.sh that holds, beside the package, only the C library's files that
 * Node needs. As root it is entered with chroot, as the user that install.sh made; otherwise the program runs with an empty environment
 * and the paths of its configuration changed.
 */
const isRoot = process.getuid?.() === 0;
const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until<T>(
  what: string,
  timeoutMs: number,
  found: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  for (const endMs = performance.now() + timeoutMs; performance.now() < endMs; await sleep(100)) {
    const result = await found();
    if (result !== undefined && result !== false) return result;
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}`);
}

type Device = { id: string; state: string };

/** Simulated plant, and the platform as a process of its own on the embedded stores. */
async function startPlatform(dir: string) {
  const [modbus, broker, api] = [await freePorts(3), await freePort(), await freePort()];
  const demo = prepareDemo({ dir, ports: { modbus, opcua: modbus, broker, api }, log: pino({ level: "silent" }) });
  const plants = [{ profile: "copper-casting" as const, seed: 1, port: modbus[0] as number, opcuaPort: 0 }];
  const simulator: Simulator = await startSimulator({ plants, now: Date.now });
  cleanups.push(() => simulator.close());
  const args = [join(repository, "deploy/jilian.ts"), "run", "--config", demo.platformFile];
  const platform: Running = startProgram({ name: "platform", args }, () => undefined);
  cleanups.push(() => platform.stop());
  await platform.ready;
  const get = async <T>(path: string): Promise<T> => {
    const headers = { authorization: `Bearer ${demo.apiKey}` };
    return (await (await fetch(`http://127.0.0.1:${api}${path}`, { headers })).json()) as T;
  };
  const endpointUrl = simulator.plants[0]?.opcua?.endpointUrl as string;
  return { demo, dir, get, endpointUrl };
}

/** The demonstration's configuration, as on a box; two of its machines are read by OPC UA, one of them encrypted. */
function boxConfig(file: string, state: string, endpointUrl: string): string {
  const config = parseDocument(readFileSync(file, "utf8"));
  config.setIn(["outbox", "path"], `${state}/outbox.sqlite`);
  config.setIn(["broker", "passwordFile"], "broker.password");
  const devices = config.get("devices") as { items: YAMLMap[] };
  const encrypted = { mode: "SignAndEncrypt", policy: "Basic256Sha256" };
  for (const [id, security] of [
    ["machine-2", {}],
    ["machine-3", encrypted],
  ] as const) {
    const points = opcuaMapOf("copper-casting").devices.find(({ device }) => device === id)?.points ?? [];
    const tags = points
      .filter(({ type }) => type !== "string")
      .map(({ identifier, nodeId, type }) => ({ name: identifier.replace(`${id}.`, ""), nodeId, type }));
    const device = config.createNode({ id, driver: "opcua", endpointUrl, simulated: true, security, tags });
    devices.items = devices.items.map((item) => (item.get("id") === id ? (device as YAMLMap) : item));
  }
  return String(config);
}

/** Runs the command of the installed unit, or the same with another word than `run`. */
function enter(box: ReturnType<typeof testBox>, word: "run" | "check"): ChildProcess & { lines: string[] } {
  const command = box.unitCommand().map((part) => (part === "run" ? word : part));
  const moved = command.map((part) => (part.startsWith("/") ? box.inRoot(part) : part));
  const [program = "", ...args] = isRoot
    ? ["/usr/sbin/chroot", `--userspec=${box.user()}`, box.root, ...command]
    : moved;
  const child = spawn(program, args, { cwd: "/", env: {}, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) eachLine(stream, (line) => lines.push(line));
  cleanups.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return Object.assign(child, { lines });
}

test(`an installed gateway runs ${isRoot ? "alone in its root folder" : "with an empty environment"}`, {
  timeout: 240_000,
}, async () => {
  const box = testBox();
  cleanups.push(box.close);
  const { folder } = await box.unpack(ownNode());
  expect(box.install(folder).code).toBe(0);
  const { demo, dir, get, endpointUrl } = await startPlatform(join(box.dir, "demo"));

  // What the electrician does: configuration and password into /etc.
  const state = isRoot ? "/var/lib/jilian-gateway" : box.inRoot("var/lib/jilian-gateway");
  box.configure(() => boxConfig(demo.gatewayFiles[0]?.file as string, state, endpointUrl));
  copyFileSync(join(dir, "gw-casting.password"), box.inRoot("etc/jilian-gateway/broker.password"));
  expect(box.install(folder)).toMatchObject({ code: 0 });
  if (isRoot) {
    box.copyLibraries();
    for (const outside of ["usr/bin", "usr/lib/node_modules", "work", "proc/self"]) {
      expect(existsSync(box.inRoot(outside)), outside).toBe(false);
    }
    const [uid = 0, gid = 0] = box.user().split(":").map(Number);
    chownSync(box.inRoot("var/lib/jilian-gateway"), uid, gid);
  }

  const checked = enter(box, "check");
  await once(checked, "exit");
  expect({ code: checked.exitCode, line: checked.lines[0] }).toEqual({
    code: 0,
    line: expect.stringContaining("no fault. 7 devices."),
  });

  const gateway = enter(box, "run");
  const mine = async () => {
    const { devices } = await get<{ devices: Device[] }>("/open/v1/devices");
    return devices.filter(({ id }) => id.startsWith("xinghua-casting/gw-casting/"));
  };
  const online = async () => (await mine()).filter(({ state: s }) => s === "online").length;
  const untrusted = () =>
    gateway.lines
      .flatMap((line) => [/OPCUA_SERVER_UNTRUSTED .*?move \\?"(.+?)\\?" to \\?"(.+?)\\?"/.exec(line) ?? []].flat())
      .slice(0, 3);
  // The manual's section on certificates: the message names the file, a person moves it, the device connects.
  const [, rejected = "", trusted = ""] = await until("the server's certificate is rejected", 60_000, () => {
    const found = untrusted();
    return found.length > 0 ? found : undefined;
  });
  await until("all others are online", 60_000, async () => (await online()) === 6 || undefined);
  const place = (path: string) => (isRoot ? box.inRoot(path) : path);
  renameSync(place(rejected), join(place(trusted), basename(rejected)));
  await until("all are online", 60_000, async () => (await online()) === 7 || undefined);
  const from = new Date(Date.now() - 600_000).toISOString();
  const to = new Date(Date.now() + 600_000).toISOString();
  const query = new URLSearchParams({
    device: "xinghua-casting/gw-casting/incoming-meter",
    metric: "power-active",
    from,
    to,
  });
  const stored = async () => (await get<{ readings: unknown[] }>(`/open/v1/readings?${query}`)).readings.length;
  await until("five readings stored", 60_000, async () => (await stored()) >= 5 || undefined);

  // Committed: what the platform stored is no longer in the outbox, though nothing new is written after the end.
  gateway.kill("SIGTERM");
  await once(gateway, "exit");
  expect({ code: gateway.exitCode, lines: gateway.lines }).toMatchObject({ code: 0 });
  expect(gateway.lines.filter((line) => /"level":(50|60)/.test(line))).toEqual([]);
  const db = new DatabaseSync(box.inRoot("var/lib/jilian-gateway/outbox.sqlite"), { readOnly: true });
  const { pending, last } = db
    .prepare("SELECT (SELECT count(*) FROM record) AS pending, (SELECT max(position) FROM record) AS last")
    .get() as { pending: number; last: number | null };
  db.close();
  const written = last ?? Number.POSITIVE_INFINITY;
  expect({ few: pending < written / 2, pending, written }).toMatchObject({ few: true });
});
