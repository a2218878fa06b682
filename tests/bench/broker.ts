/**
 * Our broker beside mosquitto on this machine: `npm run bench:broker` (`--seconds 4`, `--only socket,ingest,idle,tls`). Takes about three
 * minutes. Each broker keeps to one core, all clients to another: twenty gateways that publish as fast as is heard (one process; packets
 * made beforehand, twenty in a write, 1,600 under way at most), and the subscriber. `socket`: a subscriber that only frames and counts.
 * `ingest`: ours has a handler on its bus, mosquitto a subscriber process with MQTT.js, as ingest has it. Accounts and access rules are on
 * for both; our limits of rate, connections and keep-alive are raised, since all clients are of one enterprise and one address. Others may
 * load the machine: compare CPU a message before rates. With `--profile FOLDER` our broker leaves a CPU profile there; `--node-options` is
 * for it alone.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { hasOpenssl, makeAuthority } from "@jilian/domain/test-certificates.ts";
import { wholeNumber } from "../whole-number.ts";
import { brokerCore, clientCore, helper, prepare, type Started, type StartedBroker, start } from "./broker-run.ts";
import type { BrokerName } from "./broker-setting.ts";
import { usageOf } from "./processes.ts";

const { values: args } = parseArgs({
  options: {
    seconds: { type: "string" },
    only: { type: "string" },
    profile: { type: "string" },
    "node-options": { type: "string", default: "" },
    help: { type: "boolean", short: "h" },
  },
});
const parts = ["socket", "ingest", "idle", "tls"] as const;
if (args.help) {
  process.stdout.write(
    "node tests/bench/broker.ts [--seconds 4] [--only socket,ingest,idle,tls] [--profile FOLDER] [--node-options OPTIONS]  our broker beside mosquitto\n",
  );
  process.exit(0);
}
const seconds = wholeNumber("seconds", args.seconds, 4);
const wanted = args.only?.split(",") ?? parts;
const unknown = wanted.find((part) => !parts.some((known) => known === part));
if (unknown !== undefined) throw new RangeError(`--only takes ${parts.join(", ")}, not ${unknown}`);
const nodeOptions = args["node-options"].split(" ").filter((option) => option !== "");
const flags = [...nodeOptions, ...(args.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${args.profile}`])];
const brokers: readonly BrokerName[] = ["jilian", "mosquitto"];
/** Until the just-in-time compiler has done its work. */
const warmUpMs = 1500;
const print = (line: string) => process.stdout.write(`${line}\n`);
const whole = (n: number) => Math.round(n).toLocaleString("en");

type Case = { part: "socket" | "ingest"; payloadBytes: number; qos: 0 | 1 };
type Measured = { perS: number; brokerUs: number; hearerUs: number; publishersUs: number };

/** Waits until all that was sent is heard. @throws Error when that does not happen */
async function settle(publishing: Started, hearing: Started): Promise<void> {
  await publishing.ask("stop");
  const sent = await publishing.ask<number>("sent");
  for (let tries = 0; (await hearing.ask<number>("heard")) !== sent; tries += 1) {
    if (tries > 200) throw new Error(`of ${sent} messages ${await hearing.ask<number>("heard")} were heard`);
    await delay(50);
  }
}

async function measure(name: BrokerName, broker: StartedBroker, { part, payloadBytes, qos }: Case): Promise<Measured> {
  const words = [name, broker.port, payloadBytes, qos];
  const publishing = await helper(clientCore, [], "broker-publish.ts", ...words);
  const running: Started[] = [publishing];
  try {
    const creditPort = await publishing.ask<number>("credit");
    const isInside = part === "ingest" && name === "jilian";
    const way = part === "socket" ? "plain" : "mqtt.js";
    const hearing: Started = isInside
      ? broker
      : await helper(clientCore, [], "broker-hear.ts", way, broker.port, creditPort, payloadBytes, qos);
    if (isInside) await broker.ask(creditPort);
    else running.unshift(hearing);
    await publishing.ask("start");
    await delay(warmUpMs);
    const look = async () => ({
      heard: await hearing.ask<number>("heard"),
      atMs: performance.now(),
      cpuS: [broker, hearing, publishing].map(({ pid }) => usageOf(pid).cpuS),
    });
    const before = await look();
    await delay(seconds * 1000);
    const after = await look();
    await settle(publishing, hearing);
    if (isInside) await broker.ask("deaf");
    const messages = after.heard - before.heard;
    const us = (of: number) => (1e6 * ((after.cpuS[of] as number) - (before.cpuS[of] as number))) / messages;
    return {
      perS: (1000 * messages) / (after.atMs - before.atMs),
      brokerUs: us(0),
      hearerUs: isInside ? 0 : us(1),
      publishersUs: us(2),
    };
  } finally {
    for (const each of running) await each.end();
  }
}

