import { systemClock } from "@jilian/domain/clock.ts";
import { type Rule, startScriptedServer } from "@jilian/gateway/cases/scripted-server.ts";
import { type Collector, startCollector } from "@jilian/gateway/collect.ts";
import { readGatewayConfig } from "@jilian/gateway/config.ts";
import { type Drivers, gatewayDrivers } from "@jilian/gateway/drivers/drivers.ts";
import { driverConformance, type SuiteDevice } from "@jilian/gateway/drivers/test-conformance.ts";
import { noEvents } from "@jilian/gateway/test-collect.ts";
import { startNetwork, startTestServer, type TestServer, temporaryFolder } from "@jilian/gateway/test-opcua.ts";
import { createMeter } from "@jilian/simulators/dlt645-meter.ts";
import { startDlt645Server } from "@jilian/simulators/dlt645-server.ts";
import pino from "pino";
import { afterAll, beforeAll } from "vitest";

/** Every driver through one suite: Modbus TCP (on a connection of its own, and on one that others share) and RTU, OPC UA and DL/T 645, each made as a gateway makes it, behind a network that fails. */
const log = pino({ level: "silent" });
const folder = temporaryFolder();
afterAll(folder.remove);

type Protocol = {
  /** Ports of two devices that are alike: one that says that it is a simulator, one that does not. */
  readonly ports: { readonly simulator: number; readonly plain: number };
  /** Configuration of the device: its own keys, its tags and one that it lacks. */
  readonly device: (port: number) => {
    head?: string;
    keys: string;
    tags: readonly string[];
    missing: string;
    /** Keys of another device that shares the connection and is read all the while. */
    neighbour?: string;
  };
  readonly values: readonly unknown[];
  readonly timeoutMs: number;
  readonly close: () => Promise<unknown>;
};

const lineTo = (port: number) => `lines: [{ id: east, kind: tcp, host: 127.0.0.1, port: ${port}, quietMs: 2 }]\n`;

async function deviceOf({ ports, device, values, timeoutMs, close }: Protocol): Promise<SuiteDevice> {
  let target = ports.plain;
  const network = await startNetwork(() => target);
  const made: Drivers[] = [];
  const neighbours: Collector[] = [];
  const { head = "", keys, tags, missing, neighbour } = device(network.port);
  return {
    values,
    timeoutMs,
    create({ simulated = false, withMissing = false } = {}) {
      const list = [...tags, ...(withMissing ? [missing] : [])].map((tag, i) => `{ name: t${i}, ${tag} }`);
      const text =
        `group: f\nnode: g\nbroker: { host: h }\noutbox: { path: ${folder.path}/outbox.db }\n${head}devices:\n` +
        `  - { id: device, timeoutMs: ${timeoutMs}, simulated: ${simulated}, ${keys}, tags: [${list}] }\n` +
        (neighbour === undefined
          ? ""
          : `  - { id: neighbour, timeoutMs: ${timeoutMs}, ${neighbour}, tags: [${list}], pollIntervalMs: 10, retryMinMs: 10, retryMaxMs: 20 }\n`);
      const read = readGatewayConfig(text, "test.yaml");
      if (!read.ok) throw new Error(JSON.stringify(read.faults));
      const drivers = gatewayDrivers(read.value, { clock: systemClock, log });
      made.push(drivers);
      neighbours.push(
        startCollector({
          devices: read.value.devices.slice(1),
          createDriver: drivers.create,
          clock: systemClock,
          log,
          lastSourceTimeMs: () => 0,
          events: noEvents,
        }),
      );
      return drivers.create(read.value.devices[0] as (typeof read.value.devices)[number]);
    },
    setTellsSimulated(tells) {
      target = tells ? ports.simulator : ports.plain;
      network.cut();
    },
    setSilent: network.swallow,
    cut: network.cut,
    open: network.open,
    async close() {
      await Promise.all(neighbours.splice(0).map((collector) => collector.close()));
      await Promise.all(made.splice(0).map((drivers) => drivers.close()));
      await network.close();
      await close();
    },
  };
}

/** Vendor name (object 0) of a Read Device Identification: SIMULATOR. */
const identityPdu = "2B 0E 01 01 00 00 01 00 09 53494D554C41544F52";

