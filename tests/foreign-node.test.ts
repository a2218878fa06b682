/** An edge node of other make, through the real broker and ingest into a real store: what is stored must be what it sent. */
import { brokerSchema } from "@jilian/broker/config.ts";
import { startBroker } from "@jilian/broker/start.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { openWorld, silent, testRegistry, until } from "@jilian/ingest/test-world.ts";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { openInfluxTelemetry } from "@jilian/store/influx/telemetry.ts";
import { settingOf } from "@jilian/store/influx/test-setting.ts";
import { createLiveState } from "@jilian/store/live.ts";
import type { OwnedTelemetry } from "@jilian/store/thread/owner.ts";
import { pino } from "pino";
import { Value } from "typebox/value";
import { afterEach, expect, it } from "vitest";
import { hasForeignNode, noForeignNode, runForeignNode } from "./foreign-node.ts";
import { isThorough } from "./thorough.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The store of a test, closed with it. */
type Open = () => Promise<OwnedTelemetry>;

async function influx(): Promise<OwnedTelemetry> {
  const server = await startInfluxd();
  closers.push(server.stop);
  const log = pino({ level: "silent" });
  const telemetry = await openInfluxTelemetry({ ...settingOf(server.url, "foreign"), log });
  closers.push(telemetry.close);
  return telemetry;
}

/** What is stored of all that the node sends must be what it sent. */
async function play(open?: Open): Promise<void> {
  const world = await openWorld();
  closers.push(world.end);
  const telemetry = (await open?.()) ?? world.telemetry;
  const account = { kind: "gateway", name: "f1/gw-1", group: "f1", node: "gw-1" } as const;
  world.ledger.setCredential(account, "secret of gw-1");
  const broker = await startBroker({ ...Value.Create(brokerSchema), port: 0 }, { ledger: world.ledger, log: silent });
  closers.push(broker.close);
  const lines: { code?: string; device?: string; metrics?: string[] }[] = [];
  const live = createLiveState();
  const ingest = await startIngest(
    { ...Value.Create(ingestSchema), lingerMs: 1, reorderMs: 50, rebirthIntervalMs: 100 },
    {
      ...{ bus: broker.bus, telemetry, ledger: world.ledger, ledgerPath: world.ledgerPath, live },
      ...{ registry: testRegistry(true), clock: { now: () => Date.now(), rate: 1 }, clockSetting: undefined },
      log: pino({ level: "warn" }, { write: (line) => void lines.push(JSON.parse(line)) }),
    },
  );
  closers.push(ingest.close);
  const { sent, asked, births } = await runForeignNode({
    port: broker.port,
    user: account.name,
    password: "secret of gw-1",
  });
  await until(() => live.nodes.get("f1/gw-1")?.alive === false, "its death");
  await until(() => ingest.queuedSamples() === 0, "the store");
  // Not for ever: a device without a birth is asked for with ever longer waits, and each rebirth here is answered.
  expect(new Set(asked)).toEqual(new Set(["Node Control/Rebirth"]));
  expect(births - 1).toBeLessThanOrEqual(4);
  expect(births).toBeGreaterThan(1);

  const stored: typeof sent = [];
  const close = ingest.close;
  closers.splice(closers.indexOf(close), 1);
  await close();
  for (const { id, device, metric } of await telemetry.series())
    for (const row of await telemetry.read({ series: id, fromMs: 0, toMs: 1e15 }, 1000)) {
      const value = row.value === null ? null : `${typeof row.value} ${row.value}`;
      stored.push([device, metric, row.sourceTimeMs, value, row.status]);
    }
  const keyOf = ([device, metric, atMs]: (typeof sent)[number]) => `${device} ${metric} ${atMs}`;
  const byKey = (rows: typeof sent) => Object.fromEntries(rows.map((row) => [keyOf(row), row]));
  expect(byKey(stored)).toEqual(byKey(sent));
  expect(stored).toHaveLength(Object.keys(byKey(sent)).length);
  expect(live.counters.get("conflictingSamples") ?? 0).toBe(0);

  // What cannot be kept is told once, however often births repeat it, and counted.
  const told = lines
    .filter(({ code }) => code === "METRIC_UNSUPPORTED")
    .map(({ device, metrics }) => [device, metrics]);
  expect(told).toEqual([
    ["", ["_types_/Motor"]],
    ["meter-1", ["motor", "properties", "lists", "of later years", "of no type"]],
  ]);
  expect(live.counters.get("uncarriedSamples")).toBe(5 + 40);
  expect(live.counters.get("unreadableMessages")).toBe(1);
}

it.skipIf(!hasForeignNode)(`stores what it sent, every datatype, time and quality${noForeignNode}`, () => play());

it.skipIf(!hasForeignNode || !hasInfluxd() || !isThorough)(
  `stores the same in InfluxDB (JILIAN_TESTS=all)${noForeignNode}`,
  () => play(influx),
);
