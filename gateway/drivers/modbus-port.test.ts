import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { systemClock } from "@jilian/domain/clock.ts";
import { Status } from "@jilian/domain/quality.ts";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { type Rule, startScriptedServer, until } from "../cases/scripted-server.ts";
import type { DeviceStats } from "../collect.ts";
import { type GatewayConfig, readGatewayConfig } from "../config.ts";
import { collectFrom } from "../test-collect.ts";
import { gatewayDrivers } from "./drivers.ts";

const log = pino({ level: "silent" });
const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const tag = "tags: [{ name: a, table: holding, address: 7, type: uint16 }]";

function configOf(port: number, devices: readonly string[]): GatewayConfig {
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const list = devices.map((own) => `  - { driver: modbus-tcp, host: 127.0.0.1, port: ${port}, ${own} }\n`);
  const read = readGatewayConfig(head + list.join(""), "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value;
}

function driversOf(config: GatewayConfig) {
  const drivers = gatewayDrivers(config, { clock: systemClock, log });
  const made = config.devices.map(drivers.create);
  closers.push(drivers.close, async () => void (await Promise.all(made.map((driver) => driver.close()))));
  return { drivers, made };
}

async function serve(...rules: Rule[]) {
  const server = await startScriptedServer({ rules });
  closers.push(server.close);
  return server;
}

type Requests = readonly { unit: number; atMs: number; pdu: string }[];

/** How often another unit was asked between two requests to one, at most: a cycle waits for so many of its time-outs. */
function mostBetween(requests: Requests, unit: number, other: number): number {
  const runs = requests
    .map((request) => request.unit)
    .join(" ")
    .split(new RegExp(`\\b${unit}\\b`));
  return Math.max(...runs.map((run) => run.split(" ").filter((asked) => asked === String(other)).length));
}

/** How many others in a row were asked at most between two requests to one, from its first one on. */
function mostInARow(requests: Requests, unit: number, others: ReadonlySet<number>): number {
  let [most, row] = [0, 0];
  for (const request of requests.slice(requests.findIndex((one) => one.unit === unit))) {
    row = others.has(request.unit) ? row + 1 : request.unit === unit ? 0 : row;
    most = Math.max(most, row);
  }
  return most;
}

/** How long each request to a unit kept the connection from the next. */
function holdsOf(requests: Requests, unit: number): number[] {
  return requests.slice(0, -1).flatMap((request, i) => {
    const next = requests[i + 1] as Requests[number];
    return request.unit === unit ? [next.atMs - request.atMs] : [];
  });
}

/** Collects until it holds. @returns what the devices had come to then */
async function collectUntil(
  config: GatewayConfig,
  holds: (of: (device: string) => DeviceStats) => boolean,
): Promise<(device: string) => DeviceStats> {
  const { collector, close } = collectFrom(config, log);
  const stats = () => {
    const all = collector.stats();
    return (device: string) => all.find((one) => one.device === device) as DeviceStats;
  };
  try {
    await until("what is waited for", () => holds(stats()), 30_000);
    return stats();
  } finally {
    await close();
  }
}

/**
 * A converter to RS-485: one connection, one request at a time, and one to a unit that is not there keeps it busy for `silentMs` before it
 * turns to the next.
 */
async function startConverter(dead: ReadonlySet<number>, silentMs: number, exception?: number) {
  const requests: { unit: number; atMs: number; pdu: string }[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  let free = Promise.resolve();
  const server = createServer((socket) => {
    connections += 1;
    // The second one is not served: as many converters have it.
    if (sockets.size > 0) socket.destroy();
    else sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.on("data", (asked) => {
      for (let at = 0; at < asked.length; at += 6 + asked.readUInt16BE(at + 4)) {
        const [unit, code] = [asked.readUInt8(at + 6), asked.readUInt8(at + 7)];
        const id = asked.toString("hex", at, at + 2);
        requests.push({ unit, atMs: performance.now(), pdu: asked.toString("hex", at + 7) });
        free = free.then(async () => {
          await new Promise((resolve) => setTimeout(resolve, dead.has(unit) ? silentMs : 5));
          const u = unit.toString(16).padStart(2, "0");
          const refused = (number: number) => `${id}00000003${u}${(code | 0x80).toString(16)}0${number.toString(16)}`;
          const living = code === 3 ? `${id}00000005${u}03020007` : refused(1);
          const answer = dead.has(unit) ? (exception === undefined ? "" : refused(exception)) : living;
          if (socket.writable) socket.write(Buffer.from(answer, "hex"));
        });
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, requests, connections: () => connections };
}

describe("units behind one port", () => {
  it("share one connection with one request at a time, and take turns whatever one of them asks for", async () => {
    const server = await serve({ when: "03", send: ["addresses"], delayMs: 3 });
    const blocks = [0, 100, 200, 300, 400, 500].map(
      (address) => `{ name: t${address}, table: holding, address: ${address}, type: uint16 }`,
    );
    const config = configOf(server.port, [
      `id: greedy, unitId: 1, tags: [${blocks.join(", ")}]`,
      `id: b, unitId: 2, ${tag}`,
      `id: c, unitId: 3, ${tag}`,
    ]);
    const { drivers, made } = driversOf(config);
    await Promise.all(made.map((driver) => driver.connect(never)));
    await Promise.all(made.map((driver) => driver.read(never)));
    const before = server.requests.length;
    const read = await Promise.all(made.map((driver) => driver.read(never)));
    expect(read.map((readings) => readings.length)).toEqual([6, 1, 1]);
    const turns = server.requests.slice(before).map(({ unit }) => unit);
    expect(turns.slice(0, 4)).toEqual([1, 2, 3, 1]);
    expect(server.counts).toMatchObject({ connections: 1, maxOpen: 1, maxInFlight: 1 });
    const endpoint = `127.0.0.1:${server.port}`;
    expect(drivers.lineStats()).toMatchObject([{ line: endpoint, open: true, timeouts: 0, discardedBytes: 0 }]);
  });

  it("keep their cycle beside a silent one, which costs one request at each attempt and soon no whole time-out", async () => {
    const server = await serve({ unit: 9 }, { when: "03", send: ["addresses"] });
    const common = "pollIntervalMs: 20, retryMinMs: 600, retryMaxMs: 600";
    const timeoutMs = 3000;
    const config = configOf(server.port, [
      `id: one, unitId: 1, ${common}, ${tag}`,
      `id: dead, unitId: 9, ${common}, timeoutMs: ${timeoutMs}, ${tag}`,
      `id: two, unitId: 2, ${common}, ${tag}`,
    ]);
    const of = await collectUntil(config, (stats) => stats("dead").failures >= 4);
    const { failures } = of("dead");
    const asked = server.requests.filter(({ unit }) => unit === 9);
    expect(asked.length - failures).toBeLessThanOrEqual(1);
    expect(asked.every(({ pdu }) => pdu.startsWith("03"))).toBe(true);
    expect(server.counts.connections).toBe(1);
    for (const [device, unit] of [
      ["one", 1],
      ["two", 2],
    ] as const) {
      expect(of(device)).toMatchObject({ connected: true, failures: 0, connects: 1 });
      expect(mostBetween(server.requests, unit, 9)).toBe(1);
    }
    // The first has its whole time-out; those in back-off are probes of 100 ms or so.
    const holds = holdsOf(server.requests, 9);
    expect(holds.length).toBeGreaterThan(2);
    expect(holds.filter((heldMs) => heldMs > timeoutMs / 2).length).toBeLessThanOrEqual(1);
  });

  it("do not fail when a converter still waits for a unit that was given up", async () => {
    const { port, requests, connections } = await startConverter(new Set([9]), 1500);
    const common = "pollIntervalMs: 20, retryMinMs: 1000, retryMaxMs: 1000";
    const config = configOf(port, [
      // Less than the converter waits for the dead one: only what is lent keeps them alive.
      `id: one, unitId: 1, ${common}, timeoutMs: 500, ${tag}`,
      `id: dead, unitId: 9, ${common}, timeoutMs: 2000, ${tag}`,
      `id: two, unitId: 2, ${common}, timeoutMs: 500, ${tag}`,
    ]);
    const of = await collectUntil(config, (stats) => stats("dead").failures >= 4);
    for (const device of ["one", "two"]) expect(of(device)).toMatchObject({ failures: 0, connects: 1 });
    expect(connections()).toBe(1);
    expect(requests.filter(({ unit }) => unit === 9).length - of("dead").failures).toBeLessThanOrEqual(1);
  });

  it.each([
    ["is silent on", undefined],
    ["says are away", 11],
  ])("keep their cycle beside four that a converter %s, whose time-outs do not come in a row", async (_, exception) => {
    const dead = [11, 12, 13, 14];
    const silentMs = 150;
    const { port, requests, connections } = await startConverter(new Set(dead), silentMs, exception);
    const often = `pollIntervalMs: 20, timeoutMs: 500, ${tag}`;
    const seldom = `pollIntervalMs: 1000, retryMinMs: 200, retryMaxMs: 200, timeoutMs: 500, ${tag}`;
    const config = configOf(port, [
      `id: one, unitId: 1, ${often}`,
      `id: two, unitId: 2, ${often}`,
      ...dead.map((unit) => `id: dead${unit}, unitId: ${unit}, ${seldom}`),
    ]);
    const of = await collectUntil(config, (stats) => dead.every((unit) => stats(`dead${unit}`).failures >= 2));
    for (const device of ["one", "two"]) expect(of(device)).toMatchObject({ failures: 0, connects: 1 });
    expect(mostInARow(requests, 1, new Set(dead))).toBe(1);
    expect(connections()).toBe(1);
    // Of the line's time they have a quarter, and so have many more of the living ones' polls room in it.
    const [first, last] = [
      requests.findIndex(({ unit }) => unit > 10),
      requests.findLastIndex(({ unit }) => unit > 10),
    ];
    const spentMs = (requests[last]?.atMs ?? 0) - (requests[first]?.atMs ?? 0);
    const asked = requests.slice(first, last).filter(({ unit }) => unit > 10).length;
    expect(spentMs / asked).toBeGreaterThan(3 * 100);
  });

  it("wait once at each attempt for one of which the converter says that it does not answer", async () => {
    const { port, requests } = await startConverter(new Set([9]), 200, 11);
    const common = "pollIntervalMs: 20, retryMinMs: 300, retryMaxMs: 300";
    const config = configOf(port, [`id: one, unitId: 1, ${common}, ${tag}`, `id: dead, unitId: 9, ${common}, ${tag}`]);
    const of = await collectUntil(config, (stats) => stats("dead").failures >= 4);
    expect(of("dead").lastFailure?.reason).toContain("exception 11, gateway target device failed to respond");
    expect(requests.filter(({ unit }) => unit === 9).length - of("dead").failures).toBeLessThanOrEqual(1);
    expect(of("one")).toMatchObject({ failures: 0 });
    expect(mostBetween(requests, 1, 9)).toBe(1);
  });

  it("are found again when they have become slower than any probe", async () => {
    const server = await serve(
      { unit: 1, when: "03", times: 3, send: ["addresses"] },
      { unit: 1, when: "03", times: 2 },
      { unit: 1, when: "03", send: ["addresses"], delayMs: 600 },
    );
    const common = "pollIntervalMs: 20, retryMinMs: 2000, retryMaxMs: 2000, timeoutMs: 1000";
    const config = configOf(server.port, [`id: slow, unitId: 1, ${common}, ${tag}`]);
    const of = await collectUntil(config, (stats) => stats("slow").connects >= 2 && stats("slow").connected);
    // The first failure and three probes; the next attempt has the whole time-out.
    expect(of("slow").failures).toBe(4);
  });

  it("are looked for by their shortest answer: the longest takes more than a probe that quick reads have set", async () => {
    const server = await serve(
      { when: "030000003c", delayMs: 400, send: ["addresses"] },
      { when: "03", times: 41, send: ["addresses"] },
      { when: "03", times: 1 },
      { when: "03", send: ["addresses"] },
      { send: ["TTTT00000003UUAB01"] },
    );
    const tags =
      "groups: { plate: {} }, tags: [{ name: n, table: holding, address: 0, type: string, lengthRegisters: 60, group: plate }, " +
      "{ name: a, table: holding, address: 500, type: uint16 }]";
    const [driver] = driversOf(configOf(server.port, [`id: m, unitId: 1, timeoutMs: 1500, ${tags}`])).made;
    await driver?.connect(never);
    for (let i = 0; i < 41; i += 1) await driver?.read(never);
    await expect(driver?.read(never)).rejects.toMatchObject({ code: "MODBUS_TIMEOUT" });
    await driver?.close();
    expect(await driver?.connect(never)).toEqual({ simulated: false });
  });

  it("give the connection back when the last of them is closed, and not before", async () => {
    const server = await serve({ when: "03", send: ["addresses"] });
    const config = configOf(server.port, [`id: a, unitId: 1, ${tag}`, `id: b, unitId: 2, ${tag}`]);
    const [first, second] = driversOf(config).made;
    await first?.connect(never);
    await second?.connect(never);
    await first?.close();
    expect(await second?.read(never)).toEqual([{ tag: 0, value: 7, status: Status.Good }]);
    expect(server.counts).toMatchObject({ connections: 1, open: 1 });
    await second?.close();
    await until("the slot is free", () => server.counts.open === 0);
    await first?.connect(never);
    expect(server.counts.connections).toBe(2);
  });

  it("have connections of their own where they ask for it, or for several reads at once", async () => {
    const server = await serve({ when: "03", send: ["addresses"] });
    const config = configOf(server.port, [
      `id: a, unitId: 1, ${tag}`,
      `id: b, unitId: 2, connection: own, ${tag}`,
      `id: c, unitId: 3, maxReadsInFlight: 2, ${tag}`,
      `id: d, unitId: 4, ${tag}`,
    ]);
    await Promise.all(driversOf(config).made.map((driver) => driver.connect(never)));
    expect(server.counts.open).toBe(3);
  });

  it("are refused several reads at once on a shared connection", () => {
    const own = "connection: shared, maxReadsInFlight: 2";
    expect(() => configOf(502, [`id: a, unitId: 1, ${own}, ${tag}`])).toThrow("/devices/0/maxReadsInFlight");
  });
});
