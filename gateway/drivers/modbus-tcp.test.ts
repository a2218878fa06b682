import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { Status } from "@jilian/domain/quality.ts";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { type Rule, type ScriptedServer, startScriptedServer, until } from "../cases/scripted-server.ts";
import { readGatewayConfig } from "../config.ts";
import type { Driver } from "../model.ts";
import type { ModbusDevice } from "./modbus-config.ts";
import { createPorts } from "./modbus-port.ts";
import { createModbusDriver } from "./modbus-tcp.ts";

const log = pino({ level: "silent" });
const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function deviceOf(port: number, extra = ""): ModbusDevice {
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const device = `  - { id: plc, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 1, timeoutMs: 150, ${extra} tags: [`;
  const tags =
    "{ name: a, table: holding, address: 0, type: uint16 }, { name: b, table: holding, address: 1, type: uint16 }";
  const read = readGatewayConfig(`${head}${device}${tags}] }\n`, "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.devices[0] as ModbusDevice;
}

async function start(form: string, ...rules: Rule[]): Promise<{ server: ScriptedServer; driver: Driver }> {
  const server = await startScriptedServer({ rules });
  const driver = createModbusDriver(deviceOf(server.port, `connection: ${form},`), {
    ports: createPorts(log),
    log,
    retryRefusedMs: 0,
  });
  closers.push(server.close, driver.close);
  return { server, driver };
}

describe.each(["shared", "own"])("createModbusDriver, %s connection", (form) => {
  it("reads every tag once, and a simulator only where one says so", async () => {
    const { driver } = await start(form, { when: "03", send: ["addresses"] });
    expect(await driver.connect(never)).toEqual({ simulated: false });
    expect(await driver.read(never)).toEqual([
      { tag: 0, value: 0, status: Status.Good },
      { tag: 1, value: 1, status: Status.Good },
    ]);
  });

  it("keeps the configured mark of a simulator, whatever the device says", async () => {
    const server = await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] });
    const driver = createModbusDriver(deviceOf(server.port, `simulated: true, connection: ${form},`), {
      ports: createPorts(log),
      log,
    });
    closers.push(server.close, driver.close);
    expect(await driver.connect(never)).toEqual({ simulated: true });
  });

  it("gives up its connection with the first time-out, and works again after another connect", async () => {
    const { server, driver } = await start(
      form,
      { when: "03", times: 1, send: ["addresses"] },
      { when: "03", times: 1 },
      { when: "03", send: ["addresses"] },
    );
    await driver.connect(never);
    await driver.read(never);
    const error = { code: "MODBUS_TIMEOUT", device: "plc", status: Status.BadTimeout };
    await expect(driver.read(never)).rejects.toMatchObject(error);
    await until("the connection is gone", () => server.counts.open === 0);
    await expect(driver.read(never)).rejects.toMatchObject(error);
    expect(server.requests).toHaveLength(3);
    await driver.connect(never);
    expect(await driver.read(never)).toHaveLength(2);
    expect(server.counts.maxOpen).toBe(1);
  });

  it("tries a refused tag again when its time has come", async () => {
    const { driver } = await start(
      form,
      { when: "03 0000 0002", times: 1, send: ["TTTT 0000 0003 UU 83 02"] },
      { when: "03 0001 0001", times: 2, send: ["TTTT 0000 0003 UU 83 02"] },
      { when: "03", send: ["addresses"] },
    );
    await driver.connect(never);
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < 3; i += 1) statuses.push((await driver.read(never)).find((r) => r.tag === 1)?.status);
    expect(statuses).toEqual([Status.BadNodeIdUnknown, Status.BadNodeIdUnknown, Status.Good]);
  });

  it("fails as a whole when every tag is refused, and plans anew at the next connect", async () => {
    const { driver } = await start(
      form,
      { when: "03", times: 3, send: ["TTTT 0000 0003 UU 83 02"] },
      { when: "03", send: ["addresses"] },
    );
    await driver.connect(never);
    await expect(driver.read(never)).rejects.toMatchObject({ code: "MODBUS_NOTHING_READABLE" });
    await driver.connect(never);
    expect((await driver.read(never)).map((r) => r.status)).toEqual([Status.Good, Status.Good]);
  });

  it("ends a read, and a connect, at once when the signal aborts", async () => {
    const { server, driver } = await start(form, { when: "03", times: 1, send: ["addresses"] }, { when: "03" });
    await driver.connect(never);
    await driver.read(never);
    const stop = new AbortController();
    const reading = driver.read(stop.signal);
    await until("the request is there", () => server.requests.length === 3);
    stop.abort();
    await expect(reading).rejects.toMatchObject({ code: "MODBUS_STOPPED" });
    await until("the connection is gone", () => server.counts.open === 0);
    await expect(driver.connect(stop.signal)).rejects.toMatchObject({ code: "MODBUS_STOPPED" });
  });

  it("ends a read when it is closed meanwhile; closing twice is no fault", async () => {
    const { server, driver } = await start(form, { when: "03", times: 1, send: ["addresses"] }, { when: "03" });
    await driver.connect(never);
    await driver.read(never);
    const reading = driver.read(never);
    reading.catch(() => undefined);
    await until("the request is there", () => server.requests.length === 3);
    await driver.close();
    await driver.close();
    await expect(reading).rejects.toMatchObject({ code: "MODBUS_STOPPED" });
  });

  it("takes an answer that came in time while the process stood still beyond the time-out", async () => {
    // The device is a thread of its own, so that it answers while this one stands still.
    const source = `const { createServer } = require("node:net"); const { parentPort } = require("node:worker_threads");
      const s = createServer((socket) => socket.on("data", (asked) => {
        const head = asked.toString("hex", 0, 4);
        const identity = asked[7] === 0x2b;
        setTimeout(() => socket.write(Buffer.from(head + (identity ? "000301ab01" : "00070103040007002a"), "hex")), identity ? 0 : 60);
      })).listen(0, "127.0.0.1", () => parentPort.postMessage(s.address().port));`;
    const worker = new Worker(source, { eval: true });
    closers.push(() => worker.terminate());
    const [port] = (await once(worker, "message")) as [number];
    const driver = createModbusDriver(deviceOf(port, `connection: ${form},`), { ports: createPorts(log), log });
    closers.push(driver.close);
    await driver.connect(never);
    await driver.read(never);
    const reading = driver.read(never);
    await new Promise((resolve) => setImmediate(resolve));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    expect((await reading).map((r) => r.value)).toEqual([7, 42]);
  });

  it("leaves no socket and no listener behind over 200 connects that end badly", async () => {
    const { server, driver } = await start(form, { when: "03", end: "reset" });
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
    const before = sockets();
    for (let i = 0; i < 200; i += 1) {
      await expect(driver.connect(never)).rejects.toMatchObject({ code: "MODBUS_CONNECTION_LOST" });
    }
    await driver.close();
    await until("all sockets are gone", () => server.counts.open === 0 && sockets() <= before);
    expect(server.counts.connections).toBe(200);
  });
});

