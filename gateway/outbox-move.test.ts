import { DatabaseSync } from "node:sqlite";
import type { RecordId } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { expect, test, vi } from "vitest";
import type { OutboxRecord } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { dropTeller } from "./outbox-drops.ts";
import { moveHeld, outboxMove } from "./outbox-move.ts";
import { bench, benchPerTest, sample } from "./test-outbox.ts";

benchPerTest();

const definition = (name: string) => ({ name, datatype: DataType.Double, simulated: false });
const memory = (): OpenedOutbox => bench.start({ path: undefined, durability: "process" });

/** Answers SQLITE_READONLY to every write of the file's connections. */
function switchable(): (refuses: boolean) => void {
  const seen = new Set<DatabaseSync>();
  const original = DatabaseSync.prototype.prepare;
  vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, sql) {
    if (this.location() === bench.path) seen.add(this);
    return original.call(this, sql);
  });
  return (refuses) => {
    for (const db of seen) if (db.isOpen) db.exec(`PRAGMA query_only = ${refuses ? 1 : 0}`);
  };
}

test("twenty thousand records move in small transactions, and the process goes on in between", async () => {
  const from = memory();
  const [a = 0] = from.declare("press", [definition("a")]);
  for (let i = 0; i < 20_000; i += 1) from.write("press", [sample(a, i)]);
  const to = bench.start();
  let turns = 0;
  let written = 0;
  const timer = setInterval(() => {
    turns += 1;
    // Readings are taken meanwhile, and move as well.
    if (turns < 10 && from.write("press", [sample(a, -1)])) written += 1;
  }, 1);
  const move = outboxMove(from, to);
  expect(await move.records()).toBe(true);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(20);
  expect(from.stats().pendingRecords).toBe(0);
  expect(await move.rest()).toBe(true);
  expect(written).toBeGreaterThan(0);
  expect(move.moved()).toBe(20_000 + written);
  expect(to.stats()).toMatchObject({ pendingRecords: 20_000 + written, droppedSamples: 0 });
  const values = to.pending(0, 30_000).map(({ record }) => record.samples[0]?.value);
  expect(values.filter((value) => value !== -1)).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
});

test("thousands of records set aside move in portions, counted once, and nothing waits long for them", async () => {
  const records = 5000;
  const from = memory();
  const [a = 0] = from.declare("press", [definition("a")]);
  const refusals = Array.from({ length: records }, (_, i) => ({ ...sample(a, i) }));
  for (const refused of refusals)
    from.setAside(from.write("press", [refused]) as OutboxRecord, `reason ${refused.value}`);
  from.write("press", [sample(a, -1)]);
  const to = bench.start();
  const [b = 0] = to.declare("oven", [definition("b")]);
  to.setAside(to.write("oven", [sample(b)]) as OutboxRecord, "before");
  let [lastMs, longestMs] = [performance.now(), 0];
  const tick = () => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
  };
  const timer = setInterval(tick, 1);
  const move = outboxMove(from, to);
  expect(await move.records()).toBe(true);
  from.setAside(from.write("press", [sample(a, records)]) as OutboxRecord, "meanwhile");
  expect(await move.rest()).toBe(true);
  clearInterval(timer);
  tick();
  expect(longestMs).toBeLessThan(500);
  expect(from.stats()).toMatchObject({ asideRecords: 0, setAsideRecords: records + 1 });
  const counts = { pendingRecords: 1, asideRecords: records + 2, setAsideRecords: records + 2, droppedAsideRecords: 0 };
  expect(to.stats()).toMatchObject(counts);
  const moved = to.asides(records + 2).slice(1);
  expect(moved.map(({ samples }) => samples[0]?.value)).toEqual(Array.from({ length: records + 1 }, (_, i) => i));
  expect([moved[7], moved.at(-1)]).toMatchObject([
    { device: "press", reason: "reason 7", samples: [{ ...refusals[7], metric: "a", metricId: expect.anything() }] },
    { reason: "meanwhile" },
  ]);
  await bench.stop(to);
  const again = bench.start();
  expect(again.stats()).toMatchObject(counts);
  expect(again.replayAsides([moved[7] as RecordId])).toBe(1);
});

test("a file that fails amid the move takes nothing more; what it has not is still in memory, and nothing is dropped", async () => {
  const refuse = switchable();
  const from = memory();
  const [a = 0] = from.declare("press", [definition("a")]);
  for (let i = 0; i < 2000; i += 1) from.write("press", [sample(a, i)]);
  const to = bench.start();
  const move = outboxMove(from, to);
  const moving = move.records();
  refuse(true);
  expect(await moving).toBe(false);
  const there = to.stats().pendingRecords;
  expect(there).toBeGreaterThan(0);
  expect(from.stats().pendingRecords).toBe(2000 - there);
  expect([from.stats().droppedSamples, to.stats().droppedSamples]).toEqual([0, 0]);
  refuse(false);
  expect(await outboxMove(from, to).rest()).toBe(true);
  expect(to.pending(0, 3000).map(({ record }) => record.samples[0]?.value)).toEqual(
    Array.from({ length: 2000 }, (_, i) => i),
  );
});

