import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import pino from "pino";
import { afterEach, expect, it } from "vitest";
import { readGatewayConfig } from "../config.ts";
import type { ModbusDevice } from "./modbus-config.ts";
import { createPorts } from "./modbus-port.ts";
import { createModbusDriver } from "./modbus-tcp.ts";
import { createTogether } from "./modbus-together.ts";

const never = new AbortController().signal;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server that is given what has come, and says how many requests of it it answers now; the others wait until more comes. */
async function startServer(take: (waiting: number, onConnection: number) => number): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let waiting: Buffer[] = [];
    let answered = 0;
    socket.on("data", (bytes: Buffer) => {
      // Requests for reads and for the identification have no more than 12 bytes: none is cut in two here.
      for (let at = 0; at < bytes.length; ) {
        const end = at + 6 + bytes.readUInt16BE(at + 4);
        waiting.push(bytes.subarray(at, end));
        at = end;
      }
      const now = waiting.slice(0, take(waiting.length, answered));
      waiting = waiting.slice(now.length);
      answered += now.length;
      for (const asked of now) {
        const code = asked[7] as number;
        const pdu = code === 3 ? [3, 2, asked[8] as number, asked[9] as number] : [code | 0x80, 1];
        socket.write(Buffer.from([...asked.subarray(0, 4), 0, 1 + pdu.length, 1, ...pdu]));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Reads as the collector does: connects anew after a failure. @returns for each read whether it gave its values */
async function readsOf(port: number, addresses: readonly number[], times: number, trialMs?: number) {
  const codes: unknown[] = [];
  const log = pino({ level: "warn" }, { write: (text: string) => void codes.push(JSON.parse(text).code) });
  const tags = addresses.map((address) => `{ name: t${address}, table: holding, address: ${address}, type: uint16 }`);
  const own = `{ id: plc, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: 1, maxReadsInFlight: 4, timeoutMs: 200, tags: [${tags.join(", ")}] }`;
  const text = `group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n  - ${own}\n`;
  const config = readGatewayConfig(text, "test.yaml");
  if (!config.ok) throw new Error(JSON.stringify(config.faults));
  const driver = createModbusDriver(config.value.devices[0] as ModbusDevice, { ports: createPorts(log), log, trialMs });
  closers.push(driver.close);
  const went: boolean[] = [];
  let isConnected = false;
  for (let i = 0; i < times; i += 1) {
    try {
      if (!isConnected) await driver.connect(never);
      isConnected = true;
      went.push((await driver.read(never)).length === addresses.length);
    } catch {
      isConnected = false;
      went.push(false);
    }
  }
  return { went, codes };
}

it("a device that answers one of what comes together is found out with two blocks, too", async () => {
  const { went, codes } = await readsOf(await startServer(() => 1), [0, 500], 10);
  expect(codes).toEqual(["MODBUS_ONE_AT_A_TIME"]);
  expect(went.slice(-4)).toEqual([true, true, true, true]);
});

it("a device that lost some packets is asked for several at once again", async () => {
  let together = 0;
  // Packets are lost in two polls alone, the second ones of the first two connections: what a connect has looked at is not asked again.
  let lossy = 2;
  const port = await startServer((waiting, answered) => {
    if (waiting > 1) together += 1;
    if (waiting === 1 || answered < 2) return waiting;
    return lossy-- > 0 ? 1 : waiting;
  });
  const { went, codes } = await readsOf(port, [0, 500], 12, 1);
  expect([went.slice(4), codes]).toEqual([Array(8).fill(true), ["MODBUS_ONE_AT_A_TIME"]]);
  expect(together).toBeGreaterThan(5);
});

it("a device that cannot is tried ever more rarely, once a day at the least; one that can again is as it was", () => {
  let nowMs = 0;
  const together = createTogether(4, 600_000, () => nowMs);
  expect([together.halfAnswered(), together.most(), together.halfAnswered()]).toEqual([false, 4, true]);
  const waits = Array.from({ length: 10 }, () => {
    const fromMs = nowMs;
    while (together.most() === 1) nowMs += 60_000;
    together.halfAnswered();
    return (nowMs - fromMs) / 60_000;
  });
  expect(waits).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
  while (together.most() === 1) nowMs += 60_000;
  // Answered once by luck, as two packets that come apart are: that costs polls again only as rarely.
  together.answered();
  expect([together.most(), together.halfAnswered(), together.halfAnswered()]).toEqual([4, false, true]);
  nowMs += 1439 * 60_000;
  expect(together.most()).toBe(1);
  nowMs += 60_000;
  for (let hours = 0; hours <= 24; hours += 1) {
    together.answered();
    nowMs += 3_600_000;
  }
  expect([together.most(), together.halfAnswered(), together.halfAnswered()]).toEqual([4, false, true]);
  nowMs += 600_000;
  expect(together.most()).toBe(4);
});

it("a device that answers nothing any more behind a connect is not taken for one of those", async () => {
  // Two answers: to the read that looks for it, and to the identification.
  const port = await startServer((waiting, answered) => (answered >= 2 ? 0 : waiting));
  const { went, codes } = await readsOf(port, [0, 500, 1000], 3);
  expect([went, codes]).toEqual([[false, false, false], []]);
});
