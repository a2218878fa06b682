import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import { encodePayload, type OutPayload } from "@jilian/domain/sparkplug/payload.ts";
import { type MessageType, topicOf } from "@jilian/domain/topics.ts";
import { birthMetric, nodeBirthMetrics } from "@jilian/gateway/births.ts";
import { dataPayload } from "@jilian/gateway/edge-data.ts";
import type { OutboxRecord } from "@jilian/gateway/model.ts";
import { type OpenedOutbox, openOutbox } from "@jilian/gateway/outbox.ts";
import { type CommitBook, commitBook } from "@jilian/ingest/commit-book.ts";
import { ledgerNotes } from "@jilian/ingest/ledger-notes.ts";
import { liveWriter } from "@jilian/ingest/live-writer.ts";
import { nodeWatch } from "@jilian/ingest/node-watch.ts";
import { type RecordQueue, recordQueue } from "@jilian/ingest/queue.ts";
import { createReceiver, type Receiver } from "@jilian/ingest/receive.ts";
import { manualClock, silent, testRegistry } from "@jilian/ingest/test-world.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { CommitEntry } from "@jilian/store/telemetry.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

/** Real outbox files that are copied and put back, and what the platform says of their gateway: births and data go the way of the wire. */

const place = { group: "f1", node: "gw-1" } as const;
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const clock = manualClock(t0);
const definition = { name: "a", datatype: DataType.Double, simulated: false };

let folder: string;
let path: string;
let ledger: Ledger;
let open: OpenedOutbox[] = [];
let stored: CommitEntry[] = [];
let platform: { receiver: Receiver; queue: RecordQueue; book: CommitBook };

/** A process of the platform: it knows what is stored, and the times of writing of what it stores itself. */
function startPlatform(): void {
  platform?.receiver.close();
  const book = commitBook(stored);
  const queue = recordQueue(100_000);
  const notes = ledgerNotes({ ledger, clock, log: silent });
  const receiver = createReceiver({
    queue,
    book,
    live: liveWriter(createLiveState(), { notes, registry: testRegistry(true), clock }),
    watch: nodeWatch({ ledger, book, notes, clock, log: silent }),
    clock,
    log: silent,
    reorderMs: 1000,
    rebirthIntervalMs: 0,
    requestRebirth: () => undefined,
  });
  platform = { receiver, queue, book };
}

beforeEach(() => {
  clock.set(t0);
  folder = mkdtempSync(join(tmpdir(), "restored-"));
  path = join(folder, "outbox.db");
  ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
  stored = [];
  startPlatform();
});
afterEach(async () => {
  platform.receiver.close();
  for (const outbox of open) await outbox.close();
  open = [];
  ledger.close();
  rmSync(folder, { recursive: true });
});

type Way = { boot?: string; durability?: "power-cut" | "process" };

/** A start of the gateway, up to its births. */
function start({ boot = "boot-1", durability = "power-cut" }: Way = {}) {
  const outbox = openOutbox({
    ...{ path, maxBytes: 1e9, fsyncMs: 500, durability, ...place },
    ...{ clock, bootId: boot, machineMs: clock.now, log: silent },
  });
  open.push(outbox);
  const [id = 0] = outbox.declare("press-1", [definition]);
  let seq = 0;
  const say = (type: MessageType, payload: Omit<OutPayload, "seq">, device?: string): void => {
    const topic = topicOf({ ...place, type, ...(device === undefined ? {} : { device }) });
    platform.receiver.handle(topic, encodePayload({ ...payload, seq }));
    seq = (seq + 1) % 256;
  };

  function birth(): void {
    seq = 0;
    const { identity, epoch, previous } = outbox;
    const state = { outbox: outbox.stats(), isWritable: true, setBacks: 0, devices: new Map() };
    const timestampMs = clock.now();
    const metrics = nodeBirthMetrics(0, { identity, epoch, previous, ...state, nowMs: timestampMs });
    say("NBIRTH", { timestampMs, metrics });
    const born = birthMetric({ id, device: "press-1", definition, sinceMs: 0, earlier: [] }, undefined, timestampMs);
    say("DBIRTH", { timestampMs, metrics: [born] }, "press-1");
  }

  function send(record: OutboxRecord): void {
    const payload = dataPayload(
      record,
      () => definition.datatype,
      () => true,
      clock.now(),
    );
    if (payload) say("DDATA", payload, "press-1");
    const entries = platform.queue
      .take(1e6)
      .flatMap((one): CommitEntry[] =>
        one.record ? [{ ...place, epoch: one.record.epoch, ranges: [[one.record.offset, one.record.offset]] }] : [],
      );
    stored.push(...entries);
    platform.book.stored(entries);
    for (const { epoch, ranges } of entries) outbox.commit(epoch, ranges);
  }

  birth();
  return {
    outbox,
    birth,
    /** One reading a second, each stored and freed. */
    run: (seconds: number): void => {
      for (let i = 0; i < seconds; i += 1) {
        clock.set(clock.now() + 1000);
        const gatewayTimeMs = clock.now();
        const record = outbox.write("press-1", [
          { metricId: id, value: 1.5, status: 0, sourceTimeMs: gatewayTimeMs, gatewayTimeMs },
        ]);
        if (record) send(record);
      }
    },
  };
}

