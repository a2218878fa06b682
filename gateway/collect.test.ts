import { type Clock, systemClock } from "@jilian/domain/clock.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { startScriptedServer, until } from "./cases/scripted-server.ts";
import { type Collector, reasonOf, startCollector } from "./collect.ts";
import { type DeviceConfig, readGatewayConfig } from "./config.ts";
import type { ModbusDevice } from "./drivers/modbus-config.ts";
import { createPorts } from "./drivers/modbus-port.ts";
import { createModbusDriver } from "./drivers/modbus-tcp.ts";
import type { CollectorEvents, Connection, Driver, ShapedSample } from "./model.ts";

const log = pino({ level: "silent" });
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function devicesOf(ids: readonly string[], extra = "pollIntervalMs: 20, heartbeatMs: 20", port = 502): DeviceConfig[] {
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const device = (id: string, i: number) =>
    `  - { id: ${id}, driver: modbus-tcp, host: 127.0.0.1, port: ${port}, unitId: ${i + 1}, retryMinMs: 20, retryMaxMs: 50, ${extra}, tags: [{ name: a, table: holding, address: 7, type: uint16 }] }\n`;
  const read = readGatewayConfig(head + ids.map(device).join(""), "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.devices;
}

/** A driver of another protocol, good unless told otherwise: the contract that a driver fulfils, or breaks. */
function driverOf(read: Driver["read"], connect: Driver["connect"] = async () => ({ simulated: false })): Driver {
  return { connect, read, close: async () => undefined };
}
const readings = async () => [{ tag: 0, value: 7, status: Status.Good }];
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

type Seen = { device: string; connection?: Connection; samples?: readonly ShapedSample[]; simulated?: boolean };

function collect(
  devices: DeviceConfig[],
  createDriver: (device: DeviceConfig) => Driver,
  { clock = systemClock, events = {} }: { clock?: Clock; events?: Partial<CollectorEvents> } = {},
): {
  collector: Collector;
  seen: Seen[];
  samplesOf: (device: string) => ShapedSample[];
  stats: (device: string) => ReturnType<Collector["stats"]>[number];
} {
  const seen: Seen[] = [];
  const collector = startCollector({
    devices,
    createDriver,
    clock,
    log,
    lastSourceTimeMs: () => 0,
    events: {
      onDefinitions: (device, definitions) => seen.push({ device, simulated: definitions.every((d) => d.simulated) }),
      onConnection: (device, connection) => seen.push({ device, connection }),
      onSamples: (device, samples) => seen.push({ device, samples }),
      ...events,
    },
  });
  closers.push(collector.close);
  return {
    collector,
    seen,
    samplesOf: (device) => seen.flatMap((one) => (one.device === device ? (one.samples ?? []) : [])),
    stats: (device) => collector.stats().find((one) => one.device === device) ?? expect.fail(`no ${device}`),
  };
}

describe("isolation", () => {
  it("a device that hangs, throws at once or throws anything delays no other, and close() ends within a second", async () => {
    const hostile: Record<string, Driver> = {
      hangs: driverOf(() => new Promise(() => undefined)),
      "hangs-in-close": { ...driverOf(readings), close: () => new Promise(() => undefined) },
      "throws-at-once": driverOf(() => {
        throw new TypeError("x is not\n a function");
      }),
      "rejects-with-text": driverOf(() => Promise.reject("text")),
      "fails-to-close": {
        ...driverOf(() => Promise.reject(new Error("gone"))),
        close: () => Promise.reject(new Error("no")),
      },
      "connects-never": driverOf(readings, () => new Promise(() => undefined)),
    };
    const ids = ["good", ...Object.keys(hostile)];
    const { collector, seen, samplesOf, stats } = collect(
      devicesOf(ids),
      ({ id }) => hostile[id] ?? driverOf(readings),
    );
    await until("40 samples of the good device", () => samplesOf("good").length >= 40, 5000);
    expect(stats("fails-to-close").failures).toBeGreaterThan(3);
    const reasons = seen.filter((one) => one.device.startsWith("throws")).map((one) => one.connection?.reason);
    expect(reasons.at(-1)).toContain("DRIVER_FAULT UNKNOWN: x is not a function");
    // Told once, not at every attempt.
    expect(reasons.filter(Boolean)).toHaveLength(1);
    expect(seen.some((one) => one.device === "connects-never" && one.connection)).toBe(false);
    const started = performance.now();
    await collector.close();
    expect(performance.now() - started).toBeLessThan(1000);
    const after = seen.length;
    await pause(60);
    expect(seen).toHaveLength(after);
  });

  it("a receiver that throws is counted, and collection goes on", async () => {
    const fail = () => {
      throw new Error("disk full");
    };
    const { stats } = collect(devicesOf(["a"]), () => driverOf(readings), {
      events: { onSamples: fail, onConnection: fail },
    });
    await until("five errors", () => stats("a").eventErrors >= 5);
    expect(stats("a")).toMatchObject({ connected: true, failures: 0 });
  });
});

describe("polling", () => {
  it("leaves out what a slow device overruns, counts it, and never reads twice at once", async () => {
    let reading = 0;
    let most = 0;
    const slow = driverOf(async () => {
      reading += 1;
      most = Math.max(most, reading);
      await pause(50);
      reading -= 1;
      return readings();
    });
    const { stats } = collect(devicesOf(["slow"]), () => slow);
    await until("six polls", () => stats("slow").polls >= 6);
    expect(most).toBe(1);
    expect(stats("slow").skippedPolls).toBeGreaterThanOrEqual(10);
    expect(stats("slow").skippedPolls).toBeLessThanOrEqual(20);
    expect(stats("slow").lastPollMs).toBeGreaterThanOrEqual(49);
  });

  it("lies on the grid of the interval, at the device's own phase, in the clock that was passed", async () => {
    // Sixty times as fast: an interval of 6 s is 100 ms of the machine.
    const startedMs = Date.now();
    const clock: Clock = { now: () => Math.floor(1_750_000_000_000 + (Date.now() - startedMs) * 60), rate: 60 };
    const devices = devicesOf(["a", "b"], "pollIntervalMs: 6000, heartbeatMs: 6000");
    const { samplesOf, stats } = collect(devices, () => driverOf(readings), { clock });
    await until("eight samples of both", () => samplesOf("a").length >= 8 && samplesOf("b").length >= 8);
    const phase = (device: string) => {
      // Without the first: it is soon, wherever in the grid. A late timer moves one sample, not the median.
      const phases = samplesOf(device)
        .slice(1)
        .map((s) => s.sourceTimeMs % 6000);
      return phases.toSorted((x, y) => x - y)[Math.floor(phases.length / 2)] as number;
    };
    const between = Math.abs(phase("a") - phase("b"));
    expect(Math.min(between, 6000 - between)).toBeGreaterThan(500);
    const gaps = samplesOf("a")
      .slice(2)
      .map((s, i) => s.sourceTimeMs - (samplesOf("a")[i + 1]?.sourceTimeMs ?? 0));
    expect(gaps.toSorted((x, y) => x - y)[Math.floor(gaps.length / 2)]).toBeGreaterThan(5000);
    expect(stats("a").failures).toBe(0);
  });

  it("goes on while the clock is set back by a day", async () => {
    let setBackMs = 0;
    const clock: Clock = { now: () => Date.now() - setBackMs, rate: 1 };
    const { samplesOf } = collect(devicesOf(["a"]), () => driverOf(readings), { clock });
    await until("some samples", () => samplesOf("a").length >= 3);
    setBackMs = 86_400_000;
    const before = samplesOf("a").length;
    await until("more samples", () => samplesOf("a").length >= before + 5, 2000);
    const times = samplesOf("a").map((s) => s.sourceTimeMs);
    expect(times).toEqual([...new Set(times)].toSorted((x, y) => x - y));
    expect(samplesOf("a").at(-1)?.status).toBe(Status.Uncertain);
  });
});

describe("connection", () => {
  it("is told before the first samples, lost after the last, and comes back by itself", async () => {
    let polls = 0;
    const failing = driverOf(async () => {
      polls += 1;
      if (polls === 3) {
        const detail = {
          code: "X_TIMEOUT",
          action: "read",
          remedy: "look",
          address: "here",
          status: Status.BadTimeout,
        };
        throw new JilianError("no answer", detail);
      }
      return readings();
    });
    const devices = devicesOf(["a"], "pollIntervalMs: 20, heartbeatMs: 60000");
    const { seen } = collect(devices, () => failing);
    await until("it is back", () => seen.filter((one) => one.samples).length >= 3);
    expect(seen.map((one) => one.samples?.map((s) => [s.value, s.status]) ?? one.connection ?? one.simulated)).toEqual([
      false,
      { connected: true, status: Status.Good, reason: "" },
      [[7, Status.Good]],
      [[null, Status.BadTimeout]],
      { connected: false, status: Status.BadTimeout, reason: "X_TIMEOUT here: no answer; look" },
      { connected: true, status: Status.Good, reason: "" },
      [[7, Status.Good]],
    ]);
  });

  it("tells every poll before its samples, and why it failed, since when, with how many marks", async () => {
    const told: unknown[] = [];
    let polls = 0;
    const failing = driverOf(async () => {
      polls += 1;
      if (polls === 3) throw new JilianError("no answer", { code: "X_TIMEOUT", action: "read", remedy: "look" });
      if (polls === 4) throw new TypeError("a defect");
      return readings();
    });
    const startedMs = Date.now();
    const collector = startCollector({
      devices: devicesOf(["a"], "pollIntervalMs: 20, heartbeatMs: 60000"),
      createDriver: () => failing,
      clock: systemClock,
      log,
      lastSourceTimeMs: () => 0,
      events: {
        onDefinitions: () => undefined,
        onConnection: () => undefined,
        onSamples: (_, samples) => told.push(samples.map(({ value }) => value)),
      },
      polls: {
        answered: (device, counts) => told.push([device, counts.polled, counts.suppressed, counts.bad]),
        skipped: () => undefined,
        remained: () => undefined,
        released: (device, readings) => told.push([device, "released", readings]),
        failed: (device, code, sinceMs, marked) => {
          expect(sinceMs).toBeGreaterThanOrEqual(startedMs);
          expect(sinceMs).toBeLessThanOrEqual(Date.now());
          told.push([device, code, marked]);
        },
      },
    });
    closers.push(collector.close);
    await until("it is back", () => told.length >= 8);
    expect(told.slice(0, 8)).toEqual([
      ["a", 1, 0, 0],
      [7],
      ["a", 1, 1, 0],
      ["a", "X_TIMEOUT", 1],
      [null],
      ["a", "DRIVER_FAULT", 0],
      ["a", 1, 0, 0],
      [7],
    ]);
  });

  it("a device that connects but never answers a read is never connected", async () => {
    const server = await startScriptedServer({ rules: [{ when: "03", send: ["TTTT 0000 0003 UU 83 0B"] }] });
    closers.push(server.close);
    const devices = devicesOf(["a"], "pollIntervalMs: 20", server.port);
    const { seen, stats } = collect(devices, (device) =>
      createModbusDriver(device as ModbusDevice, { ports: createPorts(log), log }),
    );
    await until("three attempts", () => stats("a").failures >= 3);
    expect(seen.some((one) => one.connection?.connected || one.samples)).toBe(false);
  });

  it("backs off while a device is away", async () => {
    const times: number[] = [];
    const away = driverOf(readings, async () => {
      times.push(performance.now());
      throw new Error("away");
    });
    collect(devicesOf(["a"]), () => away);
    await until("eight attempts", () => times.length >= 8);
    const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(gaps[0]).toBeLessThan(40);
    expect(Math.min(...gaps.slice(3))).toBeGreaterThan(23);
  });

  it("keeps the stamp of a simulator for good once it was recognised", async () => {
    let connects = 0;
    let polls = 0;
    const simulator = driverOf(
      async () => {
        polls += 1;
        if (polls % 3 === 0) throw new Error("gone");
        return readings();
      },
      async () => {
        connects += 1;
        return { simulated: connects === 1 };
      },
    );
    const { seen } = collect(devicesOf(["a"]), () => simulator);
    await until("a few connects", () => connects >= 3);
    expect(seen.map((one) => one.simulated).filter((mark) => mark !== undefined)).toEqual([false, true]);
  });
});

it("says in one line what is wrong, where, and what to do", () => {
  const detail = {
    code: "MODBUS_CONNECT_REFUSED",
    action: "connect",
    remedy: "is the PLC powered?",
    address: "192.168.1.5:502",
  };
  expect(reasonOf(new JilianError("connection refused", detail))).toBe(
    "MODBUS_CONNECT_REFUSED 192.168.1.5:502: connection refused; is the PLC powered?",
  );
});

it("what is held back of a counter is told and counted before the device is lost, and when collecting ends", async () => {
  const told: unknown[] = [];
  let polls = 0;
  const values = [100, 103, undefined, 200, 207];
  const driver = driverOf(async () => {
    const value = values[polls];
    polls += 1;
    if (polls > values.length) return new Promise(() => undefined);
    if (value === undefined) throw new JilianError("no answer", { code: "X_TIMEOUT", action: "read", remedy: "look" });
    return [{ tag: 0, value, status: Status.Good }];
  });
  const [device] = devicesOf(["a"], "pollIntervalMs: 20, heartbeatMs: 60000");
  if (!device) throw new Error("no device");
  const tags = device.tags.map((tag) => ({ ...tag, role: "production.total", unit: "pcs", deadband: 50 }));
  const collector = startCollector({
    devices: [{ ...device, tags } as DeviceConfig],
    createDriver: () => driver,
    clock: systemClock,
    log,
    lastSourceTimeMs: () => 0,
    events: {
      onDefinitions: () => undefined,
      onConnection: () => undefined,
      onSamples: (_, samples) => told.push(samples.map(({ value }) => value)),
    },
    polls: {
      answered: (_, { polled, suppressed }) => told.push(`answered ${polled} ${suppressed}`),
      skipped: () => undefined,
      remained: () => undefined,
      released: (_, readings) => told.push(`released ${readings}`),
      failed: (_, code, _since, marked) => told.push(`${code} ${marked}`),
    },
  });
  closers.push(collector.close);
  await until("all values are read", () => polls > values.length);
  await collector.close();
  expect(told).toEqual([
    ...["answered 1 0", [100], "answered 0 0", "released 1", "X_TIMEOUT 1", [103, null]],
    ...["answered 1 0", [200], "answered 0 0", "released 1", [207]],
  ]);
});
