import { createServer } from "node:net";
import { DataType } from "@jilian/domain/datatypes.ts";
import { stateTopic } from "@jilian/domain/topics.ts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { definition, down, type EdgeBench, edgeBench, metricOf, sample, up } from "./test-edge.ts";
import { type Seen, startRelay } from "./test-host.ts";

let bench: EdgeBench;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

describe("births", () => {
  test("come in order with gapless seq, bdSeq, names, aliases and last values; QoS 0, not retained", async () => {
    const [a, b] = bench.define("press", [definition("a"), definition("b")]) as [number, number];
    bench.define("oven", [definition("a")]);
    const node = bench.start();
    node.deviceConnection("press", up);
    await bench.host.until("DBIRTH", () => bench.host.ofType("DBIRTH", "press")[0]);
    const five = sample(a, 5n);
    bench.write("press", [five], node);
    node.deviceConnection("oven", up);
    await bench.host.until("birth of the second device", () => bench.host.ofType("DBIRTH", "oven")[0]);

    const messages = bench.host.seen.filter(({ type }) => type !== "NDATA");
    expect(messages.map((m) => [m.type, m.device])).toEqual([
      ["NBIRTH", undefined],
      ["DBIRTH", "press"],
      ["DDATA", "press"],
      ["DBIRTH", "oven"],
    ]);
    expect(bench.host.seen.map((m) => m.payload.seq)).toEqual(bench.host.seen.map((_, i) => i));
    expect(bench.host.seen.every((m) => m.qos === 0 && !m.retain)).toBe(true);

    const [nbirth, dbirth] = messages as [Seen, Seen];
    expect(nbirth.values).toMatchObject({ bdSeq: 0n, "Node Control/Rebirth": false, "Jilian/Commit": "" });
    expect(nbirth.values).toMatchObject({ "Outbox/PendingRecords": 0n, "Devices/oven/Connected": false });
    expect(nbirth.values).toMatchObject({
      "Properties/Box": expect.stringMatching(/^[0-9a-f]{16}$/),
      "Properties/Starts": 1n,
      "Properties/Epoch": bench.outbox.epoch,
      "Outbox/Writable": true,
      "Outbox/SetBacks": 0n,
    });
    expect(nbirth.payload.metrics.every((m) => m.alias === undefined && m.datatype !== undefined)).toBe(true);
    expect(dbirth.payload.metrics.map((m) => [m.name, m.alias, m.datatype])).toEqual([
      ["a", a, DataType.Int64],
      ["b", b, DataType.Int64],
    ]);
    // Nothing read yet: null and STALE, never a value.
    expect(metricOf(dbirth, "a")).toMatchObject({ isNull: true, properties: { Quality: { value: 500 } } });

    await bench.host.rebirth();
    const again = await bench.host.until("rebirth", () => bench.host.ofType("DBIRTH", "press")[1]);
    expect(metricOf(again, "a")).toMatchObject({ isNull: false, timestampMs: five.sourceTimeMs });
    expect(again.values.a).toBe(5n);
    expect(metricOf(again, "a")?.properties).not.toHaveProperty("Quality");
  });

  test("are sent again once for a storm of requests, at most once a second, with the same bdSeq and seq from 0", async () => {
    const node = bench.start();
    bench.define("press", [definition("a")], node);
    node.deviceConnection("press", up);
    await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
    for (let i = 0; i < 30; i += 1) await bench.host.rebirth();
    await bench.host.until("rebirth", () => bench.host.ofType("DBIRTH", "press")[1]);
    const bornMs = performance.now();
    for (let i = 0; i < 30; i += 1) await bench.host.rebirth();
    await bench.host.until("second rebirth", () => bench.host.ofType("DBIRTH", "press")[2]);
    expect(performance.now() - bornMs).toBeGreaterThan(900);
    const births = bench.host.ofType("NBIRTH");
    expect(births).toHaveLength(3);
    expect(births.map((m) => [m.values.bdSeq, m.payload.seq])).toEqual([
      [0n, 0],
      [0n, 0],
      [0n, 0],
    ]);
    expect(bench.host.ofType("DBIRTH", "press").at(-1)?.payload.seq).toBe(1);
  });

  test("list a retired metric until its backlog has drained, and a device that is gone from the configuration too", async () => {
    const [, old] = bench.define("press", [definition("a"), definition("old")]) as [number, number];
    const [m] = bench.define("removed", [definition("m")]) as [number];
    const before = bench.outbox.epoch;
    bench.write("press", [sample(old, 1n)]);
    bench.write("removed", [sample(m, 2n)]);
    await bench.reopen();
    bench.define("press", [definition("a")]);
    const node = bench.start();
    node.deviceConnection("press", up);
    await bench.host.until("data of both", () => bench.host.ofType("DDATA").length === 2);
    expect(bench.host.ofType("DDATA").map((d) => d.values)).toEqual([{ old: 1n }, { m: 2n }]);
    expect(bench.host.ofType("DBIRTH", "press")[0]?.payload.metrics.map((x) => x.name)).toEqual(["a", "old"]);
    await bench.host.commit(before, [[0, 1]]);
    await bench.host.until("death of the removed device", () => bench.host.ofType("DDEATH", "removed")[0]);
    await bench.host.rebirth();
    const again = await bench.host.until("rebirth", () => bench.host.ofType("DBIRTH", "press")[1]);
    expect(again.payload.metrics.map((x) => x.name)).toEqual(["a"]);
    expect(bench.host.ofType("DBIRTH", "removed")).toHaveLength(1);
  });

  test("follow a changed definition; an unchanged one gives none", async () => {
    const node = bench.start();
    bench.define("press", [definition("a")], node);
    node.deviceConnection("press", up);
    await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
    bench.define("press", [definition("a")], node);
    node.deviceConnection("press", up);
    const simulated = [definition("a", { simulated: true })];
    bench.outbox.declare("press", simulated);
    node.deviceDefinitions("press", simulated);
    const again = await bench.host.until("second birth", () => bench.host.ofType("DBIRTH", "press")[1]);
    expect(metricOf(again, "a")?.properties.simulated?.value).toBe(true);
    expect(bench.host.ofType("DBIRTH", "press")).toHaveLength(2);
    expect(bench.host.ofType("NBIRTH")).toHaveLength(1);
  });
});

