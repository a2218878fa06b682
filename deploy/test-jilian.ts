/** For tests: the platform's program as processes of its own, in a folder with a configuration; and a gateway that sends what it is told. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { readExposition, type Scrape } from "@jilian/domain/test-prometheus.ts";
import { type EdgeNodeOptions, startEdgeNode } from "@jilian/gateway/edge-node.ts";
import { openOutbox } from "@jilian/gateway/outbox.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { pino } from "pino";
import { afterEach, beforeEach, vi } from "vitest";

const silent = pino({ level: "silent" });
export const gateway = { group: "xinghua-casting", node: "gw-casting" };
export const secrets = { gateway: "secret-of-the-gateway", host: "secret-of-the-host" };

export type Program = {
  child: ChildProcess;
  output: { out: string; err: string };
  ended: Promise<number | null>;
  /** What it says when it is ready; rejects when it ends before. */
  ready: Promise<{ brokerPort?: number; apiUrl?: string; opsPort?: number }>;
};

export function logLines(out: string): Record<string, unknown>[] {
  return out.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Record<string, unknown>] : []));
}

/** A pilot in a folder: registry of the demonstration, credentials of one gateway and of the host application. */
export function pilot() {
  const folder = mkdtempSync(join(tmpdir(), "jilian-ops-"));
  const children: ChildProcess[] = [];
  copyFileSync(new URL("./demo/cluster.yaml", import.meta.url), join(folder, "cluster.yaml"));
  writeFileSync(join(folder, "host.password"), `${secrets.host}\n`, { mode: 0o600 });
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
  const { group, node } = gateway;
  ledger.setCredential({ kind: "gateway", name: `${group}/${node}`, group, node }, secrets.gateway);
  ledger.setCredential({ kind: "host", name: "jilian" }, secrets.host);
  ledger.close();
  const config = join(folder, "platform.yaml");
  writeFileSync(
    config,
    "dataDir: .\nregistry: cluster.yaml\nbroker: { port: 0 }\nops: { port: 0 }\napi: { port: 0 }\n",
  );

  function start(args: string[], env: Record<string, string> = {}): Program {
    const program = new URL("./jilian.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [program, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    children.push(child);
    const output = { out: "", err: "" };
    child.stdout?.on("data", (chunk: Buffer) => {
      output.out += chunk;
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      output.err += chunk;
    });
    const ended = once(child, "close").then(([code]) => code as number | null);
    const ready = new Promise<Awaited<Program["ready"]>>((resolve, reject) => {
      child.once("message", (message) => resolve(message as Awaited<Program["ready"]>));
      ended.then((code) => reject(new Error(`ended with ${code}: ${output.out}${output.err}`)));
    });
    ready.catch(() => undefined);
    return { child, output, ended, ready };
  }

  return {
    folder,
    config,
    start,
    run: (services: string[] = [], env: Record<string, string> = {}): Program =>
      start(["run", ...services, "--config", config], env),
    end: async (): Promise<void> => {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      rmSync(folder, { recursive: true });
    },
  };
}

/** An edge node of the registered gateway with one machine, on an outbox of its own. */
export function edge(folder: string, broker: Partial<EdgeNodeOptions["broker"]> & { port: number }) {
  const device = "machine-1";
  const outbox = openOutbox({
    path: join(folder, "outbox.db"),
    maxBytes: 1e8,
    fsyncMs: 50,
    ...gateway,
    clock: systemClock,
    log: silent,
  });
  const login = { username: `${gateway.group}/${gateway.node}`, password: secrets.gateway };
  const times = { keepaliveMs: 15_000, reconnectMinMs: 20, reconnectMaxMs: 100 };
  const node = startEdgeNode({
    ...gateway,
    devices: [device],
    broker: { host: "127.0.0.1", ...login, ...times, ...broker },
    settings: {
      backlogRecordsPerSecond: 10_000,
      backlogBytesPerSecond: 1e9,
      commitTimeoutMs: 2000,
      maxInFlightRecords: 10_000,
    },
    outbox,
    clock: systemClock,
    log: silent,
  });
  const definitions = ["a", "b"].map((name) => ({ name, datatype: DataType.Double, simulated: true }) as const);
  const ids = outbox.declare(device, definitions);
  node.deviceDefinitions(device, definitions);
  node.deviceConnection(device, { connected: true, status: Status.Good, reason: "" });
  let lastMs = 0;
  return {
    node,
    outbox,
    /** Writes records of two samples each. */
    write: (records: number): void => {
      for (let i = 0; i < records; i += 1) {
        lastMs = Math.max(lastMs + 1, systemClock.now());
        const at = { status: 0, sourceTimeMs: lastMs, gatewayTimeMs: lastMs };
        const record = outbox.write(
          device,
          ids.map((metricId) => ({ metricId, value: i, ...at })),
        );
        if (record) node.recordWritten(record);
      }
    },
    close: async (): Promise<void> => {
      await node.close();
      await outbox.close();
    },
  };
}

export async function scrape(opsPort: number | undefined): Promise<Scrape> {
  const answer = await fetch(`http://127.0.0.1:${opsPort}/metrics`);
  return readExposition(await answer.text());
}

/** Waits until a series has a value, then gives the whole scrape. */
export function until(opsPort: number | undefined, series: string, value: number): Promise<Scrape> {
  return vi.waitFor(
    async () => {
      const found = await scrape(opsPort);
      if (found.value(series) !== value) throw new Error(`${series} is ${found.value(series)}, not ${value}`);
      return found;
    },
    { timeout: 10_000, interval: 50 },
  );
}

export let bench: ReturnType<typeof pilot>;
/** What a test has started beside the programs, ended after it: the last first. */
export const closers: (() => Promise<unknown>)[] = [];

/** Gives each test of a file a pilot of its own. */
export function usePilot(): void {
  beforeEach(() => {
    bench = pilot();
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    await bench.end();
  });
}

/** A gateway of the pilot, until the end of the test. */
export function startEdge(broker: Parameters<typeof edge>[1]): ReturnType<typeof edge> {
  const started = edge(bench.folder, broker);
  closers.push(started.close);
  return started;
}
