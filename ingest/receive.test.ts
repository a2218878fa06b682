import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import { property } from "@jilian/domain/sparkplug/payload.ts";
import { rebirthMetric } from "@jilian/domain/topics.ts";
import { describe, expect, test } from "vitest";
import {
  bdSeq,
  bear,
  bearForeign,
  clock,
  commitControl,
  counter,
  data,
  epoch,
  host,
  hostPerTest,
  rebirthControl,
  reorderMs,
  send,
  start,
  stateOf,
  t0,
  tag,
  values,
} from "./test-node.ts";
import { until } from "./test-world.ts";

hostPerTest();

describe("births and aliases", () => {
  test("data names metrics by alias; the record and its times come along", () => {
    bear();
    data([{ alias: 2, value: 5, timestampMs: t0 - 3 }], { seq: 2, offset: 12 });
    const [record, ...rest] = host.queue.take(10);
    expect(rest).toEqual([]);
    expect(record).toMatchObject({ group: "f1", node: "gw-1", record: { epoch, offset: 12 }, receivedAtMs: t0 });
    expect(record?.samples).toMatchObject([
      { value: 5, sourceTimeMs: t0 - 3, gatewayTimeMs: t0 + 7, status: Status.Good },
    ]);
    expect(record?.samples[0]?.metric.key).toEqual({ group: "f1", node: "gw-1", device: "press-1", metric: "b" });
    expect(host.rebirths).toEqual([]);
    expect(stateOf()).toBe("online");
  });

  test("births of a node with an outbox store nothing: its records repeat them", () => {
    bear();
    expect(host.queue.samples()).toBe(0);
    expect(stateOf()).toBe("online");
  });

  test("an unknown alias: nothing of the record is stored, it stays free to come again, births are asked for", () => {
    bear();
    data([{ alias: 1 }, { alias: 99 }], { seq: 2, offset: 0 });
    expect(host.queue.samples()).toBe(0);
    expect(host.rebirths).toEqual(["f1/gw-1"]);
    send("DBIRTH", [tag("a", 1), tag("c", 99)], { seq: 3, device: "press-1" });
    data([{ alias: 1 }, { alias: 99 }], { seq: 4, offset: 0 });
    expect(host.queue.take(10)).toHaveLength(1);
  });

  test("a birth voids what the device was born with before, and one device's alias is not another's", () => {
    bear();
    send("DBIRTH", [tag("c", 3)], { seq: 2, device: "press-1" });
    send("DBIRTH", [tag("d", 4)], { seq: 3, device: "meter-1" });
    data([{ alias: 1 }], { seq: 4 });
    data([{ alias: 4 }], { seq: 5 });
    expect(host.queue.samples()).toBe(0);
    expect(host.rebirths).toHaveLength(2);
  });

  test("data of an unborn device, of a dead device and of an unknown node ask for births", () => {
    send("NDATA", [{ alias: 1 }], { seq: 9 });
    send("DBIRTH", [tag("a", 1)], { seq: 10, device: "press-1" });
    expect(host.rebirths).toHaveLength(2);
    bear();
    data([{ alias: 1 }], { seq: 2, device: "meter-1" });
    expect(host.rebirths).toHaveLength(3);
    send("DDEATH", [], { seq: 3, device: "press-1" });
    data([{ alias: 1 }], { seq: 4 });
    expect(host.rebirths).toHaveLength(4);
    expect(host.queue.samples()).toBe(0);
  });

  test("metrics that were declared but are not carried are passed over, not asked for", () => {
    const array = { datatype: 19, value: null };
    send("NBIRTH", [bdSeq(0), rebirthControl, tag("Node Control/Scan Rate", 8)], { seq: 0 });
    send("DBIRTH", [tag("list", 1, array), tag("none", 3, { declare: false }), tag("b", 2)], {
      seq: 1,
      device: "press-1",
    });
    values();
    data([{ alias: 1, ...array }, { alias: 3 }, { alias: 2, value: 4 }], { seq: 2 });
    send("NDATA", [{ name: rebirthMetric, datatype: DataType.Boolean, value: false }, { alias: 8 }, bdSeq(1)], {
      seq: 3,
    });
    expect(host.rebirths).toEqual([]);
    expect(values()).toEqual([["b", 4, Status.Good]]);
  });

  test("a birth that was changed makes the series new to the store, an equal one does not", () => {
    bearForeign([tag("a", 1)]);
    const metric = () => host.queue.take(1)[0]?.samples[0]?.metric;
    const first = metric();
    bearForeign([tag("a", 7)]);
    expect(metric()).toBe(first);
    bearForeign([tag("a", 7, { properties: { engUnit: property.text("kW") } })]);
    const changed = metric();
    expect(changed).not.toBe(first);
    expect(changed?.definition).toMatchObject({ unit: "kW" });
  });

  test("an absurd heartbeat is bounded by a day", () => {
    bearForeign([tag("a", 1, { properties: { heartbeatMs: property.double(1e300) } })]);
    expect(host.queue.take(1)[0]?.samples[0]?.metric.definition.heartbeatMs).toBe(86_400_000);
  });
});

