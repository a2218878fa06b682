import { systemClock } from "@jilian/domain/clock.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeBirthMetrics, nodeStateMetrics } from "./births.ts";
import { nodeBirthBytes } from "./config.ts";
import { type EdgeBench, edgeBench } from "./test-edge.ts";

let bench: EdgeBench;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

test("a node with nothing to report is heard every minute, with all that it tells of itself", async () => {
  let aheadMs = 0;
  bench.start({ clock: { now: () => systemClock.now() + aheadMs, rate: 1 } });
  await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
  expect(bench.host.ofType("NDATA")).toEqual([]);
  aheadMs = 60_000;
  const heard = await bench.host.until("heartbeat", () => bench.host.ofType("NDATA")[0]);
  expect(heard.values).toMatchObject({ "Outbox/PendingRecords": 0n, "Devices/press/Connected": false });
  expect(heard.payload.metrics.every((metric) => metric.transient)).toBe(true);

  // A clock that is set back does not silence it.
  aheadMs = -3_600_000;
  await bench.host.until("heartbeat after the step", () => bench.host.ofType("NDATA")[1]);
});

test("a node whose medium fails says so, and that it does not know which box it is", () => {
  const view = { epoch: "00ff00000000abcd", isWritable: false, setBacks: 2, devices: new Map(), nowMs: 5 };
  const metrics = nodeStateMetrics({ ...view, outbox: bench.outbox.stats(), identity: { box: "", starts: 0 } });
  expect(Object.fromEntries(metrics.map(({ name, value }) => [name, value]))).toMatchObject({
    "Properties/Box": "",
    "Properties/Starts": 0n,
    "Properties/Epoch": "00ff00000000abcd",
    "Outbox/Writable": false,
    "Outbox/SetBacks": 2n,
  });
});

const many = Array.from({ length: 100 }, (_, i) => `device-${i}`);
const refused = { connected: false, status: 0x80310000, reason: "Modbus timeout: ".repeat(30) };

test("a node of many devices that cannot be read is born all the same: the reasons are cut, and no message is too large", async () => {
  const maxPayloadBytes = 16_384;
  const broker = {
    host: "127.0.0.1",
    port: bench.host.port,
    keepaliveMs: 15_000,
    reconnectMinMs: 20,
    reconnectMaxMs: 100,
  };
  let aheadMs = 0;
  const clock = { now: () => systemClock.now() + aheadMs, rate: 1 };
  const node = bench.start({ devices: many, broker: { ...broker, maxPayloadBytes }, clock });
  for (const device of many) node.deviceConnection(device, refused);
  const { values } = await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
  expect(many.filter((device) => values[`Devices/${device}/Connected`] === false)).toEqual(many);
  aheadMs = 60_000;
  await bench.host.until("heartbeat", () => bench.host.ofType("NDATA")[0]);
  for (const { bytes } of bench.host.seen) expect(bytes.length).toBeLessThanOrEqual(maxPayloadBytes);
  // One alone has room for its reason.
  node.deviceConnection("device-7", { ...refused, reason: "Modbus timeout, another one" });
  const told = await bench.host.until("news", () => bench.host.ofType("NDATA")[1]);
  expect(told.values).toEqual({ "Devices/device-7/Reason": "Modbus timeout, another one" });
});

test("what a birth takes is never more than what the configuration is checked for", () => {
  const nowMs = systemClock.now();
  for (const ids of [[], many, ["x".repeat(60)]]) {
    const devices = new Map(ids.map((id) => [id, refused]));
    const epoch = "00ff00000000abcd";
    const previous = { epoch, offset: 2 ** 50, writtenAtMs: nowMs };
    const identity = { box: epoch, starts: 2 ** 50 };
    const outbox = { ...bench.outbox.stats(), pendingRecords: 2 ** 50, droppedSamples: 2 ** 50 };
    const view = { identity, epoch, previous, outbox, isWritable: false, setBacks: 2 ** 50, devices, nowMs };
    const { length } = encodePayload({ timestampMs: nowMs, seq: 255, metrics: nodeBirthMetrics(255, view, 0) });
    expect(length).toBeLessThanOrEqual(nodeBirthBytes(ids));
    expect(nodeBirthBytes(ids) - length).toBeLessThan(2000);
  }
});
