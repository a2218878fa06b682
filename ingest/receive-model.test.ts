import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { nodeWatch } from "./node-watch.ts";
import { type QueuedRecord, recordQueue } from "./queue.ts";
import { createReceiver } from "./receive.ts";
import {
  devices,
  encode,
  type Fate,
  groups,
  type Message,
  metrics,
  type Op,
  op,
  sender,
  t0,
  topicOfMessage,
} from "./test-model-node.ts";
import { manualClock, silent, testRegistry } from "./test-world.ts";

/**
 * The receiver against a small model of a Sparkplug host: what nodes say in any order of births, data and deaths, over a network that
 * loses, doubles and delays; with a queue that is often full. A node with an outbox keeps the alias of a metric for ever, as ours do, and
 * its messages may overtake each other; any other node gives other aliases with each birth, over connections that keep their order.
 */

const bound = 12;
const reorderMs = 2000;
const rebirthIntervalMs = 5000;

/** What a host must know of a node. */
type Known = {
  alive: boolean;
  bdSeq: number;
  born: Map<number, Map<number, number>>;
  offsets: Map<number, "on its way" | "stored" | number>;
  /** How often the store has refused an offset's record: it is left alone longer each time. */
  refusals: Map<number, number>;
};

let folder: string;
let ledger: Ledger;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "receive-model-"));
  ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
});
afterAll(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

function run(ops: readonly Op[]): { accepted: number; shed: number; rejected: number } {
  const clock = manualClock(t0);
  const live = createLiveState();
  const queue = recordQueue(bound);
  const book = commitBook([]);
  const notes = ledgerNotes({ ledger, clock, log: silent });
  const asked: [n: number, atMs: number][] = [];
  const receiver = createReceiver({
    queue,
    book,
    live: liveWriter(live, { notes, registry: testRegistry(true), clock }),
    watch: nodeWatch({ ledger, book, notes, clock, log: silent }),
    clock,
    log: silent,
    reorderMs,
    rebirthIntervalMs,
    requestRebirth: (group) => asked.push([groups.indexOf(group as (typeof groups)[number]), performance.now()]),
  });
  const known = groups.map(
    (): Known => ({ alive: false, bdSeq: -1, born: new Map(), offsets: new Map(), refusals: new Map() }),
  );
  const expected: { node: 0 | 1; offset: number | undefined; samples: string[] }[] = [];
  const seen = { accepted: 0, shed: 0, rejected: 0 };
  let waiting = 0;
  const late: { message: Message; left: number }[] = [];
  const startedMs = performance.now();

  const mustHaveAsked = (n: 0 | 1) => {
    const lastMs = asked.findLast(([of]) => of === n)?.[1] ?? Number.NEGATIVE_INFINITY;
    // A node without an outbox is asked ever more seldom for what its births do not cure (rebirths.ts).
    expect(performance.now() - lastMs).toBeLessThan(n === 0 ? rebirthIntervalMs : Number.POSITIVE_INFINITY);
  };

  /** The model's own step for a message that has arrived. */
  function model({ node: n, type, device: d = 0, bdSeq = 0, declares, samples = [], offset }: Message): void {
    const host = known[n] as Known;
    if (type === "NBIRTH") Object.assign(host, { alive: true, bdSeq, born: new Map() });
    else if (type === "NDEATH" && host.bdSeq === bdSeq) Object.assign(host, { alive: false, born: new Map() });
    else if (type === "DBIRTH" && host.alive) host.born.set(d, declares as Map<number, number>);
    else if (type === "DDEATH") host.born.delete(d);
    else if (!host.alive && type !== "NDEATH") mustHaveAsked(n);
    if (type !== "DDATA") return;
    const declared = host.born.get(d);
    if (!host.alive || samples.some(({ alias }) => declared?.get(alias) === undefined)) {
      seen.rejected += 1;
      mustHaveAsked(n);
      return;
    }
    if (offset !== undefined) {
      const before = host.offsets.get(offset);
      if (typeof before === "string" || (before !== undefined && performance.now() < before)) return;
    }
    const room = offset === undefined ? bound * 1.25 : bound;
    if (waiting > 0 && waiting + samples.length > room) {
      seen.shed += 1;
      return;
    }
    waiting += samples.length;
    seen.accepted += 1;
    if (offset !== undefined) host.offsets.set(offset, "on its way");
    expected.push({
      node: n,
      offset,
      samples: samples.map(({ metric, value }) => `${groups[n]}/${devices[d]}/m${metric}=${value}`),
    });
  }

  function deliver(message: Message): void {
    receiver.handle(topicOfMessage(message), encode(message));
    model(message);
    for (const [i, host] of known.entries()) {
      expect(live.nodes.get(`${groups[i]}/gw-1`)?.alive ?? false).toBe(host.alive);
      for (const [k, name] of devices.entries())
        expect(live.devices.get(`${groups[i]}/gw-1/${name}`)?.born ?? false).toBe(host.born.has(k));
    }
  }

  function emit(message: Message, by: Fate): void {
    const due: Message[] = [];
    for (const item of late) item.left -= 1;
    while (late.some(({ left }) => left <= 0))
      due.push(
        ...late
          .splice(
            late.findIndex(({ left }) => left <= 0),
            1,
          )
          .map((i) => i.message),
      );
    if (by.kind === "later" && message.node === 0) late.push({ message, left: by.by });
    else if (by.kind !== "lost") for (let times = by.kind === "twice" ? 2 : 1; times > 0; times -= 1) deliver(message);
    for (const each of due) deliver(each);
  }
  const senders = [sender(0, emit), sender(1, emit)] as const;

  const textOf = ({ samples }: QueuedRecord) =>
    samples.map(({ metric: { key }, value }) => `${key.group}/${key.device}/${key.metric}=${value}`);

  function take(records: number, refused: boolean): void {
    for (let i = 0; i < records; i += 1) {
      const [record] = queue.take(1);
      const wanted = expected.shift();
      expect(
        record && {
          node: groups.indexOf(record.group as "f1"),
          offset: record.record?.offset,
          samples: textOf(record),
        },
      ).toEqual(wanted);
      if (!record || !wanted) return;
      waiting -= record.samples.length;
      if (!record.record) continue;
      const { offsets, refusals } = known[wanted.node] as Known;
      if (refused) book.refuse(record.group, record.node, record.record);
      else
        book.stored([
          {
            group: record.group,
            node: record.node,
            epoch: record.record.epoch,
            ranges: [[record.record.offset, record.record.offset]],
          },
        ]);
      const { offset } = record.record;
      const times = (refusals.get(offset) ?? 0) + 1;
      if (refused) refusals.set(offset, times);
      offsets.set(offset, refused ? performance.now() + Math.min(15_000 * 2 ** (times - 1), 600_000) : "stored");
    }
  }

  for (const each of ops) {
    if (each.op === "session") senders[each.node].session(each.willFirst, each.fate);
    else if (each.op === "rebirth") senders[each.node].rebirth(each.fate);
    else if (each.op === "device") senders[each.node].device(each.device, each.alive, each.lacks, each.fate);
    else if (each.op === "data") senders[each.node].data(each.device, each.which, each.again, each.fate);
    else if (each.op === "node data") senders[each.node].nodeData(each.fate);
    else if (each.op === "death") senders[each.node].death(each.old, each.fate);
    else if (each.op === "store") take(each.records, each.refused);
    else vi.advanceTimersByTime(each.ms);
  }
  take(expected.length + 1, false);
  const mostAsked = 1 + Math.floor((performance.now() - startedMs) / rebirthIntervalMs);
  for (const n of [0, 1]) expect(asked.filter(([of]) => of === n).length).toBeLessThanOrEqual(mostAsked);
  receiver.close();
  return seen;
}

function withFakeTime<T>(work: () => T): T {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    return work();
  } finally {
    vi.useRealTimers();
  }
}

