import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs, minuteMs, watermarkMs } from "@jilian/domain/periods.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { encodePayload, type OutPayload } from "@jilian/domain/sparkplug/payload.ts";
import { type MessageType, topicOf } from "@jilian/domain/topics.ts";
import { birthMetric, nodeBirthMetrics } from "@jilian/gateway/births.ts";
import { dataPayload } from "@jilian/gateway/edge-data.ts";
import { type OpenedOutbox, openOutbox } from "@jilian/gateway/outbox.ts";
import { commitBook } from "@jilian/ingest/commit-book.ts";
import { createEngine, type Engine } from "@jilian/ingest/kpi/engine.ts";
import { ledgerNotes } from "@jilian/ingest/ledger-notes.ts";
import { liveWriter } from "@jilian/ingest/live-writer.ts";
import { nodeWatch } from "@jilian/ingest/node-watch.ts";
import { recordQueue } from "@jilian/ingest/queue.ts";
import { createReceiver } from "@jilian/ingest/receive.ts";
import { always, manualClock, openWorld, silent, testRegistry, until, type World } from "@jilian/ingest/test-world.ts";
import { startWriter } from "@jilian/ingest/write.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

/** A gateway is configured more than once while it is offline: its births and its backlog go the way of the wire, to the figures. */

const place = { group: "f3", node: "gw-1" } as const;
const device = "press-1";
/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const second = 1000;
const clock = manualClock(t0);

const of = (product: string, modulus?: string): MetricDefinition => {
  const pieces = { name: "n", datatype: DataType.Double, simulated: false, role: "production.total", unit: "pcs" };
  return { ...pieces, product, ...(modulus !== undefined && { modulus }) };
};

let folder: string;
let world: World;
let engine: Engine;
let outbox: OpenedOutbox;
let platform: ReturnType<typeof startPlatform>;

function startPlatform() {
  const live = createLiveState();
  const book = commitBook([]);
  const queue = recordQueue(100_000);
  const notes = ledgerNotes({ ledger: world.ledger, clock, log: silent });
  const parts = {
    queue,
    book,
    live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
    clock,
    log: silent,
  };
  const receiver = createReceiver({
    ...parts,
    watch: nodeWatch({ ledger: world.ledger, book, notes, clock, log: silent }),
    ...{ reorderMs: 1000, rebirthIntervalMs: 0, requestRebirth: () => undefined },
  });
  const bus = { onMessage: () => () => undefined, publish: async () => undefined };
  const writer = startWriter({ ...parts, telemetry: world.telemetry, notes, bus, batchSamples: 1000, lingerMs: 1 });
  return {
    receiver,
    stored: () => live.counters.get("storedSamples") ?? 0,
    close: async () => {
      receiver.close();
      await writer.close();
    },
  };
}

function startGateway(): void {
  const owner = { ...place, clock, machineMs: clock.now, bootId: "boot", log: silent };
  outbox = openOutbox({
    path: join(folder, "outbox.db"),
    maxBytes: 1e9,
    fsyncMs: 500,
    durability: "power-cut",
    ...owner,
  });
}

beforeEach(async () => {
  clock.set(t0);
  folder = mkdtempSync(join(tmpdir(), "outage-"));
  world = await openWorld();
  const file = structuredClone(testRegistry(false).file);
  Object.assign(file.enterprises[1]?.factories[0]?.gateways[0]?.devices[0] ?? {}, { output: true });
  const versions = always(indexRegistry(file));
  engine = await createEngine({ ...world, versions, clock, provisionalIntervalMs: 0, txPerTick: 1000 });
  platform = startPlatform();
  startGateway();
});
afterEach(async () => {
  await platform.close();
  await engine.close();
  await outbox.close();
  await world.end();
  rmSync(folder, { recursive: true });
});

/** The gateway is started with a configuration, and reads a register that rises by one every ten seconds until a time. */
async function runs(definition: MetricDefinition, untilMs: number, first: number): Promise<void> {
  await outbox.close();
  startGateway();
  const [metricId = 0] = outbox.declare(device, [definition]);
  const modulus = Number(definition.modulus ?? Number.POSITIVE_INFINITY);
  for (let at = clock.now(), count = first; at < untilMs; at += 10 * second, count += 1) {
    clock.set(at);
    const value = count % modulus;
    outbox.write(device, [{ metricId, value, status: 0, sourceTimeMs: at, gatewayTimeMs: at }]);
  }
  clock.set(untilMs);
}

let seq = 0;
function say(type: MessageType, payload: Omit<OutPayload, "seq">, of?: string): void {
  const topic = topicOf({ ...place, type, ...(of === undefined ? {} : { device: of }) });
  platform.receiver.handle(topic, encodePayload({ ...payload, seq }));
  seq = (seq + 1) % 256;
}

