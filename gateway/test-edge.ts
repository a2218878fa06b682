import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { pino } from "pino";
import { type EdgeNode, type EdgeNodeOptions, startEdgeNode } from "./edge-node.ts";
import type { Connection, OutboxRecord, StoredSample } from "./model.ts";
import { type OpenedOutbox, openOutbox } from "./outbox.ts";
import { type Host, type Seen, startHost } from "./test-host.ts";

/** For tests: an edge node on an outbox of its own, connected to a host of its own. */
export const up: Connection = { connected: true, status: Status.Good, reason: "" };
export const down: Connection = {
  connected: false,
  status: Status.BadTimeout,
  reason: "MODBUS_TIMEOUT: is the PLC on?",
};

export const definition = (name: string, extra: Partial<MetricDefinition> = {}): MetricDefinition => ({
  name,
  datatype: DataType.Int64,
  simulated: false,
  ...extra,
});

let time = 1_750_000_000_000;
/** A sample later than every one before. */
export function sample(metricId: number, value: StoredSample["value"], status = 0): StoredSample {
  time += 10;
  return { metricId, value, status, sourceTimeMs: time, gatewayTimeMs: time + 2 };
}

export const metricOf = (message: Seen | undefined, name: string) =>
  message?.payload.metrics.find((m) => m.name === name);
export const offsets = (messages: Seen[]) => messages.map((m) => m.header?.offset);

/** As fast as can be: what is tested is the order and not the pace. */
export const fastSettings = {
  backlogRecordsPerSecond: 10_000,
  backlogBytesPerSecond: 1_000_000_000,
  commitTimeoutMs: 60_000,
  maxInFlightRecords: 10_000,
};

export type EdgeBench = Awaited<ReturnType<typeof edgeBench>>;

export async function edgeBench() {
  const folder = mkdtempSync(join(tmpdir(), "jilian-edge-"));
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const nodes: EdgeNode[] = [];
  const openBox = (): OpenedOutbox => {
    const path = join(folder, "outbox.db");
    const owner = { group: "factory-1", node: "gateway-1" };
    return openOutbox({ path, maxBytes: 1e9, fsyncMs: 50, ...owner, clock: systemClock, log });
  };
  const bench = {
    folder,
    host: (await startHost()) as Host,
    outbox: openBox(),
    lines,
    start(options: Partial<EdgeNodeOptions> & { port?: number } = {}): EdgeNode {
      const reconnect = { keepaliveMs: 15_000, reconnectMinMs: 20, reconnectMaxMs: 100 };
      const node = startEdgeNode({
        group: "factory-1",
        node: "gateway-1",
        devices: ["press", "oven"],
        broker: { host: "127.0.0.1", port: options.port ?? bench.host.port, ...reconnect },
        settings: fastSettings,
        outbox: bench.outbox,
        clock: systemClock,
        log,
        ...options,
      });
      nodes.push(node);
      return node;
    },
    /** Declares metrics of a device, to the outbox and to the node if there is one. */
    define(device: string, definitions: MetricDefinition[], node?: EdgeNode): number[] {
      const ids = bench.outbox.declare(device, definitions);
      node?.deviceDefinitions(device, definitions);
      return ids;
    },
    write(device: string, samples: StoredSample[], node?: EdgeNode): OutboxRecord {
      const record = bench.outbox.write(device, samples) as OutboxRecord;
      node?.recordWritten(record);
      return record;
    },
    /** Ends this life of the outbox, unless it has ended, and begins the next, as a restart of the gateway does. */
    async reopen({ isClosed = false } = {}): Promise<void> {
      if (!isClosed) await bench.outbox.close();
      bench.outbox = openBox();
    },
    async close(): Promise<void> {
      for (const node of nodes) await node.close();
      await bench.outbox.close();
      await bench.host.close();
      rmSync(folder, { recursive: true });
    },
  };
  return bench;
}
