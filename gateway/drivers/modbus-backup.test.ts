import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { type ScriptedServer, startScriptedServer, until } from "../cases/scripted-server.ts";
import { readGatewayConfig } from "../config.ts";
import { collectFrom } from "../test-collect.ts";
import type { ModbusDevice } from "./modbus-config.ts";
import { createPorts } from "./modbus-port.ts";
import { createModbusDriver } from "./modbus-tcp.ts";

const servers: ScriptedServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(value: string): Promise<ScriptedServer> {
  const server = await startScriptedServer({
    rules: [
      { when: "03", send: [`TTTT 0000 0005 UU 03 02 ${value}`] },
      { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
    ],
  });
  servers.push(server);
  return server;
}

const read = (devices: string) =>
  readGatewayConfig(
    `group: factory\nnode: gateway\nbroker: { host: localhost }\noutbox: { path: unused }\ndevices:\n${devices}`,
    "gateway.yaml",
  );
const deviceAt = (id: string, port: number, backup: number, more = "", unitId = 1): string =>
  `  - { id: ${id}, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, backup: { host: 127.0.0.1, port: ${backup} }, unitId: ${unitId},
      timeoutMs: 300, ${more} tags: [{ name: a, table: holding, address: 0, type: int16 }] }\n`;

test.each(["shared", "own"])(
  "a device is read at the address that answers, and stays there until it does not: connection %s",
  async (connection) => {
    const [first, second] = [await serve("0001"), await serve("0002")];
    const checked = read(deviceAt("press", first.port, second.port, `connection: ${connection},`));
    if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
    const told: unknown[] = [];
    const log = pino({ level: "warn" }, { write: (text: string) => void told.push(JSON.parse(text).address) });
    const driver = createModbusDriver(checked.value.devices[0] as ModbusDevice, { ports: createPorts(log), log });
    const { signal } = new AbortController();
    /** As the collector does: after a failure it closes and connects again. */
    const poll = async (): Promise<unknown> => {
      for (let tries = 0; tries < 4; tries += 1) {
        try {
          await driver.connect(signal);
          return (await driver.read(signal))[0]?.value;
        } catch {
          await driver.close();
        }
      }
      return undefined;
    };
    expect(await poll()).toBe(1);
    expect(await poll()).toBe(1);
    await first.close();
    expect(await poll()).toBe(2);
    expect(await poll()).toBe(2);
    await first.listen();
    // It has no reason to leave.
    expect(await poll()).toBe(2);
    await second.close();
    expect(await poll()).toBe(1);
    expect(told).toEqual([`127.0.0.1:${second.port}`, `127.0.0.1:${first.port}`]);
    await first.close();
    // Both are dead: that it tries one after the other is told once.
    expect([await poll(), await poll()]).toEqual([undefined, undefined]);
    expect(told).toHaveLength(3);
    await driver.close();
  },
);

test("devices of two addresses share the connection at each, wherever each of them is", async () => {
  const [first, second] = [await serve("0001"), await serve("0002")];
  const both = deviceAt("a", first.port, second.port) + deviceAt("b", first.port, second.port, "", 2);
  const checked = read(both);
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const log = pino({ level: "silent" });
  const ports = createPorts(log);
  const drivers = checked.value.devices.map((device) => createModbusDriver(device as ModbusDevice, { ports, log }));
  const { signal } = new AbortController();
  const values = async () => {
    const readings = await Promise.all(
      drivers.map(async (driver) => {
        await driver.connect(signal);
        return await driver.read(signal);
      }),
    );
    return readings.map(([reading]) => reading?.value);
  };
  expect(await values()).toEqual([1, 1]);
  expect(first.counts).toMatchObject({ open: 1, maxOpen: 1 });
  await first.close();
  for (const driver of drivers) {
    await expect(driver.connect(signal)).rejects.toMatchObject({ code: "MODBUS_CONNECT_REFUSED" });
    await driver.close();
  }
  expect(await values()).toEqual([2, 2]);
  expect(second.counts).toMatchObject({ open: 1, maxOpen: 1 });
  for (const driver of drivers) await driver.close();
  await until("both have left", () => second.counts.open === 0);
});

test("addresses of which one stands in for the other are never asked at once: they may be two converters on one line", async () => {
  const delayMs = 25;
  const rule = (unit: number) => ({ unit, when: "03", delayMs, send: ["TTTT 0000 0005 UU 03 02 0001"] });
  const identity = { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] };
  // Unit 2 is heard behind the second one alone.
  const first = await startScriptedServer({ rules: [identity, rule(1), { unit: 2 }] });
  const second = await startScriptedServer({ rules: [identity, rule(2)] });
  servers.push(first, second);
  const checked = read(
    deviceAt("a", first.port, second.port, "pollIntervalMs: 10,") +
      deviceAt("b", first.port, second.port, "pollIntervalMs: 10, retryMinMs: 10, retryMaxMs: 10,", 2),
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const log = pino({ level: "silent" });
  const { close } = collectFrom(checked.value, log);
  try {
    await until("both are read", () => second.requests.length > 20 && first.requests.length > 20, 20_000);
  } finally {
    await close();
  }
  const asked = [first, second].flatMap((server, at) =>
    server.requests.map(({ unit, pdu, atMs }) => {
      // One that is not answered is waited for until its time-out: the other converter would ask into it.
      const tookMs = pdu.startsWith("2b") ? 0 : at === 0 && unit === 2 ? 300 : delayMs;
      return { at, fromMs: atMs, toMs: atMs + tookMs };
    }),
  );
  const inOrder = asked.toSorted((a, b) => a.fromMs - b.fromMs);
  const overlaps = inOrder.filter((one, i) => {
    const before = inOrder[i - 1];
    return before !== undefined && before.at !== one.at && one.fromMs < before.toMs - 5;
  });
  expect(overlaps).toEqual([]);
});

test("a backup address that is a device's already is refused", () => {
  const checked = read(
    deviceAt("a", 502, 503) + deviceAt("b", 503, 504) + deviceAt("c", 505, 504) + deviceAt("d", 506, 506),
  );
  const paths = checked.ok ? [] : checked.faults.map(({ path }) => path);
  expect(paths).toEqual(["/devices/0/backup", "/devices/2/backup", "/devices/3/backup"]);
});
