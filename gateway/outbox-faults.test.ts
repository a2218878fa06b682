import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DataType } from "@jilian/domain/datatypes.ts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type OutboxBench, outboxBench, recovered, sample } from "./test-outbox.ts";

let bench: OutboxBench;
beforeEach(() => {
  bench = outboxBench();
});
afterEach(() => bench.close());

describe("a full outbox", () => {
  test("drops the oldest beyond maxBytes and counts their samples for good", async () => {
    const outbox = bench.start({ maxBytes: 5_000 });
    for (let i = 0; i < 200; i += 1) outbox.write("press", [sample(1, i), sample(2, i)]);
    const { pendingRecords, pendingBytes, droppedSamples } = outbox.stats();
    expect(pendingBytes).toBeLessThanOrEqual(5_000);
    expect(pendingBytes).toBeGreaterThan(4_800);
    expect(droppedSamples).toBe((200 - pendingRecords) * 2);
    expect(outbox.pendingOf("press")).toBe(pendingRecords);
    expect(outbox.pending(0, 1)[0]?.record.samples[0]?.value).toBe(200 - pendingRecords);
    expect(outbox.pending(0, 1)[0]?.record.writtenAtMs).toBe(outbox.stats().oldestWrittenAtMs);
    expect(bench.codes().filter((code) => code === "OUTBOX_DROPPED")).toHaveLength(1);
    await bench.stop(outbox);
    expect(bench.start().stats()).toMatchObject({ pendingRecords, pendingBytes, droppedSamples });
  });

  test("refuses a single record that can never fit", () => {
    const outbox = bench.start({ maxBytes: 1000 });
    expect(outbox.write("press", [sample(1, "x".repeat(1000))])).toBeUndefined();
    expect(outbox.write("press", [sample(1, "x".repeat(100))])).toBeDefined();
    expect(outbox.stats()).toMatchObject({ pendingRecords: 1, droppedSamples: 1 });
  });
});

/** The limit of pages is a setting of a connection: a full disk is one that the outbox's own connection meets. */
function limitPages(pages: number): { lift: () => void } {
  const original = DatabaseSync.prototype.prepare;
  const seen = new Set<DatabaseSync>();
  vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, ...args) {
    if (!seen.has(this)) {
      seen.add(this);
      this.exec(`PRAGMA max_page_count = ${pages}`);
    }
    return original.apply(this, args);
  });
  return {
    lift: () => {
      vi.restoreAllMocks();
      for (const db of seen) if (db.isOpen) db.exec("PRAGMA max_page_count = 1000000");
    },
  };
}

/** The outbox's connection answers SQLITE_READONLY to every write, as on a file system that is mounted anew for reading only. */
function refuseWrites(): { refuse: (on: boolean) => void } {
  const seen = new Set<DatabaseSync>();
  const original = DatabaseSync.prototype.exec;
  vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql) {
    seen.add(this);
    return original.call(this, sql);
  });
  return {
    refuse: (on) => {
      vi.restoreAllMocks();
      for (const db of seen) if (db.isOpen) db.exec(`PRAGMA query_only = ${on ? 1 : 0}`);
    },
  };
}

