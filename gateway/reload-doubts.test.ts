import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "./cases/scripted-server.ts";
import { type GatewayConfig, readGatewayConfig } from "./config.ts";
import { checksum } from "./drivers/dlt645-frame.ts";
import { gatewayDrivers } from "./drivers/drivers.ts";
import { createLineDoubts } from "./drivers/line-doubts.ts";
import { crc16 } from "./drivers/modbus-frame.ts";
import { readRequest } from "./drivers/rtu-frame.ts";
import { type Gateway, startGateway } from "./run.ts";
import { type Host, startHost } from "./test-host.ts";

/** A reload at which the connection to the broker, all devices and all lines begin anew, while an answer is still on its way. */

const log = pino({ level: "silent" });
const closers: (() => Promise<unknown> | unknown)[] = [];
let folder: string;
let host: Host;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "jilian-doubts-"));
  host = await startHost();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await host.close();
  rmSync(folder, { recursive: true });
});

/**
 * A converter whose unit answers in order, but the first question only when the second one comes: its answer goes into the connection that
 * is there then.
 */
async function lateConverter(answerTo: (asked: Buffer) => Buffer) {
  const asked: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.on("data", (request) => {
      asked.push(request);
      if (asked.length === 1) return;
      if (asked.length === 2) socket.write(answerTo(asked[0] as Buffer));
      setTimeout(() => socket.write(answerTo(request)), asked.length === 2 ? 30 : 1);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, asked };
}

function config(port: number, line: string, keepaliveMs: number, device: string): GatewayConfig {
  const checked = readGatewayConfig(
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port}, keepaliveMs: ${keepaliveMs} }
outbox: { path: ${join(folder, "outbox.db")}, fsyncMs: 20 }
history: false
lines: [{ id: ${line}, kind: tcp, host: 127.0.0.1, port: ${port}, quietMs: 2 }]
devices:
  - { id: meter, line: ${line}, simulated: true, pollIntervalMs: 20, timeoutMs: 150, retryMinMs: 5000, retryMaxMs: 5000, ${device} }
`,
    "gateway.yaml",
  );
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  return checked.value;
}

/** Runs until the first question went unanswered, and goes on by the other configuration. */
async function reloaded(before: GatewayConfig, after: GatewayConfig): Promise<Gateway> {
  const gateway = startGateway(before, { log, clock: systemClock });
  closers.push(gateway.close);
  await until("the first question is given up", () => gateway.stats().devices[0]?.failures === 1);
  expect(await gateway.reload(after)).toMatchObject({ whole: ["broker"] });
  return gateway;
}

const levels = () => host.ofType("DDATA", "meter").flatMap(({ values }) => values.level ?? []);

function withCrc(body: Buffer): Buffer {
  const crc = Buffer.alloc(2);
  crc.writeUInt16LE(crc16(body));
  return Buffer.concat([body, crc]);
}

/** What a meter says to a question: a value, its least significant byte first, or that it does not have that. */
function meterAnswer(request: Buffer, value: readonly number[] | undefined): Buffer {
  const at = request.indexOf(0x68);
  const dataId = [...request.subarray(at + 10, at + 14)].map((byte) => byte - 0x33);
  const data = value ? [...dataId, ...value] : [0x02];
  const head = [...request.subarray(at, at + 8), value ? 0x91 : 0xd1, data.length];
  const frame = Buffer.from([...head, ...data.map((byte) => (byte + 0x33) & 0xff)]);
  return Buffer.concat([frame, Buffer.of(checksum(frame), 0x16)]);
}

/** A unit whose registers hold their addresses. */
function registersFor(request: Buffer): Buffer {
  const quantity = request.readUInt16BE(4);
  const data = Buffer.alloc(2 * quantity);
  for (let i = 0; i < quantity; i += 1) data.writeUInt16BE(request.readUInt16BE(2) + i, 2 * i);
  return withCrc(Buffer.concat([request.subarray(0, 2), Buffer.of(data.length), data]));
}
const unit = (address: number) =>
  `driver: modbus-rtu, unitId: 1, tags: [{ name: level, table: holding, address: ${address}, type: uint16 }]`;

test("the answer to what a gateway has asked before it was started again is not taken for that to the first request", async () => {
  const before = readRequest(1, 3, 7, 1);
  const sockets = new Set<Socket>();
  // The converter has kept it, and sends it into the next connection.
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    setTimeout(() => socket.write(registersFor(before)), 60);
    socket.on("data", (request) => setTimeout(() => socket.write(registersFor(request)), 100));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const gateway = startGateway(config(port, "bus", 15_000, unit(9)), { log, clock: systemClock });
  closers.push(gateway.close);
  await host.until("it is read", () => levels().length > 0);
  expect(levels()[0]).toBe(9);
  expect(gateway.stats().lines[0]?.discardedBytes).toBe(7);

  // A meter may take as long as its time-out since the process before was ended.
  let nowMs = 500;
  const doubts = createLineDoubts(true, () => nowMs);
  expect(doubts.opened("bus", 3000, 250)).toBe(3000);
  // Opened again, it is waited for no longer; and where nobody can have asked, not at all.
  expect(doubts.opened("bus", 4000, 250)).toBe(3000);
  expect(createLineDoubts().opened("bus", 3000, 250)).toBeLessThan(0);
  // Nor for a slow one as long as it may take: the others on the line would wait with it.
  expect(doubts.opened("slow", 60_000, 250)).toBe(5000);
  nowMs = 9000;
  expect(doubts.opened("late", 60_000, 250)).toBe(9250);
});

/** The first device, as a process reads it that was started some seconds ago, after another one. */
async function afterAStart(port: number, device: string, simulated: boolean) {
  const { devices, ...rest } = config(port, "bus", 15_000, device);
  const slow = devices.map((one) => ({ ...one, simulated, timeoutMs: 60_000 }));
  const doubts = createLineDoubts(true, () => 5000);
  const drivers = gatewayDrivers({ ...rest, devices: slow }, { clock: systemClock, log, doubts });
  closers.push(drivers.close);
  const driver = drivers.create(slow[0] as (typeof slow)[number]);
  closers.push(driver.close);
  const never = new AbortController().signal;
  await driver.connect(never);
  return { readings: await driver.read(never) };
}

test.each([
  ["without a question who it is", true, 3],
  ["with one", false, 4],
])(
  "a slow unit is asked before its time-out is over, and its late answer to the process before is told from ours: %s",
  async (_what, simulated, requests) => {
    let asked = 0;
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (request) => {
        asked += 1;
        if (asked === 1) socket.write(registersFor(readRequest(1, 3, 7, 1)));
        // The identification is not known to it: exception 1.
        const answer =
          request[1] === 3 ? registersFor(request) : withCrc(Buffer.of(1, (request[1] as number) | 0x80, 1));
        setTimeout(() => socket.write(answer), 30);
      });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    closers.push(() => void server.close());
    const { port } = server.address() as { port: number };
    const { readings } = await afterAStart(port, unit(9), simulated);
    expect(readings).toMatchObject([{ value: 9 }]);
    expect(asked).toBe(requests);
  },
);

test("a slow meter's late refusal to the process before is not taken for that of the first value", async () => {
  let asked = 0;
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (request) => {
      asked += 1;
      if (asked === 1) socket.write(meterAnswer(request, undefined));
      setTimeout(() => socket.write(meterAnswer(request, [0x01, 0x23])), 30);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => void server.close());
  const { port } = server.address() as { port: number };
  const meter = `driver: dlt645, meterAddress: "000000000161", tags: [{ name: level, dataId: "02010100" }]`;
  const { readings } = await afterAStart(port, meter, true);
  expect(readings).toMatchObject([{ value: 2301 }]);
  expect(asked).toBe(2);
});

test("a meter that answers late, one question after the other, is not said to lack the value after one that it lacks", async () => {
  // It was asked by the process before; ours wait behind that.
  const waiting: Buffer[] = [];
  const server = createServer((socket) => {
    let asked = 0;
    socket.on("error", () => undefined);
    socket.on("data", (request) => {
      if (asked === 0) socket.write(meterAnswer(request, undefined));
      asked += 1;
      const isKnown = request.includes(Buffer.of(0x34, 0x34, 0x35));
      waiting.push(meterAnswer(request, isKnown ? [0x01, 0x23] : undefined));
    });
    const timer = setInterval(() => {
      const next = waiting.shift();
      if (next) socket.write(next);
    }, 40);
    socket.on("close", () => clearInterval(timer));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => void server.close());
  const { port } = server.address() as { port: number };
  const tags = `[{ name: lacking, dataId: "02060300" }, { name: level, dataId: "02010100" }]`;
  const meter = `driver: dlt645, meterAddress: "000000000161", tags: ${tags}`;
  const { readings } = await afterAStart(port, meter, true);
  expect(readings).toMatchObject([
    { tag: 1, value: 2301 },
    { tag: 0, value: null },
  ]);
});

test("a unit's late answer is not taken for that of another register, though the line has another name now", async () => {
  const { port, asked } = await lateConverter(registersFor);
  await reloaded(config(port, "bus", 15_000, unit(7)), config(port, "east", 20_000, unit(9)));
  await host.until("it is read", () => levels().length > 0);
  expect(levels()[0]).toBe(9);
  expect(asked[0]?.readUInt16BE(2)).toBe(7);
});

test("a meter's late refusal is not taken for that of another value", async () => {
  const voltage = "02010100";
  const { port } = await lateConverter((request) => {
    const at = request.indexOf(0x68);
    const dataId = [...request.subarray(at + 10, at + 14)].map((byte) => byte - 0x33);
    const isKnown = Buffer.from(dataId).reverse().toString("hex") === voltage;
    // Refused: "no such data". Else 230.1 V, as digits.
    return meterAnswer(request, isKnown ? [0x01, 0x23] : undefined);
  });
  const meter = (dataId: string) =>
    `driver: dlt645, meterAddress: "000000000161", tags: [{ name: level, dataId: "${dataId}" }]`;
  const gateway = await reloaded(
    config(port, "bus", 15_000, meter("02020100")),
    config(port, "bus", 20_000, meter(voltage)),
  );
  await host.until("it is read", () => levels().some((level) => level !== null));
  expect(levels()[0]).toBeCloseTo(230.1, 3);
  // A refusal that was believed fails the device, which has no other value.
  expect(gateway.stats().devices[0]?.failures).toBe(0);
});