/** The gateway's births as the platform hears them now. */
function bear(): void {
  seq = 0;
  const timestampMs = clock.now();
  const { identity, epoch, previous } = outbox;
  const state = { outbox: outbox.stats(), isWritable: true, setBacks: 0, devices: new Map(), nowMs: timestampMs };
  say("NBIRTH", { timestampMs, metrics: nodeBirthMetrics(0, { identity, epoch, previous, ...state }) });
  say(
    "DBIRTH",
    { timestampMs, metrics: outbox.metrics().map((one) => birthMetric(one, undefined, timestampMs)) },
    device,
  );
}

/** The gateway is online: all that waits is sent, stored and freed. */
async function connects(): Promise<void> {
  bear();
  await drains();
}

async function drains(only: (sourceTimeMs: number) => boolean = () => true): Promise<void> {
  const waiting = outbox.pending(0, 1e6).filter(({ record }) => only(record.samples[0]?.sourceTimeMs ?? 0));
  const expected = platform.stored() + waiting.length;
  for (const { record } of waiting) {
    const datatypeOf = (id: number) => outbox.metrics().find((one) => one.id === id)?.definition.datatype;
    const payload = dataPayload(record, datatypeOf, () => false, clock.now());
    if (payload) say("DDATA", payload, device);
  }
  await until(() => platform.stored() === expected, "the backlog to be stored");
  for (const { record } of waiting) outbox.commit(record.epoch, [[record.offset, record.offset]]);
}

async function settle(nowMs: number): Promise<void> {
  clock.set(nowMs);
  while (!(await engine.tick({ thorough: true })).caughtUp);
}

/** Pieces an hour, in each hour from the second one on. */
const hours = (): (string | null | undefined)[] =>
  [1, 2, 3, 4].map((hour) => {
    const of = { indicator: "production.throughput", level: "factory", entity: "f3", period: "hour" } as const;
    return world.ledger.readResult({ ...of, startMs: t0 + hour * hourMs })?.value;
  });

const definitions = async () =>
  (await world.telemetry.series()).map(({ definition, dated = [{ fromMs: t0, definition }] }) =>
    dated.map(({ fromMs, definition: { product } }) => `${product} ${Math.ceil((fromMs - t0) / minuteMs)}`),
  );

describe("a metric that was changed more than once in one outage", { timeout: 120_000 }, () => {
  test.each([
    ["there and back", "a"],
    ["to a third", "c"],
  ])("%s: readings of each time count for what the metric was then", async (_name, last) => {
    await runs(of("a"), t0 + hourMs, 0);
    await connects();
    await settle(clock.now());
    // Offline from here on. What it counts between begins anew at 1000, where the others do not.
    await runs(of("a"), t0 + 2 * hourMs, 360);
    await runs(of("b", "1000"), t0 + 4 * hourMs, 900);
    await runs(of(last), t0 + 5 * hourMs, 5000);
    bear();
    await drains((at) => at < t0 + 3 * hourMs || at >= t0 + 3.5 * hourMs);
    await settle(t0 + 5 * hourMs + watermarkMs);
    const ends = `${last} 240`;
    expect(await definitions()).toEqual([["a 60", "b 120", ends]]);
    // Nothing is told of what lies between two products.
    expect(hours()).toEqual(["359", "360", "359", "359"]);
    // A part of it comes late, of another process of the gateway to another one of the platform.
    const isLeft = outbox.pending(0, 1e6).length;
    expect(isLeft).toBe(180);
    await platform.close();
    platform = startPlatform();
    await runs(of(last), clock.now(), 0);
    await connects();
    await settle(clock.now());
    expect(hours()).toEqual(["359", "360", "359", "359"]);
    expect(await definitions()).toEqual([["a 60", "b 120", ends]]);
    // Nothing waits any more: births are as they always are, and change nothing.
    expect(outbox.metrics()).toMatchObject([{ earlier: [] }]);
    bear();
    await settle(clock.now());
    expect(await definitions()).toEqual([["a 60", "b 120", ends]]);
  });

  test("of which the platform never heard: it learns all that it was", async () => {
    await runs(of("a"), t0 + 2 * hourMs, 0);
    await runs(of("b", "1000"), t0 + 4 * hourMs, 900);
    await runs(of("c"), t0 + 5 * hourMs, 5000);
    await connects();
    await settle(t0 + 5 * hourMs + watermarkMs);
    expect(hours()).toEqual(["359", "360", "359", "359"]);
    expect(await definitions()).toEqual([[expect.stringMatching(/^a -/), "b 120", "c 240"]]);
  });
});
