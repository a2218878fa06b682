/**
 * A process of `npm run bench:drain`: the gateway without its drivers. `fill FOLDER SECONDS` writes what an outage of so long leaves on
 * disk at 1,000 tags/s; `run FOLDER BROKER_PORT RECORDS_PER_SECOND BYTES_PER_SECOND` connects, drains it with live records beside it, then goes on live alone.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { startEdgeNode } from "@jilian/gateway/edge-node.ts";
import { type OpenedOutbox, openOutbox } from "@jilian/gateway/outbox.ts";
import { pino } from "pino";
import { drainGateway } from "./drain-setting.ts";
import { quantile } from "./processes.ts";

const { devices, metricsPerDevice, group, node, password } = drainGateway;
const quietMs = 15_000;
const log = pino({ level: "silent" });
const definitions = Array.from({ length: metricsPerDevice }, (_, i) => {
  return { name: `tag-${i}`, datatype: DataType.Double, unit: "kWh", heartbeatMs: 10_000, simulated: true } as const;
});

function open(folder: string): { outbox: OpenedOutbox; ids: number[][] } {
  const path = join(folder, "outbox.db");
  const outbox = openOutbox({ path, maxBytes: 1e11, fsyncMs: 500, group, node, clock: systemClock, log });
  return { outbox, ids: devices.map((device) => outbox.declare(device, definitions)) };
}

/** One poll of a device: every tag has changed. */
function poll(ids: readonly number[], atMs: number) {
  return ids.map((metricId, i) => {
    return {
      metricId,
      value: Math.round((1000 + i + (atMs % 977) / 7) * 100) / 100,
      status: 0,
      sourceTimeMs: atMs,
      gatewayTimeMs: atMs,
    };
  });
}

async function fill(folder: string, seconds: number): Promise<void> {
  const { outbox, ids } = open(folder);
  const startedMs = performance.now();
  const fromMs = Date.now() - seconds * 1000;
  for (let s = 0; s < seconds; s += 1) {
    for (const [d, device] of devices.entries()) outbox.write(device, poll(ids[d] as number[], fromMs + s * 1000 + d));
    if (s % 100 === 0) await sleep(0);
  }
  const { pendingRecords } = outbox.stats();
  const elapsedS = (performance.now() - startedMs) / 1000;
  await outbox.close();
  const bytes = statSync(join(folder, "outbox.db")).size;
  process.send?.({ type: "filled", records: pendingRecords, elapsedS, bytes });
}

/** Tells of every commit, by epoch and ranges, as the edge node frees them. */
function watched(
  outbox: OpenedOutbox,
  onCommit: (epoch: string, last: number, isFreed: (offset: number) => boolean) => void,
): OpenedOutbox {
  const commit: OpenedOutbox["commit"] = (epoch, ranges) => {
    const freed = outbox.commit(epoch, ranges);
    for (const [first, last] of ranges) onCommit(epoch, last, (offset) => offset >= first && offset <= last);
    return freed;
  };
  return new Proxy(outbox, { get: (target, key) => (key === "commit" ? commit : Reflect.get(target, key)) });
}

async function run(folder: string, port: number, recordsPerSecond: number, bytesPerSecond: number): Promise<void> {
  const openedMs = performance.now();
  const { outbox, ids } = open(folder);
  const openMs = performance.now() - openedMs;
  const backlog = outbox.stats().pendingRecords;
  const waiting = new Map<number, number>();
  let delays: number[] = [];
  let backlogLeft = backlog;
  const seen = watched(outbox, (epoch, last, isFreed) => {
    if (epoch !== outbox.epoch) return;
    for (const [offset, writtenMs] of waiting) {
      if (offset > last) break;
      if (!isFreed(offset)) continue;
      waiting.delete(offset);
      delays.push(performance.now() - writtenMs);
    }
  });
  const edge = startEdgeNode({
    group,
    node,
    devices,
    broker: {
      host: "127.0.0.1",
      port,
      username: `${group}/${node}`,
      password,
      keepaliveMs: 15_000,
      reconnectMinMs: 100,
      reconnectMaxMs: 1000,
    },
    settings: {
      backlogRecordsPerSecond: recordsPerSecond,
      backlogBytesPerSecond: bytesPerSecond,
      commitTimeoutMs: 10_000,
      maxInFlightRecords: 2000,
    },
    outbox: seen,
    clock: systemClock,
    log,
  });
  for (const device of devices) {
    edge.deviceDefinitions(device, definitions);
    edge.deviceConnection(device, { connected: true, status: Status.Good, reason: "" });
  }
  let rssBytes = 0;
  while (!edge.stats().born) await sleep(20);
  const startedMs = performance.now();
  // Each device is polled once a second, one after the other, as collect.ts spreads them.
  let turn = 0;
  const live = setInterval(() => {
    const d = turn % devices.length;
    turn += 1;
    const record = outbox.write(devices[d] as string, poll(ids[d] as number[], Date.now()));
    if (!record) return;
    waiting.set(record.offset, performance.now());
    edge.recordWritten(record);
  }, 1000 / devices.length);
  while (backlogLeft > 0) {
    await sleep(100);
    rssBytes = Math.max(rssBytes, process.memoryUsage().rss);
    // What is pending and not live is backlog.
    backlogLeft = outbox.stats().pendingRecords - waiting.size;
  }
  const elapsedS = (performance.now() - startedMs) / 1000;
  const drainDelays = delays;
  delays = [];
  await sleep(quietMs);
  clearInterval(live);
  const { sentBacklog } = edge.stats();
  await edge.close();
  await outbox.close();
  const pair = (numbers: readonly number[]) => [quantile(numbers, 0.5), quantile(numbers, 0.99), Math.max(...numbers)];
  const delaysMs = { drain: pair(drainDelays), alone: pair(delays) };
  process.send?.({
    type: "drained",
    backlog,
    elapsedS,
    openMs,
    sentBacklog,
    rssBytes,
    delaysMs,
  });
}

const [command, folder = "", ...rest] = process.argv.slice(2);
const [first = 0, second = 0, third = 0] = rest.map(Number);
if (command === "fill") await fill(folder, first);
else await run(folder, first, second, third);
process.disconnect?.();
