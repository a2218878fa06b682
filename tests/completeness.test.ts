import { brokerSchema } from "@jilian/broker/config.ts";
import { startBroker } from "@jilian/broker/start.ts";
import { accountMetric } from "@jilian/domain/account.ts";
import { clockFromSetting } from "@jilian/domain/clock.ts";
import { hourMs, minuteMs } from "@jilian/domain/periods.ts";
import { startScriptedServer } from "@jilian/gateway/cases/scripted-server.ts";
import { readGatewayConfig } from "@jilian/gateway/config.ts";
import { type Gateway, startGateway } from "@jilian/gateway/run.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { openWorld, silent, testRegistry, until, type World } from "@jilian/ingest/test-world.ts";
import { createLiveState, deviceState } from "@jilian/store/live.ts";
import { Value } from "typebox/value";
import { afterEach, beforeEach, expect, test } from "vitest";

const device = "f2/gw-1/meter-1";
/** Polls that the PLC answers; after them it is silent. */
const answers = 40;
/** Five minutes of the gateway's clock pass in half a second. The run begins half an hour before an hour's end. */
const rate = 600;
const originMs = Date.UTC(2026, 10, 22, 2, 30);

let world: World;
const closers: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  world = await openWorld();
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await world.end();
});

/** One tag that is sent with every poll, one that never changes; an outbox that holds some twenty records. */
function configOf(plcPort: number, brokerPort: number) {
  const tag = (name: string, address: number, heartbeatMs: number) =>
    `      - { name: ${name}, table: holding, address: ${address}, type: uint16, heartbeatMs: ${heartbeatMs} }\n`;
  const read = readGatewayConfig(
    `
group: f2
node: gw-1
broker: { host: 127.0.0.1, port: ${brokerPort}, username: f2/gw-1, password: secret of the gateway, reconnectMinMs: 20, reconnectMaxMs: 50 }
outbox: { path: ${world.folder}/outbox.db }
devices:
  - id: meter-1
    driver: modbus-tcp
    host: 127.0.0.1
    port: ${plcPort}
    unitId: 1
    pollIntervalMs: ${minuteMs}
    timeoutMs: 300
    retryMinMs: 50
    retryMaxMs: 100
    heartbeatMs: ${minuteMs}
    tags:
${tag("always", 7, minuteMs)}${tag("once", 8, 24 * hourMs)}`,
    "gateway.yaml",
  );
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return { ...read.value, outbox: { ...read.value.outbox, maxBytes: 2000 } };
}

/** Samples in the store, read one by one, of the device's own metrics. */
async function storedSamples(): Promise<number> {
  const series = (await world.telemetry.series()).filter((one) => one.metric !== accountMetric);
  const rows = await Promise.all(
    series.map(({ id }) => world.telemetry.read({ series: id, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER }, 10_000)),
  );
  return rows.flat().length;
}

/** What the outbox itself says that it dropped of them. */
function droppedSamples(gateway: Gateway): number {
  const own = gateway
    .outbox()
    .droppedByMetric()
    .filter(({ metric }) => metric !== accountMetric);
  return own.reduce((sum, { samples }) => sum + samples, 0);
}

test("what was polled, suppressed, dropped and stored on the way from a PLC to the store is what the ledger says, exactly", async () => {
  world.ledger.setCredential({ kind: "gateway", name: "f2/gw-1", group: "f2", node: "gw-1" }, "secret of the gateway");
  const plc = await startScriptedServer({ rules: [{ when: "03", times: answers, send: ["addresses"] }] });
  await plc.listen();
  closers.push(plc.close);
  const broker = await startBroker({ ...Value.Create(brokerSchema), port: 0 }, { ledger: world.ledger, log: silent });
  closers.push(broker.close);
  const clockSetting = `${rate},${originMs},${Date.now()}`;
  const clock = clockFromSetting(clockSetting);
  // Nobody takes what it sends, so that the outbox fills and drops.
  const gateway = startGateway(configOf(plc.port, broker.port), { log: silent, clock });
  closers.push(gateway.close);
  await until(() => gateway.stats().devices[0]?.polls === answers, "the answered polls", 30_000);
  expect(droppedSamples(gateway)).toBeGreaterThan(0);

  const live = createLiveState();
  const ingest = await startIngest(
    { ...Value.Create(ingestSchema), lingerMs: 1, rebirthIntervalMs: 100, kpiIntervalMs: 50 },
    {
      ...{ bus: broker.bus, telemetry: world.telemetry, ledger: world.ledger, ledgerPath: world.ledgerPath },
      ...{ live, registry: testRegistry(true), clock, clockSetting, log: silent },
    },
  );
  closers.push(ingest.close);

  const sum = () => {
    const query = { period: "day", fromMs: originMs - 24 * hourMs, toMs: originMs + 24 * hourMs } as const;
    return world.ledger.completeness({ ...query, members: [{ device, entity: device }] })[0];
  };
  // Two tags of each poll, of which one was told once; and a mark of each that the PLC fell silent.
  const queued = answers + 1 + 2;
  const isWhole = () => {
    const found = sum();
    return found !== undefined && found.queued === queued && found.missing + found.uncounted === 0;
  };
  // Its account comes with the end of the hour in which the PLC fell silent; the store is counted before that hour becomes final.
  await until(isWhole, "the account of that hour", 60_000);

  const [dropped, stored] = [droppedSamples(gateway), await storedSamples()];
  expect(sum()).toMatchObject({
    ...{ answered: answers, polled: 2 * answers, suppressed: answers - 1, bad: 0, marked: 2, queued },
    ...{ droppedFull: dropped, droppedAge: 0, droppedUnwritable: 0, stored },
  });
  expect(stored + dropped).toBe(queued);
  const { gapMs = {}, scheduled = 0, skipped = 0 } = sum() ?? {};
  expect(Object.keys(gapMs)).toEqual(["MODBUS_TIMEOUT"]);
  // Every minute of the clock a poll was due: those that were made and left out, and one for each minute of the gap.
  const inGap = (gapMs.MODBUS_TIMEOUT ?? 0) / minuteMs;
  expect(Math.abs(scheduled - answers - skipped - inGap)).toBeLessThanOrEqual(2);
  // Its accounts keep no device online.
  expect(deviceState(live, "f2", "gw-1", "meter-1", clock.now())).not.toBe("online");
}, 90_000);
