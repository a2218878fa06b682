import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@jilian/domain/clock.ts";
import { statusName } from "@jilian/domain/quality.ts";
import pino from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { startCollector } from "../collect.ts";
import { type GatewayConfig, readGatewayConfig } from "../config.ts";
import { gatewayDrivers } from "../drivers/drivers.ts";
import { type Script, type ScriptedServer, startScriptedServer, until } from "./scripted-server.ts";

/** How a device behind Modbus TCP is connected: every case with one is met both ways. */
type Form = "shared" | "own";

/**
 * Every folder here but `opcua-*` (see opcua-cases.test.ts) is one trap: `config.yaml` of a gateway (its devices; PORT is the server's), `server.yaml` with what the device does
 * byte by byte, `expected.yaml` with every event of every device in order. The events are compared as a whole, so that a value that is
 * wrong once in a thousand polls fails the case. `expected.own.yaml` is what differs on a connection of its own.
 */
type Shown = { value: unknown; status: string };
type ExpectedEvent =
  | "connected"
  | { disconnected: string; reason?: string }
  | { samples: Record<string, unknown> }
  | { simulated: boolean };
type Expected = {
  devices: Record<string, ExpectedEvent[]>;
  /** Goes on until the server has had so many requests; the events must then be exactly those listed. */
  until?: { requests?: number; connections?: number };
  server?: {
    maxInFlight?: number;
    maxOpen?: number;
    minConnections?: number;
    /** Least time between two requests for data to one unit: two poll loops would ask twice in one tick. */
    minRequestGapMs?: number;
    minRequestsOfUnit?: Record<string, number>;
    maxRequestsOfUnit?: Record<string, number>;
  };
};
type SeenEvent =
  | "connected"
  | { disconnected: string; reason: string }
  | { samples: Record<string, Shown> }
  | { simulated: boolean };

const folder = import.meta.dirname;
const names = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !entry.name.startsWith("opcua-"))
  .map((entry) => entry.name);
const log = pino({ level: "silent" });

function readYaml(name: string, file: string): unknown {
  return parse(readFileSync(join(folder, name, file), "utf8"));
}

/** Which forms a case has: one that names its own, or has no device behind Modbus TCP, is met as it stands. */
function formsOf(name: string): readonly (Form | undefined)[] {
  const text = readFileSync(join(folder, name, "config.yaml"), "utf8");
  return /driver: modbus-tcp/.test(text) && !/connection:|maxReadsInFlight:/.test(text)
    ? ["shared", "own"]
    : [undefined];
}

function expectedOf(name: string, form: Form | undefined): Expected {
  const own = "expected.own.yaml";
  const differs = form === "own" && existsSync(join(folder, name, own));
  return readYaml(name, differs ? own : "expected.yaml") as Expected;
}

function configOf(name: string, form: Form | undefined, port: number): GatewayConfig {
  const head = "group: factory\nnode: gateway\nbroker: { host: localhost }\noutbox: { path: unused }\n";
  const text = readFileSync(join(folder, name, "config.yaml"), "utf8")
    .replaceAll("PORT", String(port))
    .replaceAll("driver: modbus-tcp", form === undefined ? "$&" : `$&\n    connection: ${form}`);
  const read = readGatewayConfig(head + text, `${name}/config.yaml`);
  if (!read.ok) throw new Error(JSON.stringify(read.faults, null, 1));
  return read.value;
}

/** Values as YAML can write them: a bigint as `12n`, a plain value as good. */
function shown(value: unknown): Shown {
  if (typeof value === "object" && value !== null && "status" in value) {
    const { value: kept = null, status } = value as Partial<Shown>;
    return { value: kept, status: status as string };
  }
  return { value, status: "Good" };
}

function matches(expected: ExpectedEvent, seen: SeenEvent | undefined): void {
  if (typeof expected === "object" && "samples" in expected) {
    const samples = Object.fromEntries(Object.entries(expected.samples).map(([name, value]) => [name, shown(value)]));
    expect(seen).toEqual({ samples });
  } else if (typeof expected === "object" && "disconnected" in expected) {
    expect(seen).toMatchObject({ disconnected: expected.disconnected });
    if (expected.reason !== undefined) expect((seen as { reason: string }).reason).toContain(expected.reason);
  } else expect(seen).toEqual(expected);
}

