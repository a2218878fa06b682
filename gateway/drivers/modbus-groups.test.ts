import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Script, type ScriptedServer, startScriptedServer, until } from "../cases/scripted-server.ts";
import { type GatewayConfig, readGatewayConfig } from "../config.ts";
import { definitionOf, definitionsOf } from "../definitions.ts";
import type { ModbusDevice } from "./modbus-config.ts";
import { createPorts } from "./modbus-port.ts";
import { createRates } from "./modbus-rates.ts";
import { createModbusDriver } from "./modbus-tcp.ts";

const text = (port: number, device: string): string => `
group: factory
node: gateway
broker: { host: localhost }
outbox: { path: unused }
devices:
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 1, ${device} }
`;
const grouped = `pollIntervalMs: 1000,
      groups: { slow: { pollIntervalMs: 60000 }, plate: {} },
      tags: [{ name: a, table: holding, address: 0, type: int16 },
             { name: b, table: holding, address: 1, type: int16, group: slow },
             { name: c, table: holding, address: 2, type: int16, group: plate },
             { name: d, table: holding, address: 3, type: int16 }]`;

function config(port: number, device: string): GatewayConfig {
  const checked = readGatewayConfig(text(port, device), "gateway.yaml");
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}

describe("the rates of a device", () => {
  test("a group is due at once, then on its interval, and when it is asked for", () => {
    const rates = createRates({ pollIntervalMs: 1000, groups: { slow: { pollIntervalMs: 5000 } } });
    const due: number[] = [];
    for (let nowMs = 0; nowMs < 21_000; nowMs += 1000) {
      // Timers are early and late.
      const atMs = nowMs + (nowMs % 3000 === 0 ? -9 : 30);
      if (rates.take(atMs).has("slow")) due.push(nowMs);
      if (nowMs === 17_000) expect(rates.ask("slow")).toBe(true);
    }
    expect(due).toEqual([0, 5000, 10_000, 15_000, 18_000]);
    expect(rates.ask("none")).toBe(false);
    rates.reset();
    expect([...rates.take(21_000)]).toEqual(["slow"]);
  });
});

describe("a driver", () => {
  let server: ScriptedServer;
  beforeEach(async () => {
    server = await startScriptedServer({
      rules: [
        { when: "03", send: ["addresses"] },
        { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
      ],
    });
  });
  afterEach(() => server.close());

  test("reads each group by itself, at its rate, when asked and after each connect", async () => {
    const [device] = config(server.port, grouped).devices as [ModbusDevice];
    const driver = createModbusDriver(device, {
      ports: createPorts(pino({ level: "silent" })),
      log: pino({ level: "silent" }),
    });
    const signal = new AbortController().signal;
    const reads = () => server.requests.filter(({ pdu }) => pdu.startsWith("03")).map(({ pdu }) => pdu.slice(2));
    const tags = async () => (await driver.read(signal)).map(({ tag }) => device.tags[tag]?.name).toSorted();
    await driver.connect(signal);
    expect(await tags()).toEqual(["a", "b", "c", "d"]);
    // The registers of the groups lie between the two of the device: they are read along, and not told.
    expect(reads().toSorted()).toEqual(["00000004", "00010001", "00020001"]);
    expect(await tags()).toEqual(["a", "d"]);
    expect(driver.ask?.("plate")).toBe(true);
    expect(await tags()).toEqual(["a", "c", "d"]);
    expect(await tags()).toEqual(["a", "d"]);
    await driver.connect(signal);
    expect(await tags()).toEqual(["a", "b", "c", "d"]);
    await driver.close();
  });

  test("is silent where all its groups are seldom and none is due", async () => {
    const own = "groups: { plate: {} }, tags: [{ name: c, table: holding, address: 2, type: int16, group: plate }]";
    const [device] = config(server.port, own).devices as [ModbusDevice];
    const driver = createModbusDriver(device, {
      ports: createPorts(pino({ level: "silent" })),
      log: pino({ level: "silent" }),
    });
    const signal = new AbortController().signal;
    await driver.connect(signal);
    expect(await driver.read(signal)).toHaveLength(1);
    expect(await driver.read(signal)).toEqual([]);
    await driver.close();
  });
});

describe("a group", () => {
  const silent = pino({ level: "silent" });
  const opened: { close: () => Promise<void> }[] = [];
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close();
  });

  async function start(tags: string, log: pino.Logger, rules: Script["rules"] = []) {
    const answering = { when: "03", send: ["addresses"] };
    const server = await startScriptedServer({ rules: [...rules, answering] });
    const [device] = config(server.port, tags).devices as [ModbusDevice];
    const driver = createModbusDriver(device, { ports: createPorts(log), log });
    opened.push(server, driver);
    const { signal } = new AbortController();
    await driver.connect(signal);
    /** What was read, by name; null for none. */
    const read = async () => {
      const readings = await driver.read(signal);
      return Object.fromEntries(readings.map(({ tag, value }) => [device.tags[tag]?.name, value]));
    };
    return { server, driver, read, signal };
  }

  test("that is asked for while a poll is under way is read with the next one", async () => {
    const { driver, read } = await start(grouped, silent);
    await read();
    const underWay = read();
    expect(driver.ask?.("plate")).toBe(true);
    expect(await underWay).toEqual({ a: 0, d: 3 });
    expect(await read()).toEqual({ a: 0, c: 2, d: 3 });
    expect(await read()).toEqual({ a: 0, d: 3 });
  });

  test("that a busy device refuses is read again with the next poll, not in a day", async () => {
    const { read } = await start(grouped, silent, [
      { when: "03 0002 0001", times: 1, send: ["TTTT 0000 0003 UU 83 06"] },
    ]);
    expect(await read()).toEqual({ a: 0, b: 1, c: null, d: 3 });
    expect(await read()).toEqual({ a: 0, c: 2, d: 3 });
    expect(await read()).toEqual({ a: 0, d: 3 });
  });

  test("whose tag the device does not have tells so when it is due", async () => {
    const { driver, read } = await start(grouped, silent, [
      { when: "03 0002 0001", send: ["TTTT 0000 0003 UU 83 02"] },
    ]);
    expect(await read()).toEqual({ a: 0, b: 1, c: null, d: 3 });
    expect(await read()).toEqual({ a: 0, d: 3 });
    driver.ask?.("plate");
    expect(await read()).toEqual({ a: 0, c: null, d: 3 });
  });

  test("is read at its rate by a device that closes quiet connections, and what that does not have is told once", async () => {
    const logged: unknown[] = [];
    const log = pino({ level: "warn" }, { write: (text: string) => void logged.push(JSON.parse(text)) });
    const { server, driver, read, signal } = await start(`connection: own, ${grouped}`, log, [
      { when: "03 0000 0004", times: 1, send: ["TTTT 0000 0003 UU 83 02"] },
      { when: "03 0003 0001", send: ["TTTT 0000 0003 UU 83 02"] },
      { when: "03 0002 0001", send: ["addresses"], end: "close" },
    ]);
    expect(await read()).toEqual({ a: 0, b: 1, c: 2, d: null });
    driver.ask?.("slow");
    await until("it has closed the connection", () => server.counts.open === 0);
    await expect(read()).rejects.toMatchObject({ code: "CONNECTION_CLOSED_IDLE" });
    await driver.connect(signal);
    expect(await read()).toEqual({ a: 0, b: 1, d: null });
    expect(logged).toMatchObject([{ tag: "d", exception: 2 }]);
  });

  const allGrouped = `groups: { slow: { pollIntervalMs: 60000 }, plate: {} },
    tags: [{ name: b, table: holding, address: 1, type: int16, group: slow },
           { name: c, table: holding, address: 2, type: int16, group: plate }]`;

  test("that is refused, alone due, fails no device that gives another one", async () => {
    const { driver, read } = await start(allGrouped, silent, [
      { when: "03 0001 0001", send: ["TTTT 0000 0003 UU 83 01"] },
    ]);
    expect(await read()).toEqual({ b: null, c: 2 });
    expect(await read()).toEqual({});
    driver.ask?.("slow");
    expect(await read()).toEqual({ b: null, c: 2 });
  });

  test("that is refused, alone due, fails a device behind whose gateway nobody answers", async () => {
    const refusing = { when: "03", send: ["TTTT 0000 0003 UU 83 0b"] };
    const { driver, read } = await start(allGrouped, silent, [{ when: "03", times: 2, send: ["addresses"] }, refusing]);
    expect(await read()).toEqual({ b: 1, c: 2 });
    driver.ask?.("slow");
    await expect(read()).rejects.toMatchObject({ code: "MODBUS_NOTHING_READABLE" });
  });
});

