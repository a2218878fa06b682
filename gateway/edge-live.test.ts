import { DataType } from "@jilian/domain/datatypes.ts";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { definition, type EdgeBench, edgeBench, sample, up } from "./test-edge.ts";
import { startPlatform } from "./test-platform.ts";

let bench: EdgeBench;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

const devices = Array.from({ length: 10 }, (_, i) => `device-${i}`);
const metricsPerDevice = 500;
const samplesPerRecord = 20;
const backlogRecords = 10_000;
const boundMs = 2000;

test("after an outage live values of every device flow within 2 s, births first, beside a backlog of 200,000 samples that drains", async () => {
  const definitions = Array.from({ length: metricsPerDevice }, (_, i) =>
    definition(`metric-${i}`, { datatype: DataType.Double, unit: "kWh", deadband: 0.1, heartbeatMs: 10_000 }),
  );
  const ids = devices.map((device) => bench.define(device, definitions));
  const samplesOf = (device: number, n: number) =>
    Array.from({ length: samplesPerRecord }, (_, i) =>
      // Most metrics have nothing pending: the newest value of each is not found in the backlog, however far one looks.
      sample(ids[device]?.[(n % 2) * samplesPerRecord + i] as number, n + i / 7),
    );
  for (let n = 0; n < backlogRecords; n += 1)
    bench.write(devices[n % devices.length] as string, samplesOf(n % devices.length, n));
  const platform = startPlatform(bench.host);
  const connacks: number[] = [];
  bench.host.broker.on("clientReady", () => connacks.push(performance.now()));

  // The start of the gateway with this backlog, then live records of every device, five times a second.
  const startedMs = performance.now();
  await bench.reopen();
  const settings = {
    backlogRecordsPerSecond: 3000,
    backlogBytesPerSecond: 10_000_000,
    commitTimeoutMs: 10_000,
    maxInFlightRecords: 2000,
  };
  const node = bench.start({ devices, settings });
  for (const device of devices) {
    bench.define(device, definitions, node);
    node.deviceConnection(device, up);
  }
  const startMs = performance.now() - startedMs;
  const { epoch } = bench.outbox;
  const writtenMs = new Map<number, number>();
  let round = backlogRecords;
  const live = setInterval(() => {
    round += 1;
    for (const [d, device] of devices.entries()) {
      const { offset } = bench.write(device, samplesOf(d, round), node);
      writtenMs.set(offset, performance.now());
    }
  }, 200);
  try {
    // Not looked at with each message: that would be most of the work.
    const drained = () => {
      // On a quick machine the backlog itself is no older than a second at first.
      expect(round).toBeGreaterThan(backlogRecords + 10);
      expect(bench.outbox.stats().oldestWrittenAtMs ?? Date.now()).toBeGreaterThan(Date.now() - 1000);
    };
    await vi.waitFor(drained, { timeout: 60_000, interval: 200 });
  } finally {
    clearInterval(live);
  }
  // The last round may still be on its way.
  await vi.waitFor(() => expect(bench.outbox.stats().pendingRecords).toBe(0), { timeout: 10_000, interval: 50 });
  expect(startMs).toBeLessThan(boundMs);
  expect(connacks).toHaveLength(1);
  for (const device of devices) {
    const birth = bench.host.seen.findIndex((m) => m.type === "DBIRTH" && m.device === device);
    const first = bench.host.seen.findIndex(
      (m) => m.type === "DDATA" && m.device === device && m.header?.epoch === epoch,
    );
    expect(birth, device).toBeGreaterThan(0);
    expect(first, device).toBeGreaterThan(birth);
    expect((bench.host.seen[first]?.atMs ?? 0) - (connacks[0] as number), device).toBeLessThan(boundMs);
  }
  // Every live record came when it was written, not after what had waited.
  const late = bench.host
    .ofType("DDATA")
    .filter(({ header }) => header?.epoch === epoch)
    .map(({ header, atMs }) => atMs - (writtenMs.get(header?.offset ?? -1) ?? 0));
  expect(Math.max(...late)).toBeLessThan(boundMs);
  const sent = new Set(bench.host.ofType("DDATA").map(({ header }) => `${header?.epoch} ${header?.offset}`));
  expect(sent.size).toBe(backlogRecords + writtenMs.size);
  expect(platform.epochs()).toHaveLength(2);
}, 90_000);