describe("deaths", () => {
  test("the will is NDEATH with the bdSeq of the birth, QoS 1, not retained, no seq; the next session counts on", async () => {
    bench.start();
    await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
    bench.host.cut();
    const death = await bench.host.until("will", () => bench.host.ofType("NDEATH")[0]);
    expect(death).toMatchObject({ qos: 1, retain: false, values: { bdSeq: 0n } });
    expect(death.payload.seq).toBeUndefined();
    expect(death.payload.metrics).toHaveLength(1);
    const next = await bench.host.until("next birth", () => bench.host.ofType("NBIRTH")[1]);
    expect([next.values.bdSeq, next.payload.seq]).toEqual([1n, 0]);
  });

  test("closing publishes NDEATH and disconnects, within a second and without the will", async () => {
    const node = bench.start();
    await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
    const gone = new Promise((resolve) => bench.host.broker.once("clientDisconnect", resolve));
    const startedMs = performance.now();
    await node.close();
    expect(performance.now() - startedMs).toBeLessThan(1000);
    await gone;
    expect(bench.host.ofType("NDEATH").map((m) => m.values)).toEqual([{ bdSeq: 0n }]);
  });

  test("a lost device dies only after its backlog has drained; one never connected is never born", async () => {
    const node = bench.start();
    const [a] = bench.define("press", [definition("a")], node) as [number];
    bench.define("oven", [definition("a")], node);
    node.deviceConnection("press", up);
    await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
    bench.write("press", [sample(a, 1n)], node);
    const { epoch } = bench.write("press", [sample(a, 2n)], node);
    node.deviceConnection("press", down);
    node.deviceConnection("oven", down);
    await bench.host.until("data", () => bench.host.ofType("DDATA").length === 2);
    await bench.host.commit(epoch, [[1, 1]]);
    const reason = await bench.host.until("reason", () =>
      bench.host.ofType("NDATA").find((m) => m.values["Devices/oven/Reason"]),
    );
    expect(reason.values["Devices/oven/Reason"]).toBe(down.reason);
    expect(reason.payload.metrics.every((m) => m.transient)).toBe(true);
    expect(bench.host.ofType("DDEATH")).toHaveLength(0);
    await bench.host.commit(epoch, [[0, 0]]);
    await bench.host.until("death", () => bench.host.ofType("DDEATH", "press")[0]);
    expect(bench.host.ofType("DBIRTH", "oven")).toHaveLength(0);
    node.deviceConnection("press", up);
    await bench.host.until("birth after death", () => bench.host.ofType("DBIRTH", "press")[1]);
    const seqs = bench.host.seen.map((m) => m.payload.seq);
    expect(seqs).toEqual(seqs.map((_, i) => i));
  });
});