function checkServer(server: ScriptedServer, expected: NonNullable<Expected["server"]>): void {
  const { counts, requests } = server;
  if (expected.maxInFlight !== undefined) expect(counts.maxInFlight).toBe(expected.maxInFlight);
  if (expected.maxOpen !== undefined) expect(counts.maxOpen).toBe(expected.maxOpen);
  if (expected.minConnections !== undefined) expect(counts.connections).toBeGreaterThanOrEqual(expected.minConnections);
  const countOf = (unit: string) => requests.filter((request) => request.unit === Number(unit)).length;
  for (const [unit, least] of Object.entries(expected.minRequestsOfUnit ?? {}))
    expect(countOf(unit)).toBeGreaterThanOrEqual(least);
  for (const [unit, most] of Object.entries(expected.maxRequestsOfUnit ?? {}))
    expect(countOf(unit)).toBeLessThanOrEqual(most);
  const reads = requests.filter((request) => !request.pdu.startsWith("2b"));
  for (const unit of new Set(reads.map((request) => request.unit))) {
    const times = reads.filter((request) => request.unit === unit).map((request) => request.atMs);
    const gaps = times.slice(1).map((at, i) => at - (times[i] as number));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(expected.minRequestGapMs ?? 0);
  }
}

async function run(name: string, form: Form | undefined): Promise<void> {
  const script = readYaml(name, "server.yaml") as Script;
  const expected = expectedOf(name, form);
  const server = await startScriptedServer(script);
  const config = configOf(name, form, server.port);
  const { devices } = config;
  const drivers = gatewayDrivers(config, { clock: systemClock, log });
  const seen = new Map<string, SeenEvent[]>(devices.map((device) => [device.id, []]));
  const note = (device: string, event: SeenEvent) => seen.get(device)?.push(event);
  let started = false;
  const collector = startCollector({
    devices,
    createDriver: drivers.create,
    clock: systemClock,
    log,
    lastSourceTimeMs: () => 0,
    events: {
      onDefinitions: (device, definitions) => {
        if (started) note(device, { simulated: definitions.every((definition) => definition.simulated) });
      },
      onConnection: (device, { connected, reason }) => {
        note(device, connected ? "connected" : { disconnected: reason.split(" ")[0] as string, reason });
        if (!connected) void server.listen();
      },
      onSamples: (device, samples) => {
        const show = (value: unknown) => (typeof value === "bigint" ? `${value}n` : value);
        const entries = samples.map((s) => [s.metric, { value: show(s.value), status: statusName(s.status) }] as const);
        note(device, { samples: Object.fromEntries(entries) });
      },
    },
  });
  started = true;
  try {
    const { requests = 0, connections = 0 } = expected.until ?? {};
    const wanted = Object.entries(expected.devices);
    const reached = () =>
      server.requests.length >= requests &&
      server.counts.connections >= connections &&
      wanted.every(([device, events]) => (seen.get(device)?.length ?? 0) >= events.length);
    await until("every expected event", reached).catch((thrown: unknown) => {
      throw new Error(
        `${String(thrown)}; seen: ${JSON.stringify([...seen], null, 1)}; requests: ${server.requests.length}`,
      );
    });
    for (const [device, events] of wanted) {
      const got = seen.get(device) ?? [];
      for (const [i, event] of events.entries()) matches(event, got[i]);
      if (expected.until !== undefined) expect(got.slice(events.length)).toEqual([]);
    }
    expect(server.unmatched).toEqual([]);
    // Read-only toward machines: functions 1-4 and Read Device Identification, whatever went wrong before.
    expect(server.requests.filter(({ pdu }) => !/^(01|02|03|04|2b)/.test(pdu))).toEqual([]);
    checkServer(server, expected.server ?? {});
  } finally {
    await collector.close();
    await drivers.close();
    await until("every connection closed", () => server.counts.open === 0).finally(server.close);
  }
}

describe("cases", () => {
  const warnings: string[] = [];
  const onWarning = (warning: Error) => warnings.push(warning.message);
  beforeAll(() => process.on("warning", onWarning));
  // Node warns of piled-up listeners this way: none may remain over all the reconnects above.
  afterAll(() => {
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });
  it("finds the case folders", () => expect(names.length).toBeGreaterThan(20));
  for (const name of names) {
    for (const form of formsOf(name)) it(form === undefined ? name : `${name}, ${form}`, () => run(name, form));
  }
});