test("a file that fails amid what is set aside: the rest of it is still in memory, and all of it is counted once in the end", async () => {
  const refuse = switchable();
  const from = memory();
  const [a = 0] = from.declare("press", [definition("a")]);
  for (let i = 0; i < 1000; i += 1) from.setAside(from.write("press", [sample(a, i)]) as OutboxRecord, "a test");
  const to = bench.start();
  const moving = outboxMove(from, to).rest();
  refuse(true);
  expect(await moving).toBe(false);
  const there = to.stats().asideRecords;
  expect(there).toBeGreaterThan(0);
  expect(from.stats()).toMatchObject({ asideRecords: 1000 - there, setAsideRecords: 1000, droppedSamples: 0 });
  refuse(false);
  expect(await outboxMove(from, to).rest()).toBe(true);
  expect(to.stats()).toMatchObject({ asideRecords: 1000, setAsideRecords: 1000, droppedSamples: 0 });
  expect(to.asides(1001).map(({ samples }) => samples[0]?.value)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
});

test("what a file dropped and could not save is counted by metric over both changes, and bdSeq goes on", async () => {
  const refuse = switchable();
  // No room to hold any of them until they can be written.
  const file = bench.start({ maxBytes: 150 });
  const [, b = 0] = file.declare("press", [definition("a"), definition("b")]);
  expect([file.nextBdSeq(), file.nextBdSeq()]).toEqual([0, 1]);
  refuse(true);
  for (let i = 0; i < 7; i += 1) file.write("press", [sample(b)]);
  expect(file.nextBdSeq()).toBe(2);
  const dropped = file.droppedByMetric();
  expect(dropped).toMatchObject([{ device: "press", metric: "b", samples: 7 }]);
  await bench.stop(file);

  const away = memory();
  away.handover.take(file.handover.remains());
  expect(away.droppedByMetric()).toEqual(dropped);
  expect(away.nextBdSeq()).toBe(3);
  const back = bench.start();
  expect(await outboxMove(away, back).rest()).toBe(true);
  expect(back.droppedByMetric()).toEqual(dropped);
  expect(back.stats()).toMatchObject({ droppedSamples: 7 });
  expect(back.nextBdSeq()).toBe(4);
  await bench.stop(back);
  expect(bench.start().droppedByMetric()).toEqual(dropped);
});

test("what a file could not write goes to the one in memory in its order, by the names of its metrics, and is held no more", async () => {
  const refuse = switchable();
  const file = bench.start();
  file.declare("oven", [definition("z")]);
  const [, b = 0] = file.declare("press", [definition("a"), definition("b")]);
  refuse(true);
  for (let i = 0; i < 5; i += 1) expect(file.write("press", [sample(b, i)])).toBeUndefined();
  await bench.stop(file);
  const away = memory();
  const [, there = 0] = away.declare("press", [definition("a"), definition("b")]);
  expect(there).not.toBe(b);
  away.handover.take(file.handover.remains());
  moveHeld(file, away);
  const found = away.pending(0, 10).map(({ record }) => record.samples);
  expect(found.map((samples) => samples.map(({ metricId, value }) => [metricId, value]))).toEqual(
    Array.from({ length: 5 }, (_, i) => [[there, i]]),
  );
  expect([away.stats().droppedSamples, file.stats().droppedSamples]).toEqual([0, 0]);
});

test("an outbox in memory that has no file before it begins its sessions at a random number", () => {
  const first = new Set(Array.from({ length: 12 }, () => memory().nextBdSeq()));
  expect(first.size).toBeGreaterThan(3);
});

test("room is asked of the medium before it is tried: what it has not is not written", () => {
  const outbox = bench.start();
  expect(outbox.handover.hasRoom(100_000)).toBe(true);
  // Beyond what SQLite takes as a value: to try it would fail, and be told.
  expect(outbox.handover.hasRoom(1e18)).toBe(false);
  expect(bench.codes()).toEqual([]);
  expect(memory().handover.hasRoom(0)).toBe(false);
});

test("drops of an outbox that no accounts run on are told to the next by its metric ids, without accounts", () => {
  const teller = dropTeller();
  const old = memory();
  const [a = 0, account = 0] = old.declare("press", [definition("a"), definition("Jilian/Account")]);
  const samples = [sample(a), sample(account), sample(a)];
  teller.tell(old, "press", samples, "full");
  const next = memory();
  const [, b = 0] = next.declare("press", [definition("c"), definition("a")]);
  expect(b).not.toBe(a);
  const told: unknown[] = [];
  teller.listen({ outbox: next, onDropped: (...drop) => told.push(drop) });
  const foreign = [samples[0], samples[2]].map((dropped) => ({ ...dropped, metricId: b }));
  expect(told).toEqual([["press", foreign, "full"]]);
  teller.tell(next, "press", samples, "age");
  teller.tell(old, "press", samples, "full");
  expect(told.slice(1)).toEqual([
    ["press", samples, "age"],
    ["press", foreign, "full"],
  ]);
  teller.listen(undefined);
  teller.tell(next, "press", samples, "age");
  teller.listen({ outbox: next, onDropped: (...drop) => told.push(drop) });
  expect(told).toHaveLength(4);
});

test("since when a metric is what it is moves too, to memory and back: readings before the change stay what they were", async () => {
  const [was, is] = [definition("a"), { ...definition("a"), unit: "kWh" }];
  const since = ({ metrics }: OpenedOutbox) => metrics().map(({ sinceMs }) => sinceMs);
  const file = bench.start();
  const [id = 0] = file.declare("press", [was]);
  const first = sample(id, 1);
  file.write("press", [first]);
  const other = definition("b");
  file.declare("press", [was, other]);
  file.declare("press", [was, { ...other, unit: "kW" }]);
  const from = memory();
  from.handover.take(file.handover.remains());
  await bench.stop(file);
  const [a = 0] = from.declare("press", [was, { ...other, unit: "kW" }]);
  expect(since(from)).toEqual([0, first.sourceTimeMs + 1]);
  const second = { ...sample(a, 2), sourceTimeMs: first.sourceTimeMs + 60_000 };
  from.write("press", [second]);
  from.declare("press", [is, { ...other, unit: "kW" }]);
  const to = bench.start();
  expect(await outboxMove(from, to).rest()).toBe(true);
  expect(since(to)).toEqual([second.sourceTimeMs + 1, first.sourceTimeMs + 1]);
});
