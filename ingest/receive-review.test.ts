import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { encodePayload, type OutMetric } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, type MessageType, topicOf } from "@jilian/domain/topics.ts";
import { createLiveState, deviceState, type LiveState } from "@jilian/store/live.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { nodeWatch } from "./node-watch.ts";
import { type RecordQueue, recordQueue } from "./queue.ts";
import { createReceiver } from "./receive.ts";
import { manualClock, silent, testRegistry } from "./test-world.ts";

const t0 = Date.UTC(2026, 10, 22, 2, 0);
const { Boolean: Flag, Double, Float, Int64, String: Text } = DataType;
const clock = manualClock(t0);
let live: LiveState;
let queue: RecordQueue;
let send: (type: MessageType, metrics: Partial<OutMetric>[], offset?: number) => void;
let end: () => void;

beforeEach(() => {
  clock.set(t0);
  const folder = mkdtempSync(join(tmpdir(), "receive-"));
  const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
  const notes = ledgerNotes({ ledger, clock, log: silent });
  live = createLiveState();
  queue = recordQueue(1000);
  const book = commitBook([]);
  const receiver = createReceiver({
    queue,
    book,
    live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
    watch: nodeWatch({ ledger, book, notes, clock, log: silent }),
    clock,
    log: silent,
    reorderMs: 1000,
    rebirthIntervalMs: 0,
    requestRebirth: () => undefined,
  });
  send = (type, metrics, offset) => {
    const record = { epoch: "00000000000000ab", offset: offset ?? 0, writtenAtMs: clock.now() };
    const payload = encodePayload({
      timestampMs: clock.now(),
      metrics: metrics.map((m) => ({ timestampMs: clock.now(), datatype: Double, value: 1, ...m })),
      ...(offset === undefined ? {} : { uuid: outboxUuid, body: encodeHeader(record) }),
    });
    receiver.handle(
      topicOf({ group: "f1", node: "gw-1", type, ...(type.startsWith("D") ? { device: "press-1" } : {}) }),
      payload,
    );
  };
  end = () => {
    receiver.close();
    ledger.close();
    rmSync(folder, { recursive: true });
  };
  send("NBIRTH", [
    { name: bdSeqMetric, datatype: Int64, declare: true, value: 1n },
    { name: commitMetric, datatype: Text, declare: true, value: "" },
  ]);
});
afterEach(() => end());

test("a value that waited in an outbox while its metric's datatype was changed is stored as it was read", () => {
  const born = [Float, Float, Int64, Flag].map((datatype, i) => ({ name: `m${i}`, alias: i, datatype, value: null }));
  send(
    "DBIRTH",
    born.map((metric) => ({ ...metric, declare: true })),
  );
  send(
    "DDATA",
    [
      { alias: 0, datatype: Double, value: 1.1, declare: true },
      { alias: 1, datatype: Int64, value: 2n ** 60n, declare: true },
      { alias: 2, datatype: Double, value: 0.5, declare: true },
      { alias: 3, datatype: Text, value: "auto", declare: true },
    ],
    0,
  );
  const [record] = queue.take(10);
  expect(record?.samples.map(({ value, status }) => [value, status])).toEqual([
    [1.1, Status.Good],
    [2n ** 60n, Status.Good],
    [0.5, Status.Good],
    ["auto", Status.Good],
  ]);
});

test("a device whose clock once ran ahead goes stale like any other", () => {
  send("DBIRTH", [{ name: "a", alias: 1, declare: true }]);
  send("DDATA", [{ alias: 1, timestampMs: t0 + 86_400_000 }], 0);
  expect(deviceState(live, "f1", "gw-1", "press-1", t0)).toBe("online");
  expect(deviceState(live, "f1", "gw-1", "press-1", t0 + 3_600_000)).toBe("stale");
});