async function modbus(way: "own" | "shared" | "alone" | "rtu"): Promise<SuiteDevice> {
  const rtu = way === "rtu";
  const connection = way === "own" ? "own" : "shared";
  const frame = (pdu: string, length: string) => (rtu ? `UU ${pdu} CRC` : `TTTT 0000 ${length} UU ${pdu}`);
  const rules: Rule[] = [
    { when: "03 03E8", send: [frame("83 02", "0003")] },
    { when: "03", send: ["addresses"] },
  ];
  const start = (...first: Rule[]) =>
    startScriptedServer({ ...(rtu ? { wire: "rtu" as const } : {}), rules: [...first, ...rules] });
  const plain = await start();
  const simulator = await start({ when: "2B", send: [frame(identityPdu, "0013")] });
  const register = (address: number) => `table: holding, address: ${address}, type: uint16`;
  return await deviceOf({
    ports: { simulator: simulator.port, plain: plain.port },
    device: (port) => ({
      head: rtu ? lineTo(port) : "",
      keys: rtu
        ? "driver: modbus-rtu, line: east, unitId: 1"
        : `driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 1, connection: ${connection}`,
      ...(way === "shared"
        ? { neighbour: `driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 2, connection: shared` }
        : {}),
      tags: [register(7), register(8)],
      missing: register(1000),
    }),
    values: [7, 8],
    timeoutMs: 200,
    close: () => Promise.all([plain.close(), simulator.close()]),
  });
}

const modbusCodes = /^(MODBUS|CONNECTION)_/;
driverConformance("Modbus TCP", { codes: modbusCodes, start: () => modbus("alone") });
driverConformance("Modbus TCP, connection shared with another unit", {
  codes: modbusCodes,
  start: () => modbus("shared"),
});
driverConformance("Modbus TCP, connection of its own", { codes: modbusCodes, start: () => modbus("own") });
driverConformance("Modbus RTU", { codes: /^(MODBUS|LINE|CONNECTION)_/, start: () => modbus("rtu") });

const opcua: { plain?: TestServer; simulator?: TestServer } = {};
beforeAll(async () => {
  opcua.plain = await startTestServer({ pkiDir: `${folder.path}/plain` });
  opcua.simulator = await startTestServer({ pkiDir: `${folder.path}/sim`, productUri: "urn:jilian:simulator:plant" });
  // Quiet for an hour, as a counter of a machine that rests: that its source time is old is no fault, cut or not.
  const sourceTimeMs = Date.now() - 3_600_000;
  for (const server of [opcua.plain, opcua.simulator]) {
    server.set("count", { dataType: "UInt32", value: 7 }, { sourceTimeMs });
    server.set("level", { dataType: "Double", value: 2.5 }, { sourceTimeMs });
  }
});
afterAll(async () => {
  await opcua.plain?.stop();
  await opcua.simulator?.stop();
});

driverConformance("OPC UA", {
  codes: /^(OPCUA|CONNECTION)_/,
  start: () => {
    const node = (name: string, type: string) => `nodeId: "nsu=urn:test:machine;s=${name}", type: ${type}`;
    return deviceOf({
      ports: { simulator: opcua.simulator?.port ?? 0, plain: opcua.plain?.port ?? 0 },
      device: (port) => ({
        keys:
          `driver: opcua, endpointUrl: "opc.tcp://127.0.0.1:${port}", pollIntervalMs: 50, heartbeatMs: 400, ` +
          "publishingIntervalMs: 50, samplingIntervalMs: 0",
        tags: [node("count", "uint32"), node("level", "float64")],
        missing: node("nowhere", "uint32"),
      }),
      values: [7, 2.5],
      timeoutMs: 1000,
      close: async () => undefined,
    });
  },
});

driverConformance("DL/T 645", {
  codes: /^(DLT645|LINE|CONNECTION)_/,
  async start() {
    const address = "000000000161";
    const values = () => ({ "00010000": "12345678", "02010100": "2301", "02010200": "2302" });
    const meters = [true, false].map((tellsSimulated) => [createMeter({ address, values, tellsSimulated })]);
    const servers = await Promise.all(meters.map((one) => startDlt645Server({ meters: one, port: 0 })));
    return await deviceOf({
      ports: { simulator: servers[0]?.port ?? 0, plain: servers[1]?.port ?? 0 },
      device: (port) => ({
        head: lineTo(port),
        keys: `driver: dlt645, line: east, meterAddress: "${address}"`,
        tags: ['dataId: "00010000"', 'dataId: "02010100"', 'dataId: "02010200"'],
        missing: 'dataId: "02800002"',
      }),
      values: [12_345_678, 2301, 2302],
      timeoutMs: 200,
      close: () => Promise.all(servers.map((server) => server.stop())),
    });
  },
});