/** RSS of a broker with none, 500 and 2,000 clients that are only there, MB. */
async function idleMb(name: BrokerName, folder: string): Promise<number[]> {
  const broker = await start(name, folder, nodeOptions);
  const clients = await helper(clientCore, [], "broker-clients.ts", "idle", broker.port);
  try {
    const found: number[] = [];
    for (const count of [0, 500, 2000]) {
      await clients.ask(count);
      await delay(1000);
      found.push(usageOf(broker.pid).rssBytes / 1e6);
    }
    return found;
  } finally {
    await clients.end();
    await broker.end();
  }
}

async function handshakes(name: BrokerName, folder: string): Promise<{ perS: number; ms: number }> {
  const broker = await start(name, folder, nodeOptions, true);
  const clients = await helper(clientCore, [], "broker-clients.ts", "tls", broker.tlsPort, join(folder, "ca/ca.pem"));
  try {
    await delay(warmUpMs);
    const [from, fromMs, before] = [await clients.ask<number>("done"), performance.now(), usageOf(broker.pid).cpuS];
    await delay(seconds * 1000);
    const done = (await clients.ask<number>("done")) - from;
    const ms = (1000 * (usageOf(broker.pid).cpuS - before)) / done;
    return { perS: (1000 * done) / (performance.now() - fromMs), ms };
  } finally {
    await clients.end();
    await broker.end();
  }
}

function compare(what: string, [ours, theirs]: readonly [Measured, Measured]): void {
  const coreUs = ({ brokerUs, hearerUs }: Measured) => brokerUs + hearerUs;
  const ratios = [ours.perS / theirs.perS, theirs.brokerUs / ours.brokerUs, coreUs(theirs) / coreUs(ours)];
  for (const [name, found] of [
    ["jilian", ours],
    ["mosquitto", theirs],
  ] as const) {
    const cells = [
      whole(found.perS),
      ...[found.brokerUs, found.hearerUs, found.publishersUs].map((us) => us.toFixed(1)),
    ];
    const last = name === "jilian" ? ratios.map((ratio) => ratio.toFixed(2)) : ["", "", ""];
    print(`| ${what} | ${name} | ${[...cells, ...last].join(" | ")} |`);
  }
}

async function messages(folder: string): Promise<void> {
  print(
    "| case | broker | messages/s | broker, us a message | subscriber, us | publishers, us | ours to mosquitto: rate | CPU of the broker | CPU of broker and subscriber |",
  );
  print("|---|---|---:|---:|---:|---:|---:|---:|---:|");
  const cases = (["socket", "ingest"] as const)
    .filter((part) => wanted.includes(part))
    .flatMap((part) =>
      [200, 4096].flatMap((payloadBytes) => [0, 1].map((qos) => ({ part, payloadBytes, qos }) as Case)),
    );
  const ours = await start("jilian", folder, flags);
  const theirs = await start("mosquitto", folder, []);
  try {
    for (const each of cases) {
      const found = [await measure("jilian", ours, each), await measure("mosquitto", theirs, each)] as const;
      compare(`${each.part}, ${each.payloadBytes} B, QoS ${each.qos}`, found);
    }
  } finally {
    await ours.end();
    await theirs.end();
  }
}

async function main(folder: string): Promise<void> {
  prepare(folder);
  // It prints its version and says that it failed.
  const version = /version (\S+)/.exec(spawnSync("mosquitto", ["-h"], { encoding: "utf8" }).stdout)?.[1];
  print(`Node ${process.version}, mosquitto ${version}, ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"})`);
  if (nodeOptions.length > 0) print(`Our broker has the options of Node.js ${nodeOptions.join(" ")}.`);
  print(`Pinned: each broker to core ${brokerCore}; publishers, subscribers and clients to core ${clientCore}.`);
  print(
    "Our limits of messages, bytes, connects, connections and keep-alive are raised; accounts and access rules on for both.\n",
  );
  if (wanted.includes("socket") || wanted.includes("ingest")) await messages(folder);
  if (wanted.includes("idle")) {
    print("\n| idle clients: RSS, MB | none | 500 | 2,000 |\n|---|---:|---:|---:|");
    for (const name of brokers) print(`| ${name} | ${(await idleMb(name, folder)).map(whole).join(" | ")} |`);
  }
  if (!wanted.includes("tls")) return;
  print("\n| TLS 1.3 handshakes, P-256, none resumed | handshakes/s | broker, ms a handshake |\n|---|---:|---:|");
  if (hasOpenssl) makeAuthority(folder, "ca").issue("broker");
  for (const name of hasOpenssl ? brokers : []) {
    const { perS, ms } = await handshakes(name, folder);
    print(`| ${name} | ${whole(perS)} | ${ms.toFixed(2)} |`);
  }
}

const folder = mkdtempSync(join(tmpdir(), "jilian-bench-broker-"));
try {
  await main(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
