import { systemClock } from "@jilian/domain/clock.ts";
import { Status } from "@jilian/domain/quality.ts";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "./cases/scripted-server.ts";
import { type PollObserver, startCollector } from "./collect.ts";
import { type DeviceConfig, readGatewayConfig } from "./config.ts";
import type { Driver, RawReading } from "./model.ts";
import { noEvents } from "./test-collect.ts";
import { startTestServer, temporaryFolder } from "./test-opcua.ts";
import { collectOpcua, log, opcuaConfig, quick, show } from "./test-opcua-devices.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function deviceRead(): DeviceConfig {
  const device =
    "{ id: a, driver: modbus-tcp, host: 127.0.0.1, unitId: 1, pollIntervalMs: 20, tags: [{ name: x, table: holding, address: 7, type: uint16 }] }";
  const read = readGatewayConfig(
    `group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices: [${device}]\n`,
    "test.yaml",
  );
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return read.value.devices[0] as DeviceConfig;
}

function collectFrom(driver: Partial<Driver>, polls?: PollObserver) {
  const values: unknown[] = [];
  const collector = startCollector({
    devices: [deviceRead()],
    createDriver: () => ({
      connect: async () => ({ simulated: false }),
      read: async () => [],
      close: async () => undefined,
      ...driver,
    }),
    clock: systemClock,
    log,
    ...(polls && { polls }),
    lastSourceTimeMs: () => 0,
    events: {
      ...noEvents,
      onSamples: (_, samples) => values.push(...samples.map(({ value }) => value)),
    },
  });
  closers.push(collector.close);
  return { collector, values };
}

const reading = (value: number): RawReading => ({ tag: 0, value, status: Status.Good });

describe("a poll that is under way when collecting ends", () => {
  /** The first poll is answered, the second when the test says so. */
  function answeredLater() {
    let polls = 0;
    const answer = Promise.withResolvers<RawReading[]>();
    const asked = collectFrom({
      read: () => {
        polls += 1;
        return polls === 1 ? Promise.resolve([reading(1)]) : answer.promise;
      },
    });
    return { ...asked, answer, polls: () => polls };
  }

  it("is awaited, and is the last", async () => {
    const { collector, values, answer, polls } = answeredLater();
    await until("the second poll", () => polls() === 2);
    const closed = collector.close();
    answer.resolve([reading(2)]);
    await closed;
    expect(values).toEqual([1, 2]);
    expect(polls()).toBe(2);
  });

  it("is given up after half a second", async () => {
    const { collector, values, polls } = answeredLater();
    await until("the second poll", () => polls() === 2);
    const startedMs = performance.now();
    await collector.close();
    expect(performance.now() - startedMs).toBeLessThan(1000);
    expect(values).toEqual([1]);
  });
});

it("what has come in since the last poll is no poll of its own", async () => {
  const told: unknown[][] = [];
  const note =
    (what: string) =>
    (_: string, ...counts: unknown[]) =>
      void told.push([what, ...counts]);
  const polls = {
    answered: note("answered"),
    skipped: note("skipped"),
    failed: note("failed"),
    released: note("released"),
    remained: note("remained"),
  };
  let asked = 0;
  const read = async () => {
    asked += 1;
    return asked === 1 ? [reading(1)] : [];
  };
  const { collector, values } = collectFrom({ read, rest: () => [reading(2)] }, polls);
  await until("the second poll", () => asked >= 2);
  await collector.close();
  expect(values).toEqual([1, 2]);
  expect(told.filter(([what]) => what === "answered")).toHaveLength(asked);
  expect(told.at(-1)).toEqual(["remained", { polled: 1, suppressed: 0, bad: 0 }]);
});

it("what has come in since the last poll is a reading still: changes that an OPC UA server told", async () => {
  const folder = temporaryFolder();
  closers.push(folder.remove);
  const server = await startTestServer({ pkiDir: `${folder.path}/server` });
  closers.push(server.stop);
  server.set("a", { dataType: "Int16", value: 1 });
  const extra = quick
    .replace("pollIntervalMs: 50", "pollIntervalMs: 60000")
    .replace("heartbeatMs: 400", "heartbeatMs: 60000");
  const tags = ["name: a, nodeId: NODE(a), type: int16"];
  const config = opcuaConfig(folder.path, [{ endpointUrl: server.endpointUrl, extra, tags }]);
  const { collector, of, close } = collectOpcua(config);
  closers.push(close);
  await until("the first poll", () => of("a").length === 1);
  const [subscription] = server.subscriptions();
  if (!subscription) throw new Error("no subscription");
  const told = () => subscription.subscriptionDiagnostics.dataChangeNotificationsCount;
  const before = told();
  server.set("a", { dataType: "Int16", value: 2 });
  await until("the change to be told", () => told() > before);
  // The next request follows, and acknowledges it, when it has been taken in.
  await until("the change to be acknowledged", () => subscription.unacknowledgedMessageCount === 0);
  await collector.close();
  expect(show(of("a"))).toEqual([1, 2]);
});
