/** Devices of which nothing is due for long: all their tags are in slow groups. */
import { type Clock, scaledClock, systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, expect, test, vi } from "vitest";
import { type Script, type ScriptedServer, startScriptedServer, until } from "../cases/scripted-server.ts";
import { startCollector } from "../collect.ts";
import { type GatewayConfig, readGatewayConfig } from "../config.ts";
import type { Connection } from "../model.ts";
import { gatewayDrivers } from "./drivers.ts";
import type { ModbusDevice } from "./modbus-config.ts";
import { createPorts, type Ports } from "./modbus-port.ts";
import { createModbusDriver } from "./modbus-tcp.ts";

const log = pino({ level: "silent" });
const { signal } = new AbortController();
const opened: { close: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
function portsOf(): Ports {
  const ports = createPorts(log);
  opened.push(ports);
  return ports;
}

const noIdentity = { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] };

async function serve(rules: Script["rules"]): Promise<ScriptedServer> {
  const server = await startScriptedServer({ rules: [noIdentity, ...rules] });
  opened.push(server);
  return server;
}

/** Two values that are read once a day, the shorter one behind the longer. */
function config(port: number, more = "groups: { plate: {} }"): GatewayConfig {
  const checked = readGatewayConfig(
    `group: factory\nnode: gateway\nbroker: { host: localhost }\noutbox: { path: unused }\ndevices:
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 1, pollIntervalMs: 20, timeoutMs: 100,
      retryMinMs: 20, retryMaxMs: 20, maxGapRegisters: 0, ${more}, tags: [
      { name: serial, table: holding, address: 0, type: uint32, group: plate },
      { name: version, table: holding, address: 9, type: uint16, group: plate }] }\n`,
    "gateway.yaml",
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}
const reads = ({ requests }: ScriptedServer) =>
  requests.filter(({ pdu }) => pdu.startsWith("03")).map(({ pdu }) => pdu);
const [long, short] = ["0300000002", "0300090001"];

/** Collects from the device, and keeps what is told of its connection and read of it. */
function collect(port: number, unprovenMs: number) {
  const connections: Connection[] = [];
  const samples: string[] = [];
  const collector = startCollector({
    devices: config(port).devices,
    createDriver: (device) => createModbusDriver(device as ModbusDevice, { ports: portsOf(), log, unprovenMs }),
    clock: systemClock,
    log,
    lastSourceTimeMs: () => 0,
    events: {
      onDefinitions: () => {},
      onConnection: (_device, connection) => void connections.push(connection),
      onSamples: (_device, found) => void samples.push(...found.map(({ metric, value }) => `${metric} ${value}`)),
    },
  });
  opened.push(collector);
  return { collector, connections, samples };
}

test("one that falls silent while nothing is due is not connected any more, and is again when it answers", async () => {
  const server = await serve([
    { when: "03", times: 2, send: ["addresses"] },
    { when: "03", times: 3 },
    { when: "03", send: ["addresses"] },
  ]);
  const { collector, connections, samples } = collect(server.port, 60);
  await until("it is away", () => connections.some(({ connected }) => !connected));
  expect(connections.map(({ connected }) => connected).slice(0, 2)).toEqual([true, false]);
  expect(connections[1]?.reason).toMatch(/^MODBUS_TIMEOUT/);
  await until("it is back", () => connections.at(-1)?.connected === true);
  expect(collector.stats()[0]).toMatchObject({ connected: true, failureKinds: { MODBUS_TIMEOUT: expect.any(Number) } });
  expect(samples).toEqual(["serial 1", "version 9", "serial null", "version null", "serial 1", "version 9"]);
});

test("one behind whose gateway nobody answers any more is not connected, whatever else it refuses", async () => {
  const server = await serve([
    { when: "03", times: 2, send: ["addresses"] },
    { when: "03", times: 2, send: ["TTTT 0000 0003 UU 83 06"] },
    { when: "03", send: ["TTTT 0000 0003 UU 83 0b"] },
  ]);
  const { connections } = collect(server.port, 30);
  await until("it is away", () => connections.length > 1);
  expect(connections[1]).toMatchObject({ connected: false, reason: expect.stringMatching(/NOTHING_READABLE.*11/) });
  // Two proofs that it is busy, hence there, and the one that told; all of the shortest block.
  expect(reads(server).slice(0, 5)).toEqual([long, short, short, short, short]);
});

test("one that is connected to anew without anything due is asked first, and its groups keep their rate", async () => {
  const server = await serve([
    { when: "03 0009", times: 1, send: ["addresses"], end: "close" },
    { when: "03", send: ["addresses"] },
  ]);
  const [device] = config(server.port, "groups: { plate: {} }, connection: own").devices as [ModbusDevice];
  const driver = createModbusDriver(device, { ports: portsOf(), log, unprovenMs: 50 });
  opened.push(driver);
  await driver.connect(signal);
  expect(await driver.read(signal)).toHaveLength(2);
  await until("it has closed the connection", () => server.counts.open === 0);
  // Until it is unproven for long enough to be asked.
  await vi.waitFor(async () => {
    const idle = await driver.read(signal).catch((thrown: unknown) => thrown);
    expect(idle).toMatchObject({ code: "CONNECTION_CLOSED_IDLE" });
  }, 5000);
  await driver.connect(signal);
  expect(await driver.read(signal)).toEqual([]);
  expect(reads(server)).toEqual([long, short, short]);
  expect(await driver.read(signal)).toEqual([]);
  expect(reads(server)).toHaveLength(3);
});

test("a group is due in the clock of the gateway, which may run faster", async () => {
  const server = await serve([{ when: "03", send: ["addresses"] }]);
  const hourly = config(server.port, "groups: { plate: { pollIntervalMs: 3600000 } }");
  const readings = async (clock: Clock, times: number) => {
    const drivers = gatewayDrivers(hourly, { clock, log });
    const driver = drivers.create(hourly.devices[0] as ModbusDevice);
    opened.push({ close: drivers.close }, driver);
    await driver.connect(signal);
    let found = 0;
    for (let i = 0; i < times; i += 1) found += (await driver.read(signal)).length;
    return { found, driver };
  };
  // An hour is 50 ms of the machine: the values of the second one come by themselves.
  const fast = await readings(scaledClock({ rate: 72_000, originMs: 0, startedMs: Date.now() }), 1);
  expect(fast.found).toBe(2);
  await vi.waitFor(async () => expect(await fast.driver.read(signal)).toHaveLength(2), 5000);
  expect((await readings(systemClock, 50)).found).toBe(2);
});