describe.each(["shared", "own"])("connect, %s connection", (form) => {
  it.each([
    ["127.0.0.1", "MODBUS_CONNECT_REFUSED"],
    ["no-such-host.invalid", "MODBUS_HOST_UNKNOWN"],
  ])("tells why %s cannot be reached", async (host, code) => {
    const server = await startScriptedServer({ listen: "afterFirstFailure", rules: [] });
    const device = { ...deviceOf(server.port, `connection: ${form},`), host, timeoutMs: 5000 };
    const error = { code, device: "plc", address: `${host}:${server.port}`, status: Status.BadNotConnected };
    await expect(createModbusDriver(device, { ports: createPorts(log), log }).connect(never)).rejects.toMatchObject(
      error,
    );
  });

  it("gives up after its own time-out where the system would wait for minutes", async () => {
    // A listener that never accepts: once its queue is full, the kernel leaves further connects without an answer.
    const source = `const { createServer } = require("node:net"); const { parentPort } = require("node:worker_threads");
      const s = createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
        parentPort.postMessage(s.address().port); setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)); });`;
    const worker = new Worker(source, { eval: true });
    const [port] = (await once(worker, "message")) as [number];
    const fillers: Socket[] = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => undefined));
    closers.push(
      () => worker.terminate(),
      async () => fillers.forEach((socket) => void socket.destroy()),
    );
    await until(
      "the queue is full",
      () => fillers.some((socket) => socket.connecting) && fillers.some((s) => !s.connecting),
    );
    const started = performance.now();
    const error = { code: "MODBUS_CONNECT_TIMEOUT", status: Status.BadNotConnected };
    await expect(
      createModbusDriver(deviceOf(port, `connection: ${form},`), { ports: createPorts(log), log }).connect(never),
    ).rejects.toMatchObject(error);
    expect(performance.now() - started).toBeLessThan(2000);
  });
});