describe("the configuration", () => {
  test("tells hosts how long what is derived of slow groups alone is silent", () => {
    const derived = `derived: [{ name: s, operation: sum, of: [{ tag: b }, { tag: c }] },
      { name: f, operation: sum, of: [{ tag: a }, { tag: c }] }]`;
    const [device] = config(502, `${grouped}, ${derived}`).devices as [ModbusDevice];
    const heartbeats = definitionsOf(device, false).map(({ heartbeatMs }) => heartbeatMs);
    expect(heartbeats).toEqual([10_000, 60_000, 86_400_000, 10_000, 60_000, 10_000]);
  });

  test("tells hosts how long a tag of a slow group is silent", () => {
    const [device] = config(502, grouped).devices as [ModbusDevice];
    const heartbeats = device.tags.map((tag) => definitionOf(device, tag, false).heartbeatMs);
    expect(heartbeats).toEqual([10_000, 60_000, 86_400_000, 10_000]);
  });

  test("of a machine's state that is read more seldom than it is believed is refused", () => {
    const own = `groups: { slow: { pollIntervalMs: 1800000 } },
      tags: [{ name: a, table: holding, address: 0, type: int16, role: machine.state, unit: "1", group: slow }]`;
    const checked = readGatewayConfig(text(502, own), "gateway.yaml");
    expect(checked.ok ? [] : checked.faults.map(({ path }) => path)).toEqual(["/devices/0/tags/0/group"]);
  });

  test("of groups that make no sense is refused, each with its remedy", () => {
    const wrong = `pollIntervalMs: 1000, groups: { slow: { pollIntervalMs: 2500 }, unused: {} },
      tags: [{ name: a, table: holding, address: 0, type: int16, group: slow, heartbeatMs: 2000 },
             { name: b, table: holding, address: 1, type: int16, group: slwo }]`;
    const checked = readGatewayConfig(text(502, wrong), "gateway.yaml");
    expect(checked.ok ? [] : checked.faults.map(({ path }) => path).toSorted()).toEqual([
      "/devices/0/groups/slow/pollIntervalMs",
      "/devices/0/groups/unused",
      "/devices/0/tags/0/heartbeatMs",
      "/devices/0/tags/1/group",
    ]);
  });
});
