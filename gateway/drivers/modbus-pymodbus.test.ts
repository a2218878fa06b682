import { systemClock } from "@jilian/domain/clock.ts";
import { Status } from "@jilian/domain/quality.ts";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { type GatewayConfig, readGatewayConfig } from "../config.ts";
import { collectFrom } from "../test-collect.ts";
import { gatewayDrivers } from "./drivers.ts";
import { hasPymodbus, noPymodbus, skipped, startPeer } from "./test-peer.ts";
import { freePort } from "./test-ports.ts";

const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server of other make: registers of unit n hold 1000 n plus their address. */
const peer = `
import asyncio, sys
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
def device(unit):
    words = [SimData(0, values=list(range(1000 * unit, 1000 * unit + 200)), datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[True, False] * 40, datatype=DataType.BITS)]
    return SimDevice(unit, simdata=(bits, bits, words, words))
identity = ModbusDeviceIdentification(info_name={"VendorName": "pymodbus Simulator"})
async def main():
    server = ModbusTcpServer([device(1), device(2), device(3)], identity=identity, address=("127.0.0.1", int(sys.argv[1])))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
`;

async function startServer(): Promise<number> {
  const port = await freePort();
  closers.push((await startPeer(peer, String(port))).close);
  return port;
}

function configOf(port: number, devices: readonly string[]): GatewayConfig {
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const list = devices.map((own) => `  - { driver: modbus-tcp, host: 127.0.0.1, port: ${port}, ${own} }\n`);
  const read = readGatewayConfig(head + list.join(""), "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value;
}

describe.skipIf(!hasPymodbus)(`pymodbus as the server${skipped(hasPymodbus, noPymodbus)}`, () => {
  it("is read by three units over one connection, every table of each, again and again", async () => {
    const log = pino({ level: "silent" });
    const tags = `tags: [{ name: a, table: holding, address: 7, type: uint16 }, { name: b, table: input, address: 20, type: uint16 },
      { name: c, table: coil, address: 4, type: bool }, { name: d, table: discrete, address: 5, type: bool },
      { name: e, table: holding, address: 400, type: uint16 }]`;
    const units = [1, 2, 3];
    const config = configOf(
      await startServer(),
      units.map((unit) => `id: m${unit}, unitId: ${unit}, timeoutMs: 3000, ${tags}`),
    );
    const drivers = gatewayDrivers(config, { clock: systemClock, log });
    const made = config.devices.map(drivers.create);
    closers.push(drivers.close, async () => void (await Promise.all(made.map((driver) => driver.close()))));
    const connects = await Promise.all(made.map((driver) => driver.connect(never)));
    expect(connects).toEqual(units.map(() => ({ simulated: true })));
    for (let i = 0; i < 20; i += 1) {
      const readings = await Promise.all(made.map((driver) => driver.read(never)));
      for (const [at, unit] of units.entries()) {
        expect(readings[at]?.toSorted((x, y) => x.tag - y.tag)).toEqual([
          { tag: 0, value: 1000 * unit + 7, status: Status.Good },
          { tag: 1, value: 1000 * unit + 20, status: Status.Good },
          { tag: 2, value: true, status: Status.Good },
          { tag: 3, value: false, status: Status.Good },
          { tag: 4, value: null, status: Status.BadNodeIdUnknown },
        ]);
      }
    }
    expect(drivers.lineStats()).toMatchObject([{ open: true, timeouts: 0, discardedBytes: 0, opens: 1 }]);
  });

  // It takes one request out of what has come, and looks at the rest only when more comes.
  it("answers one of several requests that come together, and is asked one at a time after two such polls", async () => {
    const told: Record<string, unknown>[] = [];
    const log = pino({ level: "warn" }, { write: (text: string) => void told.push(JSON.parse(text)) });
    const tags = [0, 40, 80, 120].map((at) => `{ name: t${at}, table: holding, address: ${at}, type: uint16 }`);
    const own =
      "id: m, unitId: 1, maxReadsInFlight: 4, timeoutMs: 300, retryMinMs: 10, retryMaxMs: 20, pollIntervalMs: 50";
    const config = configOf(await startServer(), [`${own}, tags: [${tags.join(", ")}]`]);
    const { collector, close } = collectFrom(config, log);
    closers.push(close);
    await until("it is read", () => (collector.stats()[0]?.polls ?? 0) > 5, 20_000);
    expect(collector.values()[0]?.values.map(({ seen }) => seen?.value)).toEqual([1000, 1040, 1080, 1120]);
    // Polls of which all requests came apart tell nothing: two that tell it need not be the first two.
    const { polls = 0, failures = 0 } = collector.stats()[0] ?? {};
    expect(failures).toBeGreaterThanOrEqual(2);
    await until("it is read on", () => (collector.stats()[0]?.polls ?? 0) > polls + 10);
    expect(collector.stats()[0]).toMatchObject({ connected: true, failures });
    const oneAtATime = told.filter(({ code }) => code === "MODBUS_ONE_AT_A_TIME");
    expect(oneAtATime).toMatchObject([{ device: "m", maxReadsInFlight: 4 }]);
  });
});
