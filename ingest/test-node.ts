/** What the tests of the receiver share: a receiver with real parts, and a node that says what the test has it say. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { encodePayload, type OutMetric } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, type MessageType, rebirthMetric, topicOf } from "@jilian/domain/topics.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState, deviceState, type LiveState } from "@jilian/store/live.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import { afterEach, beforeEach } from "vitest";
import { type CommitBook, commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { nodeWatch } from "./node-watch.ts";
import { type RecordQueue, recordQueue } from "./queue.ts";
import { createReceiver, type Receiver } from "./receive.ts";
import { manualClock, silent, testRegistry } from "./test-world.ts";

export const t0 = Date.UTC(2026, 10, 22, 2, 0);
export const epoch = "00000000000000ab";
export const reorderMs = 40;
export const clock = manualClock(t0);

/** The parts of the test that runs. */
export const host = {} as {
  ledger: Ledger;
  live: LiveState;
  queue: RecordQueue;
  book: CommitBook;
  receiver: Receiver;
  /** Nodes whose births were asked for. */
  rebirths: string[];
};

/** Makes the parts anew, but for the ledger. */
export function start({ demo = true, bound = 1000, rebirthIntervalMs = 0 } = {}): void {
  host.live = createLiveState();
  host.queue = recordQueue(bound);
  host.book = commitBook([]);
  host.rebirths = [];
  const { ledger, live, queue, book, rebirths } = host;
  const notes = ledgerNotes({ ledger, clock, log: silent });
  host.receiver = createReceiver({
    queue,
    book,
    live: liveWriter(live, { notes, registry: testRegistry(demo), clock }),
    watch: nodeWatch({ ledger, book, notes, clock, log: silent }),
    clock,
    log: silent,
    reorderMs,
    rebirthIntervalMs,
    requestRebirth: (group, node) => rebirths.push(`${group}/${node}`),
  });
}

/** Gives each test of the file parts of its own. */
export function hostPerTest(): void {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "receive-"));
    host.ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
    start();
  });
  afterEach(() => {
    host.receiver.close();
    host.ledger.close();
    rmSync(folder, { recursive: true });
  });
}

type Sent = { seq?: number; device?: string; group?: string; offset?: number; timestampMs?: number };

export function send(type: MessageType, metrics: Partial<OutMetric>[], sent: Sent = {}): void {
  const { seq, device, group = "f1", offset, timestampMs = t0 } = sent;
  const body = offset === undefined ? undefined : encodeHeader({ epoch, offset, writtenAtMs: t0 + 7 });
  const payload = encodePayload({
    timestampMs,
    metrics: metrics.map((m) => ({ timestampMs: t0, datatype: DataType.Double, value: 1, ...m })),
    ...(seq === undefined ? {} : { seq }),
    ...(body === undefined ? {} : { uuid: outboxUuid, body }),
  });
  host.receiver.handle(topicOf({ group, node: "gw-1", type, ...(device === undefined ? {} : { device }) }), payload);
}

export const bdSeq = (value: number): Partial<OutMetric> => ({
  name: bdSeqMetric,
  datatype: DataType.Int64,
  declare: true,
  value: BigInt(value),
});
export const rebirthControl = { name: rebirthMetric, datatype: DataType.Boolean, declare: true, value: false };
export const commitControl = { name: commitMetric, datatype: DataType.String, declare: true, value: "" };
export const tag = (name: string, alias: number, over: Partial<OutMetric> = {}): Partial<OutMetric> => ({
  name,
  alias,
  declare: true,
  ...over,
});

/** A node with an outbox and one device with two tags. */
export function bear(): void {
  send("NBIRTH", [bdSeq(3), rebirthControl, commitControl], { seq: 0 });
  send("DBIRTH", [tag("a", 1), tag("b", 2)], { seq: 1, device: "press-1" });
}

/** A node of another maker, without an outbox. */
export function bearForeign(metrics: Partial<OutMetric>[]): void {
  send("NBIRTH", [bdSeq(3), rebirthControl], { seq: 0 });
  send("DBIRTH", metrics, { seq: 1, device: "press-1" });
}

export const data = (metrics: Partial<OutMetric>[], sent: Sent = {}) =>
  send("DDATA", metrics, { device: "press-1", ...sent });
export const values = () =>
  host.queue.take(1e9).flatMap((r) => r.samples.map((s) => [s.metric.key.metric, s.value, s.status]));
export const counter = (name: string) => host.live.counters.get(name) ?? 0;
export const stateOf = (device = "press-1") => deviceState(host.live, "f1", "gw-1", device, t0);