/** The files as they are now. */
function image(): () => void {
  for (const end of ["", "-wal"]) if (existsSync(path + end)) copyFileSync(path + end, `${path}.image${end}`);
  return () => {
    path = `${path}.image`;
  };
}

const codes = () => ledger.findings(20).map(({ code }) => code);

describe("an image that was made while the gateway ran, put back without a start in between", () => {
  test.each<Way>([{ boot: "boot-2" }, { boot: "boot-1" }, { boot: "boot-2", durability: "process" }])(
    "is shown, once: %o",
    (way) => {
      const gateway = start(way.durability ? { durability: way.durability } : {});
      gateway.run(10);
      const putBack = image();
      gateway.run(100);
      putBack();
      const restored = start(way);
      restored.birth();
      restored.run(3);
      expect(ledger.findings(9)).toMatchObject([{ code: "GATEWAY_RESTORED", subject: "f1/gw-1", count: 1 }]);
      // Told at the first birth of its epoch: a restart of the platform finds nothing new.
      startPlatform();
      restored.birth();
      expect(ledger.findings(9)).toMatchObject([{ code: "GATEWAY_RESTORED", count: 1 }]);
    },
  );

  test("is shown also where another program opened the file first, and wrote nothing", async () => {
    const gateway = start();
    gateway.run(10);
    const putBack = image();
    gateway.run(100);
    putBack();
    const command = start();
    expect(codes()).toEqual(["GATEWAY_RESTORED"]);
    const told = command.outbox.previous;
    await command.outbox.close();
    open = open.filter((outbox) => outbox !== command.outbox);
    const again = start();
    expect(again.outbox.previous).toEqual(told);
    expect(codes()).toEqual(["GATEWAY_RESTORED"]);
  });

  test("is shown after a restart of the platform by how far the offsets are apart", () => {
    const gateway = start();
    gateway.run(10);
    const putBack = image();
    stored.push({ ...place, epoch: gateway.outbox.epoch, ranges: [[10, 20_010]] });
    startPlatform();
    putBack();
    start();
    expect(codes()).toEqual(["GATEWAY_RESTORED"]);
  });
});

describe("no image is", () => {
  test.each<[string, Way, number]>([
    ["what a power cut took with fsync", { boot: "boot-2" }, 2],
    ["what a power cut took without", { boot: "boot-2", durability: "process" }, 60],
    ["nothing at all, as with a killed process", { boot: "boot-1" }, 0],
  ])("%s, over a restart of the platform too", (_, way, lostS) => {
    const first = start(way.durability ? { durability: way.durability } : {});
    first.run(10);
    const cut = image();
    first.run(lostS);
    cut();
    const second = start(way);
    second.run(5);
    startPlatform();
    second.birth();
    expect(codes()).toEqual([]);
  });

  test("a power cut soon after a start of which nothing was written, nor an end in order", async () => {
    const first = start();
    first.run(10);
    await first.outbox.close();
    open = [];
    start();
    const cut = image();
    cut();
    start({ boot: "boot-2" }).run(3);
    expect(codes()).toEqual([]);
  });
});