describe("seq", () => {
  const at = (seq: number) => data([{ alias: 1 }], { seq });

  test("in order, over the wrap from 255 to 0, nothing is asked", async () => {
    bear();
    for (let seq = 2; seq < 600; seq += 1) at(seq % 256);
    at((600 + 1) % 256);
    await until(() => host.rebirths.length > 0, "the gap of one is noticed");
    expect(host.rebirths).toHaveLength(1);
  });

  test("messages that are late, but in time, close their gap", async () => {
    bear();
    for (const seq of [2, 5, 4, 3, 6]) at(seq);
    await new Promise((resolve) => setTimeout(resolve, reorderMs * 2));
    expect(host.rebirths).toEqual([]);
    expect(host.queue.take(100)).toHaveLength(5);
  });

  test("a gap that stays is a reason for births, also when others follow it all the time", async () => {
    bear();
    let seq = 2;
    const from = performance.now();
    // A new gap every few milliseconds, each closed in time, but for the very first.
    while (host.rebirths.length === 0 && performance.now() - from < 2000) {
      at((seq + 2) % 256);
      await new Promise((resolve) => setTimeout(resolve, 3));
      if (seq > 2) at((seq + 1) % 256);
      seq += 2;
    }
    expect(host.rebirths.length).toBeGreaterThan(0);
    expect(performance.now() - from).toBeLessThan(reorderMs * 10);
  });

  test("it is asked again until the births come", async () => {
    bear();
    at(4);
    await until(() => host.rebirths.length >= 2, "a second request");
    bear();
    const asked = host.rebirths.length;
    await new Promise((resolve) => setTimeout(resolve, reorderMs * 3));
    expect(host.rebirths).toHaveLength(asked);
  });

  test("requests to a node are throttled", () => {
    start({ rebirthIntervalMs: 60_000 });
    for (let seq = 0; seq < 20; seq += 1) at(seq);
    expect(host.rebirths).toEqual(["f1/gw-1"]);
    expect(counter("rebirthRequests")).toBe(1);
    send("NDATA", [{ alias: 1 }], { group: "f2" });
    expect(host.rebirths).toEqual(["f1/gw-1", "f2/gw-1"]);
  });
});

describe("deaths", () => {
  test("the will of an older session is ignored", () => {
    bear();
    send("NDEATH", [bdSeq(2)]);
    expect(stateOf()).toBe("online");
    data([{ alias: 1 }], { seq: 2 });
    expect(host.queue.samples()).toBe(1);
    send("NDEATH", [bdSeq(3)]);
    expect(stateOf()).toBe("offline");
    data([{ alias: 1 }], { seq: 3 });
    expect(host.queue.samples()).toBe(1);
    expect(host.rebirths).toHaveLength(1);
  });

  test("a device's death is its own", () => {
    bear();
    send("DBIRTH", [tag("d", 4)], { seq: 2, device: "meter-1" });
    send("DDEATH", [], { seq: 3, device: "press-1" });
    expect([stateOf("press-1"), stateOf("meter-1")]).toEqual(["offline", "online"]);
  });

  test("when the way to the nodes was cut, each is taken as dead until it is born again", () => {
    bear();
    host.receiver.lost();
    expect(stateOf()).toBe("offline");
    data([{ alias: 1 }], { seq: 2 });
    expect(host.rebirths).toEqual(["f1/gw-1"]);
    bear();
    expect(stateOf()).toBe("online");
  });
});

