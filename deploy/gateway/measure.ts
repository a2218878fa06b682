#!/usr/bin/env node
/**
 * Measures the packed gateway beside the one that runs from its sources, on this machine: `node deploy/gateway/measure.ts`. Time from the
 * start of the process to its line "the gateway runs" (median of five), and resident memory after it has read a simulated plant of seven
 * devices once a second for some time. No broker is there: every reading goes to the outbox.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { opcuaMapOf } from "@jilian/simulators/opcua-map.ts";
import { startSimulator } from "@jilian/simulators/simulator.ts";
import { parseDocument, stringify } from "yaml";
import { freePort } from "../demo/prepare.ts";
import { eachLine } from "../readable-log.ts";
import { type Arch, nodeBinaryOf } from "./node-binary.ts";
import { gatewayPack, writePack } from "./pack.ts";
import { unitSettings } from "./unit-settings.ts";

const root = resolve(fileURLToPath(import.meta.url), "../../..");
const settleMs = 30_000;
const starts = 5;

type Sample = { startMs: number; rssMb: number };

type Started = { command: readonly string[]; env: Readonly<Record<string, string>> };

async function observe({ command, env }: Started, config: string, forMs: number): Promise<Sample> {
  const startedMs = performance.now();
  const [program = "", ...args] = command;
  const child = spawn(program, [...args, "run", "--config", config], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const running = new Promise<number>((done) => {
    eachLine(child.stdout, (line) => line.includes('"the gateway runs"') && done(performance.now() - startedMs));
  });
  const startMs = await running;
  await new Promise((done) => setTimeout(done, forMs));
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  child.kill("SIGTERM");
  await once(child, "exit");
  return { startMs, rssMb: (Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024) / 1e6 };
}

/** Configurations by what is read: nothing that answers, a plant by Modbus TCP, the same by OPC UA. */
async function configs(dir: string, ports: { modbus: number; endpointUrl: string }): Promise<Record<string, string>> {
  const head = (name: string, port: number) => ({
    group: "factory-1",
    node: "gateway-1",
    broker: { host: "127.0.0.1", port },
    outbox: { path: `${name}.sqlite` },
  });
  const closed = await freePort();
  const demo = parseDocument(readFileSync(join(root, "deploy/demo/gateways/gw-casting.yaml"), "utf8")).toJS() as {
    devices: { port: number }[];
  };
  const at = (port: number) => demo.devices.map((device) => ({ ...device, port }));
  const opcua = opcuaMapOf("copper-casting").devices.map(({ device: id, points }) => ({
    id,
    driver: "opcua",
    endpointUrl: ports.endpointUrl,
    simulated: true,
    tags: points
      .filter(({ type }) => type !== "string")
      .map(({ identifier, nodeId, type }) => ({ name: identifier, nodeId, type })),
  }));
  const devices = { "nothing answers": at(closed), "Modbus TCP": at(ports.modbus), "OPC UA": opcua };
  return Object.fromEntries(
    Object.entries(devices).map(([what, list], i) => {
      const file = join(dir, `${i}.yaml`);
      writeFileSync(file, stringify({ ...head(String(i), closed), devices: list }));
      return [what, file];
    }),
  );
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "jilian-measure-"));
  const port = await freePort();
  const plants = [{ profile: "copper-casting" as const, seed: 1, port, opcuaPort: 0 }];
  const simulator = await startSimulator({ plants, now: Date.now });
  try {
    const pack = await gatewayPack(process.arch as Arch, nodeBinaryOf(root, process.arch as Arch));
    execFileSync("tar", ["-xzf", writePack(pack, dir, 0), "-C", dir]);
    const { flags, env } = unitSettings(root);
    const installed = join(dir, pack.name);
    const programs = {
      "from sources": { command: [process.execPath, join(root, "gateway/main.ts")], env: {} },
      packed: { command: [join(installed, "runtime/node"), ...flags, join(installed, "lib/main.mjs")], env },
    };
    const files = await configs(dir, { modbus: port, endpointUrl: simulator.plants[0]?.opcua?.endpointUrl as string });
    const [idle = ""] = Object.values(files);
    process.stdout.write(
      `| gateway | start, ms | ${Object.keys(files).join(", RSS MB | ")}, RSS MB |\n|---|---:|---:|---:|---:|\n`,
    );
    for (const [name, started] of Object.entries(programs)) {
      const times: number[] = [];
      for (let i = 0; i < starts; i += 1) times.push((await observe(started, idle, 0)).startMs);
      const startMs = times.sort((a, b) => a - b)[Math.floor(starts / 2)] as number;
      const sizes: number[] = [];
      for (const file of Object.values(files)) sizes.push((await observe(started, file, settleMs)).rssMb);
      process.stdout.write(`| ${name} | ${startMs.toFixed(0)} | ${sizes.map((mb) => mb.toFixed(0)).join(" | ")} |\n`);
    }
  } finally {
    await simulator.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

await main();
