import { systemClock } from "@jilian/domain/clock.ts";
import { Status } from "@jilian/domain/quality.ts";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { type Script, startScriptedServer, until } from "../cases/scripted-server.ts";
import { type GatewayConfig, readGatewayConfig } from "../config.ts";
import { collectFrom } from "../test-collect.ts";
import { gatewayDrivers } from "./drivers.ts";
import {
  hasPymodbus,
  hasSerialPymodbus,
  noPymodbus,
  noSerialPymodbus,
  plainPeer,
  skipped,
  startPeer,
  startSerialPair,
} from "./test-peer.ts";
import { freePort } from "./test-ports.ts";

const log = pino({ level: "silent" });
const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function configOf(line: string, devices: readonly string[]): GatewayConfig {
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\n";
  const list = devices.map((device) => `  - { driver: modbus-rtu, line: bus, ${device} }\n`).join("");
  const read = readGatewayConfig(`${head}lines:\n  - { id: bus, quietMs: 2, ${line} }\ndevices:\n${list}`, "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value;
}

function driversOf(config: GatewayConfig) {
  const drivers = gatewayDrivers(config, { clock: systemClock, log });
  closers.push(drivers.close);
  const made = config.devices.map(drivers.create);
  closers.push(async () => void (await Promise.all(made.map((driver) => driver.close()))));
  return { drivers, made };
}

async function serve(script: Script) {
  const server = await startScriptedServer({ wire: "rtu", ...script });
  closers.push(server.close);
  return server;
}

const tag = "tags: [{ name: a, table: holding, address: 7, type: uint16 }]";

describe("a dead unit on a line", () => {
  it("costs one request and one time-out at each attempt, and the others nothing but that", async () => {
    const server = await serve({ rules: [{ unit: 9 }, { when: "03", send: ["addresses"] }] });
    const common = "pollIntervalMs: 20, retryMinMs: 400, retryMaxMs: 400";
    const config = configOf(`kind: tcp, host: 127.0.0.1, port: ${server.port}`, [
      `id: one, unitId: 1, ${common}, ${tag}`,
      `id: dead, unitId: 9, ${common}, timeoutMs: 200, ${tag}`,
      `id: two, unitId: 2, ${common}, ${tag}`,
    ]);
    const { collector, close } = collectFrom(config, log);
    let counted = collector.stats();
    const stats = (device: string) => counted.find((one) => one.device === device);
    try {
      await until("the dead one was tried some times", () => {
        counted = collector.stats();
        return (stats("dead")?.failures ?? 0) >= 5;
      });
    } finally {
      await close();
    }
    const asked = server.requests.filter((request) => request.unit === 9);
    const failures = stats("dead")?.failures ?? 0;
    expect(asked.length - failures).toBeLessThanOrEqual(1);
    // What they miss are polls in the dead one's time-outs: they fail in none.
    for (const device of ["one", "two"]) {
      expect(stats(device)).toMatchObject({ connected: true, failures: 0, connects: 1 });
      expect(stats(device)?.polls).toBeGreaterThan(3 * failures);
      const times = server.requests.filter((request) => request.unit === (device === "one" ? 1 : 2));
      const gaps = times.slice(1).map(({ atMs }, i) => atMs - (times[i]?.atMs ?? 0));
      // Never two time-outs of the dead one between two requests to a living one.
      expect(Math.max(...gaps)).toBeLessThan(390);
    }
  });

  it("is asked nothing more often the longer it is dead, and read at once when it lives again", async () => {
    const server = await serve({ rules: [{ times: 6 }, { when: "03", send: ["addresses"] }] });
    const config = configOf(`kind: tcp, host: 127.0.0.1, port: ${server.port}`, [
      `id: m, unitId: 1, timeoutMs: 30, ${tag}`,
    ]);
    const [driver] = driversOf(config).made;
    for (let i = 0; i < 6; i += 1) {
      await expect(driver?.connect(never)).rejects.toMatchObject({ code: "MODBUS_TIMEOUT", status: Status.BadTimeout });
      await driver?.close();
    }
    expect(server.requests.map(({ pdu }) => pdu)).toEqual(Array(6).fill("0300070001"));
    expect(await driver?.connect(never)).toEqual({ simulated: false });
    expect(await driver?.read(never)).toEqual([{ tag: 0, value: 7, status: Status.Good }]);
  });
});

describe("createModbusRtuDriver", () => {
  it("ends a read at once when the signal aborts, and leaves the line to the others", async () => {
    const server = await serve({
      rules: [
        { unit: 1, when: "03", times: 1, send: ["addresses"] },
        { unit: 1, when: "03" },
        { when: "03", send: ["addresses"] },
      ],
    });
    const config = configOf(`kind: tcp, host: 127.0.0.1, port: ${server.port}`, [
      `id: m, unitId: 1, timeoutMs: 200, ${tag}`,
      `id: n, unitId: 2, timeoutMs: 2000, ${tag}`,
    ]);
    const [first, second] = driversOf(config).made;
    await first?.connect(never);
    await second?.connect(never);
    await first?.read(never);
    await second?.read(never);
    const stop = new AbortController();
    const before = server.requests.length;
    const reading = first?.read(stop.signal);
    await until("the request is there", () => server.requests.length > before);
    stop.abort();
    await expect(reading).rejects.toMatchObject({ code: "MODBUS_STOPPED" });
    expect(await second?.read(never)).toEqual([{ tag: 0, value: 7, status: Status.Good }]);
  });

  it("takes no answer to what was asked before a reload, which gave the unit other registers and a longer time-out", async () => {
    const server = await serve({
      rules: [{ when: "03", delayMs: 300, send: ["addresses"] }, { send: ["UU AB 01 CRC"] }],
    });
    const before = configOf(`kind: tcp, host: 127.0.0.1, port: ${server.port}`, [
      `id: m, unitId: 1, timeoutMs: 200, ${tag}`,
    ]);
    const { drivers, made } = driversOf(before);
    await expect(made[0]?.connect(never)).rejects.toMatchObject({ code: "MODBUS_TIMEOUT" });
    await made[0]?.close();
    const [device, ...rest] = before.devices;
    if (device?.driver !== "modbus-rtu") throw new Error("another device");
    const tags = device.tags.map((one) => ({ ...one, address: 9 }));
    const after = { ...before, devices: [{ ...device, timeoutMs: 2000, tags }, ...rest] };
    await drivers.reload(after, { opcua: false });
    const again = drivers.create(after.devices[0] as GatewayConfig["devices"][number]);
    await again.connect(never);
    expect(await again.read(never)).toEqual([{ tag: 0, value: 9, status: Status.Good }]);
    await again.close();
  });

  it("tells where a line is that cannot be opened", async () => {
    const config = configOf("kind: serial, path: /dev/no-such-port", [`id: m, unitId: 1, ${tag}`]);
    const error = {
      code: "LINE_OPEN_FAILED",
      device: "m",
      address: "line bus (/dev/no-such-port)",
      status: Status.BadNotConnected,
    };
    await expect(driversOf(config).made[0]?.connect(never)).rejects.toMatchObject(error);
  });
});

/** Reads every table and the identification of two units at once, three times. */
async function readPeer(line: string): Promise<void> {
  const tags = `tags: [{ name: a, table: holding, address: 7, type: uint16 }, { name: b, table: input, address: 20, type: uint32, order: CDAB },
      { name: c, table: coil, address: 4, type: bool }, { name: d, table: discrete, address: 5, type: bool },
      { name: e, table: holding, address: 400, type: uint16 }]`;
  const config = configOf(
    line,
    [1, 2].map((unit) => `id: m${unit}, unitId: ${unit}, timeoutMs: 3000, ${tags}`),
  );
  const { drivers, made } = driversOf(config);
  const connects = await Promise.all(made.map((driver) => driver.connect(never)));
  expect(connects).toEqual([{ simulated: true }, { simulated: true }]);
  for (let i = 0; i < 3; i += 1) {
    const readings = await Promise.all(made.map((driver) => driver.read(never)));
    for (const of of readings) {
      expect(of.sort((x, y) => x.tag - y.tag)).toEqual([
        { tag: 0, value: 1007, status: Status.Good },
        { tag: 1, value: 1021 * 65_536 + 1020, status: Status.Good },
        { tag: 2, value: true, status: Status.Good },
        { tag: 3, value: false, status: Status.Good },
        { tag: 4, value: null, status: Status.BadNodeIdUnknown },
      ]);
    }
  }
  expect(drivers.lineStats()).toMatchObject([{ line: "bus", open: true, timeouts: 0, discardedBytes: 0, opens: 1 }]);
}

describe("pymodbus as the server", () => {
  const tcpTitle = skipped(hasPymodbus, noPymodbus);
  it.skipIf(!hasPymodbus)(`is read through a converter: RTU over TCP${tcpTitle}`, async () => {
    const port = await freePort();
    closers.push((await startPeer(plainPeer, "tcp", String(port))).close);
    await readPeer(`kind: tcp, host: 127.0.0.1, port: ${port}`);
  });

  const serialTitle = skipped(hasSerialPymodbus, noSerialPymodbus);
  it.skipIf(!hasSerialPymodbus)(`is read on a serial port${serialTitle}`, async () => {
    const pair = await startSerialPair();
    closers.push(pair.close);
    closers.push((await startPeer(plainPeer, "serial", pair.theirs)).close);
    await readPeer(`kind: serial, path: ${pair.ours}, baudRate: 115200`);
  });
});