describe("commands", () => {
  test("that are not understood, and every write to a device, are told and do nothing", async () => {
    const node = bench.start();
    const [a] = bench.define("press", [definition("a")], node) as [number];
    node.deviceConnection("press", up);
    await bench.host.until("birth", () => bench.host.ofType("DBIRTH", "press")[0]);
    bench.write("press", [sample(a, 1n)], node);
    await bench.host.publish("spBv1.0/factory-1/NCMD/gateway-1", "no payload");
    await bench.host.command("Jilian/Commit", DataType.String, '{"v":1,"epoch":"x","ranges":[[0,9]]}');
    await bench.host.command("Jilian/Commit", DataType.Boolean, true);
    await bench.host.command("a", DataType.Int64, 1n, "factory-1/DCMD/gateway-1/press");
    await bench.host.command("Node Control/Rebirth", DataType.Boolean, false);
    await bench.host.commit("0123456789abcdef", [[0, 9]]);
    await bench.host.rebirth();
    await bench.host.until("rebirth", () => bench.host.ofType("NBIRTH")[1]);
    expect(bench.host.ofType("NBIRTH")).toHaveLength(2);
    expect(bench.outbox.stats().pendingRecords).toBe(1);
    expect(bench.lines.some((line) => line.code === "COMMAND_IGNORED")).toBe(true);
  });
});

describe("a primary host", () => {
  test("is waited for; when it leaves, the node dies, disconnects and waits again", async () => {
    const state = (online: boolean, timestamp: number) =>
      bench.host.publish(stateTopic("main"), JSON.stringify({ online, timestamp }), true);
    const subscribed = new Promise((resolve) => bench.host.broker.once("subscribe", resolve));
    const node = bench.start({ primaryHost: "main" });
    await subscribed;
    await state(false, 100);
    await state(true, 50);
    await vi.waitFor(() => expect(node.stats().connects).toBe(1));
    expect(bench.host.seen).toHaveLength(0);
    await state(true, 200);
    await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
    await state(false, 150);
    await state(false, 200);
    await bench.host.until("death", () => bench.host.ofType("NDEATH")[0]);
    await vi.waitFor(() => expect(node.stats().connects).toBe(2), { timeout: 5000 });
    expect(bench.host.ofType("NBIRTH")).toHaveLength(1);
    await state(true, 300);
    const again = await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[1]);
    expect(again.values.bdSeq).toBe(1n);
    expect(bench.host.ofType("NDEATH")).toHaveLength(1);
  });
});

describe("a broker that misbehaves", () => {
  test("silent after the TCP connect: closing still ends within a second", async () => {
    const server = createServer((socket) => socket.on("error", () => {}));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const accepted = new Promise((resolve) => server.once("connection", resolve));
    const node = bench.start({ port: (server.address() as { port: number }).port });
    await accepted;
    const startedMs = performance.now();
    await node.close();
    expect(performance.now() - startedMs).toBeLessThan(1000);
    server.close();
  });

  test("stalled in a session: closing still ends within a second, and the broker has the will", async () => {
    const relay = await startRelay(bench.host.port);
    const node = bench.start({ port: relay.port });
    await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
    relay.stall();
    const startedMs = performance.now();
    await node.close();
    expect(performance.now() - startedMs).toBeLessThan(1000);
    await relay.close();
    await bench.host.until("will", () => bench.host.ofType("NDEATH")[0]);
  });

  test("refuses us: told with its remedy, tried again", async () => {
    bench.host.broker.authenticate = (_client, _user, _password, done) =>
      done(Object.assign(new Error("no"), { returnCode: 5 }), false);
    bench.start();
    await vi.waitFor(() => expect(bench.lines.some((line) => line.code === "BROKER_UNREACHABLE")).toBe(true));
    expect(bench.lines.find((line) => line.code === "BROKER_UNREACHABLE")?.remedy).toMatch(/username/);
    bench.host.broker.authenticate = (_client, _user, _password, done) => done(null, true);
    await bench.host.until("birth", () => bench.host.ofType("NBIRTH")[0]);
  });
});
