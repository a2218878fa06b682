/**
 * What the packed gateway costs on this machine: `npm run bench:gateway` (`--seconds 60`, `--only a,b`, `--node-red`). Each case runs for some
 * seconds against plants and a platform that are processes of their own, in a folder on the disk, every value another one each second:
 * (a) 10 devices x 100 registers, (b) 2,000 OPC UA items, (a)+(b), (c) 10,000 Modbus tags on 100 devices, (d) as many on 10, all at 1 s. Prints one table. Start: from the start of the process until every
 * device of Modbus was asked. RSS counts what the system could drop too (the program's file, mapped); anonymous memory is what it cannot.
 * With `--node-red` case (a) runs in Node-RED too, as npm installs it now into a folder of its own: read there and published over MQTT,
 * without anything kept on disk.
 */
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Arch, nodeBinaryOf } from "@jilian/deploy/gateway/node-binary.ts";
import { gatewayPack, writePack } from "@jilian/deploy/gateway/pack.ts";
import { unitSettings } from "@jilian/deploy/gateway/unit-settings.ts";
import { stringify } from "yaml";
import { installNodeRed, nodeRedFlow } from "./gateway-node-red.ts";
import { type Memory, memoryOf, quantile, usageOf } from "./processes.ts";

const { values: args } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    only: { type: "string", default: "a,b,a+b,c,d" },
    "node-red": { type: "boolean", default: false },
    help: { type: "boolean", short: "h" },
  },
});
if (args.help) {
  process.stdout.write(
    "node tests/bench/gateway.ts [--seconds 60] [--only a,b,a+b,c,d] [--node-red]  what the packed gateway costs, by case\n",
  );
  process.exit(0);
}
const seconds = Number(args.seconds);
/** Births, first polls and the just-in-time compiler are not the cost of a year. */
const warmUpMs = 15_000;
const root = resolve(import.meta.dirname, "../..");
const items = 2000;

type Plant = { port: number; endpointUrl: string };
type Program = { name: string; start: (plant: Plant, brokerPort: number, dir: string) => ChildProcess };
type Case = { name: string; modbus: number; registers?: number; opcua: boolean };
const cases: readonly Case[] = [
  { name: "a", modbus: 10, opcua: false },
  { name: "b", modbus: 0, opcua: true },
  { name: "a+b", modbus: 10, opcua: true },
  { name: "c", modbus: 100, opcua: false },
  { name: "d", modbus: 10, registers: 1000, opcua: false },
];
const tagsOf = ({ modbus, registers = 100, opcua }: Case): number => registers * modbus + (opcua ? items : 0);