describe("metrics of the node", () => {
  test("they describe the present and are never stored", () => {
    const connected = nodeMetrics.deviceConnected("press-1");
    const pending = tag(nodeMetrics.pendingRecords, 1, { datatype: DataType.Int64, value: 5n });
    const flag = tag(connected, 2, { datatype: DataType.Boolean, value: true });
    const reason = tag(nodeMetrics.deviceReason("press-1"), 3, { datatype: DataType.String, value: "" });
    send("NBIRTH", [bdSeq(0), commitControl, pending, flag, reason], { seq: 0 });
    send(
      "NDATA",
      [
        { alias: 1, datatype: DataType.Int64, value: 9n, transient: true },
        { alias: 2, datatype: DataType.Boolean, value: false, transient: true },
        { alias: 3, datatype: DataType.String, value: "no route", transient: true },
      ],
      { seq: 1 },
    );
    expect(host.queue.samples()).toBe(0);
    const node = host.live.nodes.get("f1/gw-1");
    expect(node?.metrics.get(nodeMetrics.pendingRecords)).toBe(9n);
    expect(node?.devices.get("press-1")).toEqual({ connected: false, reason: "no route" });
  });
});

describe("shedding and repeats", () => {
  test("a full queue sheds data, never births; what was shed can come again", () => {
    start({ bound: 2 });
    bear();
    for (const offset of [0, 1, 2]) data([{ alias: 1 }], { seq: 2 + offset, offset });
    expect(host.queue.samples()).toBe(2);
    expect(counter("shedSamples")).toBe(1);
    send("DBIRTH", [tag("d", 4)], { seq: 5, device: "meter-1" });
    expect(stateOf("meter-1")).toBe("online");
    host.queue.take(10);
    data([{ alias: 1 }], { seq: 6, offset: 2 });
    expect(host.queue.take(10).map((r) => r.record?.offset)).toEqual([2]);
    expect(host.rebirths).toEqual([]);
  });

  test("nodes without an outbox are shed last", () => {
    start({ bound: 4 });
    bear();
    for (let offset = 0; offset < 6; offset += 1) data([{ alias: 1 }], { seq: 2 + offset, offset });
    expect(host.queue.samples()).toBe(4);
    send("NBIRTH", [bdSeq(0)], { seq: 0, group: "f2" });
    send("DBIRTH", [tag("x", 1)], { seq: 1, group: "f2", device: "meter-1" });
    expect(host.queue.samples()).toBe(5);
    send("DDATA", [{ alias: 1 }], { seq: 2, group: "f2", device: "meter-1" });
    expect(host.queue.samples()).toBe(5);
  });

  test("a record that is on its way is not queued twice; one that is stored is answered again", () => {
    bear();
    for (const seq of [2, 3]) data([{ alias: 1 }], { seq, offset: 5 });
    expect(host.queue.take(10)).toHaveLength(1);
    expect(host.book.notices(t0)).toEqual([]);
    host.book.stored([{ group: "f1", node: "gw-1", epoch, ranges: [[5, 5]] }]);
    expect(host.book.notices(t0)).toHaveLength(1);
    data([{ alias: 1 }], { seq: 4, offset: 5 });
    expect(host.queue.samples()).toBe(0);
    expect(host.book.notices(t0)).toHaveLength(1);
    expect(counter("repeatedRecords")).toBe(2);
  });

  test("records without samples are committed too, and cannot overrun the queue", () => {
    start({ bound: 3 });
    bear();
    for (let offset = 0; offset < 9; offset += 1) data([], { seq: 2 + offset, offset });
    expect(host.queue.take(100)).toHaveLength(3);
  });
});

describe("who counts", () => {
  test("a registered device's first birth is noted, once", () => {
    bear();
    clock.set(t0 + 1000);
    bear();
    clock.set(t0);
    expect(host.ledger.firstBirths()).toEqual([{ group: "f1", node: "gw-1", device: "press-1", firstBirthMs: t0 }]);
    expect(host.ledger.unregistered()).toEqual([]);
  });

  test("an unregistered device is listed and not counted", () => {
    bear();
    send("DBIRTH", [tag("x", 9)], { seq: 2, device: "stranger" });
    expect(host.ledger.unregistered()).toMatchObject([{ group: "f1", node: "gw-1", device: "stranger" }]);
    expect(host.ledger.firstBirths().map((b) => b.device)).toEqual(["press-1"]);
  });

  test("a simulator counts in a demonstration; in a real pilot it is a finding", () => {
    const simulated = tag("a", 1, { properties: { simulated: property.flag(true) } });
    start({ demo: false });
    bearForeign([simulated]);
    expect(host.ledger.firstBirths()).toEqual([]);
    expect(host.ledger.findings(5)).toMatchObject([{ code: "SIMULATED_IN_REAL_PILOT", subject: "f1/gw-1/press-1" }]);
    start({ demo: true });
    bearForeign([simulated]);
    expect(host.ledger.firstBirths()).toHaveLength(1);
  });
});