describe("a failing medium", () => {
  test("a disk that is full before maxBytes costs the oldest readings, counted; the newest go on", async () => {
    const disk = limitPages(80);
    const outbox = bench.start();
    const [a] = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]) as [number];
    const offsets = Array.from({ length: 400 }, () => outbox.write("press", [sample(a, "x".repeat(900))])?.offset);
    expect(offsets).toEqual(offsets.map((_, i) => i));
    expect(outbox.isWritable()).toBe(true);
    const { pendingRecords, droppedSamples, droppedByReason } = outbox.stats();
    expect(pendingRecords + droppedSamples).toBe(400);
    expect(pendingRecords).toBeGreaterThan(60);
    expect(droppedByReason).toEqual({ full: droppedSamples, age: 0, unwritable: 0 });
    expect(outbox.pending(0, 1000).map(({ record }) => record.offset)).toEqual(offsets.slice(droppedSamples));
    expect(bench.codes().filter((code) => code === "OUTBOX_FAILED")).toHaveLength(1);
    disk.lift();
    await bench.stop(outbox);
    expect(bench.start().stats()).toMatchObject({ pendingRecords, droppedSamples, droppedByReason });
  });

  test("a disk that is full costs what is set aside first, beyond 16 MiB of it, and then pending readings", () => {
    limitPages(7000);
    const outbox = bench.start();
    const write = () => outbox.write("press", [sample(1, "x".repeat(1024 * 1024))]);
    for (let i = 0; i < 20; i += 1) outbox.setAside(write() ?? { epoch: "", offset: -1 }, "test");
    expect(outbox.stats()).toMatchObject({ asideRecords: 20, droppedSamples: 0 });
    for (let i = 0; i < 9; i += 1) expect(write()?.offset).toBe(20 + i);
    const { asideRecords, droppedSamples } = outbox.stats();
    expect(outbox.stats().pendingRecords).toBe(9);
    expect(asideRecords).toBeLessThan(20);
    expect(asideRecords).toBeGreaterThanOrEqual(15);
    expect(droppedSamples).toBe(20 - asideRecords);
    for (let i = 0; i < 6; i += 1) expect(write()?.offset).toBe(29 + i);
    expect(outbox.stats().asideRecords).toBe(15);
    expect(outbox.stats().pendingRecords).toBeLessThan(15);
  });

  test("a medium that takes nothing costs neither backlog nor new readings: they are held, and written before the next", async () => {
    const medium = refuseWrites();
    const outbox = bench.start();
    const [a] = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]) as [number];
    for (let i = 0; i < 200; i += 1) outbox.write("press", [sample(a, "x".repeat(900))]);
    medium.refuse(true);
    for (let i = 0; i < 20; i += 1) expect(outbox.write("press", [sample(a, i)])).toBeUndefined();
    expect(outbox.isWritable()).toBe(false);
    expect(outbox.commit(outbox.epoch, [[0, 9]])).toBe(0);
    expect(outbox.split({ epoch: outbox.epoch, offset: 0 })).toEqual([]);
    outbox.setAside({ epoch: outbox.epoch, offset: 0 }, "cannot be written either");
    expect(outbox.stats()).toMatchObject({
      pendingRecords: 200,
      droppedByReason: { full: 0, age: 0, unwritable: 0 },
      setAsideRecords: 0,
    });
    expect(outbox.pending(0, 1000)).toHaveLength(200);
    expect(bench.codes().filter((code) => code === "OUTBOX_FAILED")).toHaveLength(1);
    medium.refuse(false);
    expect(outbox.write("press", [sample(a, 20)])?.offset).toBe(220);
    expect(outbox.isWritable()).toBe(true);
    const found = outbox.pending(0, 1000).slice(200);
    expect(found.map(({ record }) => [record.offset, record.samples[0]?.value])).toEqual(
      Array.from({ length: 21 }, (_, i) => [200 + i, i]),
    );
    expect(outbox.commit(outbox.epoch, [[0, 9]])).toBe(10);
    await bench.stop(outbox);
    expect(bench.start().stats()).toMatchObject({ pendingRecords: 211, droppedSamples: 0 });
  });

  test("what is held is bounded, and what is beyond that counted; it is also written where nothing follows, and at the end", async () => {
    const medium = refuseWrites();
    const outbox = bench.start({ fsyncMs: 5 });
    const [a] = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]) as [number];
    medium.refuse(true);
    const write = () => outbox.write("press", [sample(a, "x".repeat(100_000))]);
    for (let i = 0; i < 12; i += 1) expect(write()).toBeUndefined();
    expect(outbox.stats()).toMatchObject({ droppedByReason: { full: 0, age: 0, unwritable: 2 }, pendingRecords: 0 });
    medium.refuse(false);
    outbox.commit(outbox.epoch, []);
    expect(outbox.handover.hasRoom(0)).toBe(true);
    await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBe(10));
    medium.refuse(true);
    write();
    medium.refuse(false);
    await bench.stop(outbox);
    expect(bench.start().stats()).toMatchObject({ pendingRecords: 11, droppedSamples: 2 });
  });

  test.each([
    ["at the start after a power cut", true],
    ["where it is read otherwise", false],
  ])("a torn page deep in the file is found %s; who it is, source times and ids go on", async (_when, wasCut) => {
    const outbox = bench.start({ bootId: "boot-1" });
    const definitions = ["a", "b"].map((name) => ({ name, datatype: DataType.Double, simulated: false }));
    const ids = outbox.declare("press", definitions);
    for (let i = 0; i < 500; i += 1) outbox.write("press", [sample(1, "x".repeat(500))]);
    const lastMs = outbox.lastSourceTimeMs("press");
    const { identity } = outbox;
    await bench.stop(outbox);
    const bytes = readFileSync(bench.path);
    bytes.fill(0xff, 100_000, 130_000);
    writeFileSync(bench.path, bytes);
    if (wasCut) bench.tamper("UPDATE meta SET value = 0 WHERE key = 'closed'");
    const next = bench.start({ bootId: "boot-2" });
    expect(bench.codes().includes("OUTBOX_CORRUPT")).toBe(wasCut);
    expect(next.pending(0, 1000).length).toBe(0);
    expect(bench.codes()).toContain("OUTBOX_CORRUPT");
    expect(next.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: 1 });
    expect(next.identity).toEqual({ box: identity.box, starts: identity.starts + 1 });
    // What the power cut took is taken from the damaged file as well.
    expect([next.lastSourceTimeMs("press") - lastMs, next.raisedMs]).toEqual(wasCut ? [2000, 2000] : [0, 0]);
    expect(next.declare("press", definitions.toReversed())).toEqual(ids.toReversed());
    expect(next.write("press", [sample(1)])).toBeDefined();
    await recovered(next);
    const { pendingRecords, setAsideRecords } = next.stats();
    expect(pendingRecords).toBeGreaterThan(400);
    expect(pendingRecords + setAsideRecords).toBe(501);
    await bench.stop(next);
    expect(bench.start().stats()).toMatchObject({ pendingRecords, setAsideRecords });
  });

  test("a file that turns corrupt in use is replaced while running; names, ids and counters go on", async () => {
    const outbox = bench.start();
    const ids = outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }]);
    for (let i = 0; i < 3000; i += 1) outbox.write("press", [sample(1, "x".repeat(3000))]);
    const bdSeq = outbox.nextBdSeq();
    // Behind the page cache of SQLite: the pages written first are long checkpointed and must be read from the file again.
    const bytes = readFileSync(bench.path);
    writeFileSync(
      bench.path,
      Buffer.concat([bytes.subarray(0, 4096 * 8), Buffer.alloc(bytes.length - 4096 * 8, 0xff)]),
    );
    outbox.commit(outbox.epoch, [[0, 2999]]);
    expect(bench.codes()).toContain("OUTBOX_CORRUPT");
    expect(outbox.stats()).toMatchObject({ pendingRecords: 0, pendingBytes: 0, setAsideRecords: 1 });
    expect(outbox.write("press", [sample(1)])).toMatchObject({ epoch: outbox.epoch, offset: 3000 });
    expect(outbox.commit(outbox.epoch, [[3000, 3000]])).toBe(1);
    expect(outbox.declare("press", [{ name: "a", datatype: DataType.Double, simulated: false }])).toEqual(ids);
    expect(outbox.nextBdSeq()).toBe(bdSeq + 1);
    const freed = outbox.pending(0, 1).length;
    await recovered(outbox);
    expect(freed).toBe(0);
    expect(outbox.stats().pendingRecords + outbox.stats().setAsideRecords).toBe(3000);
  });

  test("a record with a flipped bit is set aside and counted; the others are read", async () => {
    const first = bench.start();
    for (let i = 0; i < 5; i += 1) first.write("press", [sample(1, i)]);
    await bench.stop(first);
    bench.tamper(
      "UPDATE record SET bytes = CAST(substr(bytes, 1, 5) || x'7f' || substr(bytes, 7) AS BLOB) WHERE position = 3",
    );
    const outbox = bench.start();
    expect(outbox.pending(0, 4).map(({ record }) => record.offset)).toEqual([0, 1, 3, 4]);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 4, setAsideRecords: 1 });
    expect(bench.lines.find((line) => line.code === "OUTBOX_SET_ASIDE")).toMatchObject({
      epoch: first.epoch,
      offset: 2,
    });
    outbox.setAside({ epoch: first.epoch, offset: 4 }, "the store refuses it");
    outbox.setAside({ epoch: first.epoch, offset: 99 }, "unknown");
    expect(outbox.stats()).toMatchObject({ pendingRecords: 3, setAsideRecords: 2 });
    await bench.stop(outbox);
    expect(bench.start().stats()).toMatchObject({ pendingRecords: 3, setAsideRecords: 2 });
  });

  test("records set aside in one life are not replaced by those of the next", async () => {
    for (let life = 0; life < 3; life += 1) {
      const outbox = bench.start();
      for (let i = 0; i < 3; i += 1) outbox.write("press", [sample(1, life)]);
      outbox.setAside({ epoch: outbox.epoch, offset: 2 - life }, "the store refuses it");
      outbox.commit(outbox.epoch, [[0, 2]]);
      await bench.stop(outbox);
    }
    const db = new DatabaseSync(bench.path);
    expect(db.prepare("SELECT count(DISTINCT epoch) AS lives FROM set_aside").get()).toEqual({ lives: 3 });
    db.close();
  });
});