/** A helper process that tells where it listens. */
async function helper<T>(file: string, ...words: string[]): Promise<{ child: ChildProcess; told: T }> {
  const child = fork(join(import.meta.dirname, file), words, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [told] = (await once(child, "message")) as [T];
  return { child, told };
}

async function report<T>(child: ChildProcess): Promise<T> {
  child.send("report");
  return ((await once(child, "message")) as [T])[0];
}

function gatewayConfig(
  { modbus, registers: count = 100, opcua }: Case,
  { port, endpointUrl }: Plant,
  brokerPort: number,
): string {
  const registers = Array.from({ length: count }, (_, i) => ({
    name: `r${i}`,
    table: "holding",
    address: i,
    type: "int16",
  }));
  const devices: object[] = Array.from({ length: modbus }, (_, i) => {
    return {
      id: `m${i}`,
      driver: "modbus-tcp",
      host: "127.0.0.1",
      port,
      unitId: i + 1,
      simulated: true,
      tags: registers,
    };
  });
  for (let i = 0; opcua && i < items; i += 200) {
    const tags = Array.from({ length: 200 }, (_, n) => ({
      name: `v${i + n}`,
      nodeId: `ns=1;s=v${i + n}`,
      type: "float64",
    }));
    devices.push({ id: `o${i}`, driver: "opcua", endpointUrl, simulated: true, tags });
  }
  const broker = { host: "127.0.0.1", port: brokerPort };
  const config = { group: "bench", node: "gateway", broker, outbox: { path: "outbox.sqlite" }, devices };
  // Each device with its own tags, as lists are made from spreadsheets.
  return stringify(config, { aliasDuplicateObjects: false });
}

type Asked = { asked: number[][]; begunMs: number[] };
type Measured = {
  startMs: number;
  memory: Memory;
  peakMb: number;
  corePercent: number;
  jitterMs: number[];
  missed: number;
  metricsPerS: number;
};

/** Runs a program for the time that was asked for. */
async function measure(of: Case, start: Program["start"]): Promise<Measured> {
  const dir = mkdtempSync(join(tmpdir(), "jilian-bench-gateway-"));
  const plant = await helper<Plant>("gateway-plant.ts", of.opcua ? String(items) : "0");
  const host = await helper<{ port: number }>("gateway-host.ts");
  const startedMs = performance.timeOrigin + performance.now();
  const program = start(plant.told, host.told.port, dir);
  try {
    await delay(warmUpMs);
    const pid = program.pid as number;
    await Promise.all([report(plant.child), report(host.child)]);
    const [before, fromMs] = [usageOf(pid), performance.now()];
    let rssBytes = 0;
    for (let second = 0; second < seconds; second += 1) {
      await delay(1000);
      rssBytes = Math.max(rssBytes, usageOf(pid).rssBytes);
    }
    const [after, tookS] = [usageOf(pid), (performance.now() - fromMs) / 1000];
    const memory = memoryOf(pid);
    const { asked, begunMs } = await report<Asked>(plant.child);
    const { metrics } = await report<{ metrics: number }>(host.child);
    const gaps = asked.flatMap((times) => times.slice(1).map((at, i) => at - (times[i] as number)));
    return {
      startMs: begunMs.length < of.modbus ? Number.NaN : Math.max(...begunMs) - startedMs,
      memory,
      peakMb: rssBytes / 1e6,
      corePercent: (100 * (after.cpuS - before.cpuS)) / tookS,
      jitterMs: gaps.map((gap) => Math.abs(gap - 1000)).filter((ms) => ms < 500),
      missed: gaps.filter((gap) => gap > 1500).length,
      metricsPerS: metrics / tookS,
    };
  } finally {
    program.kill("SIGTERM");
    if (program.exitCode === null) await once(program, "exit");
    for (const { child } of [plant, host]) child.disconnect();
    rmSync(dir, { recursive: true, force: true });
  }
}

function rowOf(name: string, of: Case, found: Measured): string {
  const { startMs, memory, peakMb, corePercent, jitterMs, missed, metricsPerS } = found;
  const jitter = of.modbus > 0 ? `${quantile(jitterMs, 0.5).toFixed(1)} / ${quantile(jitterMs, 0.99).toFixed(1)}` : "";
  const perThousand = (1000 * corePercent) / tagsOf(of);
  const held = [memory.rssBytes, memory.pssBytes, memory.anonymousBytes].map((bytes) => (bytes / 1e6).toFixed(0));
  const begin = of.modbus > 0 ? (startMs / 1000).toFixed(1) : "";
  const cells = [begin, ...held, peakMb.toFixed(0), corePercent.toFixed(1), perThousand.toFixed(2), jitter];
  return `| ${name} | ${of.name} | ${tagsOf(of)} | ${cells.join(" | ")} | ${of.modbus > 0 ? missed : ""} | ${metricsPerS.toFixed(0)} |\n`;
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "jilian-bench-pack-"));
  try {
    const pack = await gatewayPack(process.arch as Arch, nodeBinaryOf(root, process.arch as Arch));
    execFileSync("tar", ["-xzf", writePack(pack, dir, 0), "-C", dir]);
    const { flags, env: own } = unitSettings(root);
    const [node, main] = [join(dir, pack.name, "runtime/node"), join(dir, pack.name, "lib/main.mjs")];
    process.stdout.write(
      "| program | case | tags/s | start s | RSS MB | PSS | anonymous | peak RSS | % of a core | for 1,000 tags/s | jitter ms, median / 99 % | cycles missed | metrics/s sent |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    const wanted = args.only.split(",");
    for (const of of cases.filter(({ name }) => wanted.includes(name))) {
      const found = await measure(of, (plant, brokerPort, folder) => {
        const file = join(folder, "gateway.yaml");
        writeFileSync(file, gatewayConfig(of, plant, brokerPort));
        const env = { ...process.env, ...own, JILIAN_LOG_LEVEL: "warn" };
        return spawn(node, [...flags, main, "run", "--config", file], { stdio: ["ignore", "inherit", "inherit"], env });
      });
      process.stdout.write(rowOf("jilian-gateway, packed", of, found));
    }
    if (!args["node-red"]) return;
    const [a] = cases as readonly [Case];
    const nodeRed = installNodeRed(dir);
    const found = await measure(a, (plant, brokerPort, folder) => {
      writeFileSync(join(folder, "flow.json"), JSON.stringify(nodeRedFlow(plant.port, brokerPort, a.modbus)));
      return nodeRed.start(folder);
    });
    process.stdout.write(rowOf(`Node-RED ${nodeRed.version}`, a, found));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await main();
