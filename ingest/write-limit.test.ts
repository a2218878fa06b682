import { type CommitNotice, decodeNotice } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { openInfluxTelemetry } from "@jilian/store/influx/telemetry.ts";
import { settingOf } from "@jilian/store/influx/test-setting.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { pino } from "pino";
import { expect, test } from "vitest";
import { commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { recordQueue } from "./queue.ts";
import type { BornMetric } from "./sessions.ts";
import { manualClock, openWorld, silent, testRegistry, until } from "./test-world.ts";
import { startWriter } from "./write.ts";

const t0 = Date.UTC(2026, 10, 22, 2, 0);
const epoch = "00000000000000ab";
const clock = manualClock(t0);

const metricOf = (node: string, metric: string): BornMetric => ({
  key: { group: "f1", node, device: "press-1", metric },
  definition: { name: metric, datatype: DataType.Double, simulated: false },
  ...{ seriesId: undefined, sinceMs: 0, doubtMs: 0 },
});

test.skipIf(!hasInfluxd())(
  "new series beyond a limit of InfluxDB are nobody's fault: all waits, told with its remedy, and all of it is stored once the limit is raised",
  async () => {
    await using server = await startInfluxd({ limits: { "max-values-per-tag": 1 } });
    const world = await openWorld();
    const telemetry = await openInfluxTelemetry({ ...settingOf(server.url, "limits"), log: silent });
    const { key, definition } = metricOf("gw-1", "m0.0");
    await telemetry.ensureSeries([{ ...key, definition }]);
    const [live, queue, book] = [createLiveState(), recordQueue(10_000), commitBook([])];
    const [notices, lines]: [CommitNotice[], Record<string, unknown>[]] = [[], []];
    const notes = ledgerNotes({ ledger: world.ledger, clock, log: silent });
    const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
    for (let offset = 0; offset < 12; offset += 1) {
      // The last ones are of a node that has no outbox.
      const record = offset < 10 ? { epoch, offset, writtenAtMs: t0 + offset } : undefined;
      const node = record ? "gw-1" : "plain";
      if (record) expect(book.claim("f1", node, record)).toBe("new");
      const samples = [0, 1].map((i) => ({
        ...{
          metric: metricOf(node, `m${offset}.${i}`),
          value: offset,
          status: 0,
          sourceTimeMs: t0 + i,
          gatewayTimeMs: t0,
        },
      }));
      queue.push({ group: "f1", node, record, samples, receivedAtMs: t0 });
    }
    const bus = {
      onMessage: () => () => undefined,
      publish: async (_: string, payload: Uint8Array) => {
        const metric = decodePayload(payload).metrics[0];
        notices.push(decodeNotice(metric?.wire.case === "stringValue" ? metric.wire.value : ""));
      },
    };
    const writer = startWriter({
      ...{ queue, book, telemetry, notes, clock, log, bus, batchSamples: 5000, lingerMs: 1 },
      live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
    });
    const counted = (name: string) => live.counters.get(name) ?? 0;
    try {
      await until(() => counted("storeLimited") >= 2, "two attempts");
      expect(world.ledger.findings(5)).toMatchObject([
        { code: "STORE_LIMIT", subject: "telemetry", detail: expect.stringContaining("raise max-values-per-tag") },
      ]);
      expect(lines.find(({ code }) => code === "STORE_WRITE")).toMatchObject({
        ...{ cause: "STORE_LIMIT", remedy: expect.stringContaining("raise max-values-per-tag") },
      });
      expect(counted("storeFailures")).toBe(0);
      await server.restart({ "max-values-per-tag": 0 });
      await until(() => notices.length > 0, "the notice", 20_000);
      expect(notices.flatMap(({ ranges }) => ranges)).toEqual([[0, 9]]);
      expect(notices.flatMap(({ refused = [] }) => refused)).toEqual([]);
      expect(["refusedRecords", "refusedSamples", "deferredRecords"].map(counted)).toEqual([0, 0, 0]);
      const series = await telemetry.series();
      expect(series).toHaveLength(24);
      for (const { id, metric } of series)
        expect(
          (await telemetry.read({ series: id, fromMs: 0, toMs: 1e15 }, 10)).map(({ value }) => `${value}`),
        ).toEqual([/^m(\d+)/.exec(metric)?.[1]]);
    } finally {
      await writer.close();
      await telemetry.close();
      await world.end();
    }
  },
  30_000,
);