describe("a file is refused", () => {
  test("that another process, or another outbox, has open", () => {
    bench.start();
    expect(() => bench.start()).toThrow(expect.objectContaining({ code: "OUTBOX_LOCKED" }));
  });

  test("that belongs to another gateway", async () => {
    await bench.stop(bench.start());
    expect(() => bench.start({ node: "gateway-2" })).toThrow(/factory-1\/gateway-1, not to factory-1\/gateway-2/);
  });

  test("that a newer program wrote", async () => {
    await bench.stop(bench.start());
    bench.tamper("PRAGMA user_version = 99");
    expect(() => bench.start()).toThrow(expect.objectContaining({ code: "OUTBOX_NEWER" }));
  });

  test("that is a database of another program, and is left as it was", () => {
    bench.tamper("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)");
    const before = readFileSync(bench.path);
    expect(() => bench.start()).toThrow(expect.objectContaining({ code: "OUTBOX_FOREIGN_FILE" }));
    // Not even its journal mode is another.
    expect(readFileSync(bench.path)).toEqual(before);
  });

  test("whose path cannot be opened", () => {
    writeFileSync(join(bench.folder, "file"), "");
    expect(() => bench.start({ path: join(bench.folder, "file", "outbox.db") })).toThrow(
      expect.objectContaining({ code: "OUTBOX_UNOPENABLE" }),
    );
  });
});