test("any interleaving: samples under their own series, births never shed, records claimed once, online as the model says, requests bounded", () => {
  const total = { accepted: 0, shed: 0, rejected: 0 };
  let runs = 0;
  withFakeTime(() =>
    fc.assert(
      fc.property(fc.array(op, { minLength: 60, maxLength: 250, size: "max" }), (ops) => {
        const starts: Op[] = ([0, 1] as const).flatMap((n): Op[] => [
          { op: "session", node: n, willFirst: true, fate: { kind: "now" } },
          { op: "device", node: n, device: 0, alive: true, lacks: metrics, fate: { kind: "now" } },
          { op: "device", node: n, device: 1, alive: true, lacks: metrics, fate: { kind: "now" } },
        ]);
        const seen = run([...starts, ...ops]);
        for (const key of ["accepted", "shed", "rejected"] as const) total[key] += seen[key];
        runs += 1;
      }),
      { numRuns: 100, interruptAfterTimeLimit: 6000 },
    ),
  );
  // The interleavings are of use only if there are some, and if all of this happens in them.
  expect(runs).toBeGreaterThanOrEqual(10);

  for (const times of Object.values(total)) expect(times).toBeGreaterThan(10);
});

test("all messages in order: births are asked for never; one missing: they are, within the time for reordering", () => {
  const talk = fc.array(fc.constantFrom("data", "device", "node data", "wait"), { minLength: 5, maxLength: 400 });
  withFakeTime(() =>
    fc.assert(
      fc.property(talk, fc.option(fc.nat(300)), (words, lost) => {
        const live = createLiveState();
        const notes = ledgerNotes({ ledger, clock: manualClock(t0), log: silent });
        let asked = 0;
        const book = commitBook([]);
        const receiver = createReceiver({
          queue: recordQueue(1e6),
          book,
          live: liveWriter(live, { notes, registry: testRegistry(true), clock: manualClock(t0) }),
          watch: nodeWatch({ ledger, book, notes, clock: manualClock(t0), log: silent }),
          clock: manualClock(t0),
          log: silent,
          reorderMs,
          rebirthIntervalMs: 0,
          requestRebirth: () => {
            asked += 1;
          },
        });
        let messages = 0;
        let isMissing = false;
        const node0 = sender(0, (message) => {
          messages += 1;
          // Not the births at the start, without which nothing is heard, and not what nothing follows.
          if (lost !== null && messages === lost + 4) isMissing = true;
          else receiver.handle(topicOfMessage(message), encode(message));
        });
        node0.session(true, { kind: "now" });
        for (const d of [0, 1] as const) node0.device(d, true, metrics, { kind: "now" });
        for (const word of words) {
          if (word === "data") node0.data(0, 3, null, { kind: "now" });
          else if (word === "device") node0.device(1, true, metrics, { kind: "now" });
          else if (word === "node data") node0.nodeData({ kind: "now" });
          else vi.advanceTimersByTime(500);
        }
        const wasLast = isMissing && messages === (lost ?? 0) + 4;
        if (wasLast) node0.nodeData({ kind: "now" });
        vi.advanceTimersByTime(reorderMs + 1);
        expect(asked > 0).toBe(isMissing);
        receiver.close();
      }),
      { numRuns: 80, interruptAfterTimeLimit: 5000 },
    ),
  );
});
