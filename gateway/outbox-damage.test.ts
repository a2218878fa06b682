import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { DataType } from "@jilian/domain/datatypes.ts";
import { describe, expect, test, vi } from "vitest";
import type { OpenedOutbox } from "./outbox.ts";
import { bench, benchPerTest, recovered, sample } from "./test-outbox.ts";

benchPerTest();

const definitions = [{ name: "a", datatype: DataType.Double, simulated: false }];

function fill(outbox: OpenedOutbox, records: number): void {
  const [a = 0] = outbox.declare("press", definitions);
  for (let i = 0; i < records; i += 1) outbox.write("press", [sample(a, "x".repeat(500))]);
}

function damaged(): string[] {
  return readdirSync(bench.folder).filter((name) => /\.corrupt-.*(?<!-wal|-shm)$/.test(name));
}

/** Changes the bytes of the closed file. */
function edit(change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(bench.path);
  change(bytes);
  writeFileSync(bench.path, bytes);
}

describe("damage that a start meets", () => {
  test("in the head of the oldest record costs its file and not the gateway, at this start and the next", async () => {
    const first = bench.start();
    const [a = 0] = first.declare("press", definitions);
    for (let i = 0; i < 300; i += 1) first.write("press", [sample(a)]);
    await bench.stop(first);
    edit((bytes) => {
      // Row 1 of the records: its key, then the types of its columns.
      const head = Buffer.from([0x01, 0x06, 0x00, 0x09, 0x05, 0x09]);
      const at = bytes.indexOf(head);
      expect(at).toBeGreaterThan(0);
      for (let i = at; i >= 0; i = bytes.indexOf(head, i + 1)) bytes[i + 1] = 0x46;
    });
    const outbox = bench.start();
    expect(outbox.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: 1 });
    expect(outbox.identity.box).toBe(first.identity.box);
    expect(outbox.write("press", [sample(a)])).toBeDefined();
    await recovered(outbox);
    // The positions of three begin with that byte.
    expect(outbox.stats()).toMatchObject({ pendingRecords: 298, setAsideRecords: 3 });
    await bench.stop(outbox);
    expect(bench.start().stats().pendingRecords).toBe(298);
    expect(damaged()).toHaveLength(1);
  });

  test("in the remembered steps of the clock, or in a counter, costs only that", async () => {
    const first = bench.start();
    fill(first, 3);
    await bench.stop(first);
    bench.tamper(`INSERT OR REPLACE INTO meta VALUES ('clockJumps', '[{"position":3,"stepMs":1q23}]'), ('bdSeq', 'x')`);
    const outbox = bench.start();
    expect(outbox.stats().pendingRecords).toBe(3);
    expect(outbox.nextBdSeq()).toBe(0);
    expect(bench.lines).toMatchObject([{ code: "OUTBOX_UNREADABLE", found: "steps of the clock" }]);
  });

  test("in the name of an epoch gives its records another epoch, counted, and they can be sent and committed", async () => {
    const first = bench.start();
    fill(first, 3);
    await bench.stop(first);
    bench.tamper("UPDATE epoch SET epoch = 'i' || substr(epoch, 2)");
    const outbox = bench.start();
    const [{ record } = { record: undefined }] = outbox.pending(0, 1);
    expect(record?.epoch).toMatch(/^[0-9a-f]{16}$/);
    expect(record?.epoch).not.toBe(outbox.epoch);
    expect(outbox.identity.starts).toBe(first.identity.starts + 2);
    expect(bench.codes()).toEqual(["OUTBOX_UNREADABLE"]);
    await bench.stop(outbox);
    // The name is as durable as the records.
    expect(bench.start().commit(record?.epoch ?? "", [[0, 2]])).toBe(3);
  });

  test("throws and leaves nothing open where the first transaction fails", async () => {
    await bench.stop(bench.start());
    const original = DatabaseSync.prototype.prepare;
    const seen = new Set<DatabaseSync>();
    vi.spyOn(DatabaseSync.prototype, "prepare").mockImplementation(function (this: DatabaseSync, sql) {
      seen.add(this);
      if (sql.startsWith("DELETE FROM epoch")) throw new TypeError("a defect");
      return original.call(this, sql);
    });
    expect(() => bench.start()).toThrow("a defect");
    expect(seen.size).toBe(1);
    for (const db of seen) expect(db.isOpen).toBe(false);
  });
});

describe("a damaged file is replaced", () => {
  /** No fresh file can be made: the medium is full. Gives the connections that were opened. */
  function refuseFresh(): Set<DatabaseSync> {
    const original = DatabaseSync.prototype.exec;
    const seen = new Set<DatabaseSync>();
    vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql) {
      seen.add(this);
      if (sql.includes("CREATE TABLE"))
        throw Object.assign(new Error("database or disk is full"), { code: "ERR_SQLITE_ERROR", errcode: 13 });
      return original.call(this, sql);
    });
    return seen;
  }

  test("at a start only once a fresh one is made: until then all is as it was, and nothing stays open", async () => {
    const first = bench.start();
    fill(first, 500);
    const lastMs = first.lastSourceTimeMs("press");
    await bench.stop(first);
    edit((bytes) => bytes.fill(0xff, 40_000, bytes.length - 8192));
    // Behind its first page, where SQLite counts changes.
    const before = readFileSync(bench.path).subarray(4096);
    const seen = refuseFresh();
    expect(() => bench.start()).toThrow(expect.objectContaining({ code: "OUTBOX_UNOPENABLE" }));
    for (const db of seen) expect(db.isOpen).toBe(false);
    expect(damaged()).toEqual([]);
    // The room of the reserve was tried as well.
    expect(readdirSync(bench.folder).filter((name) => !/-(wal|shm)$/.test(name))).toEqual(["outbox.db"]);
    expect(readFileSync(bench.path).subarray(4096)).toEqual(before);

    vi.restoreAllMocks();
    const next = bench.start();
    expect(next.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: 1 });
    expect(next.identity.box).toBe(first.identity.box);
    expect(next.lastSourceTimeMs("press")).toBe(lastMs);
    await recovered(next);
    expect(next.stats().pendingRecords + next.stats().setAsideRecords).toBe(500);
    expect(damaged()).toHaveLength(1);
  });

  test("in use only once a fresh one is made: until then it counts as a medium that fails", async () => {
    await bench.stop(bench.start());
    const outbox = bench.start();
    fill(outbox, 8000);
    edit((bytes) => bytes.fill(0xff, 8 * 4096));
    const seen = refuseFresh();
    expect(outbox.commit(outbox.epoch, [[0, 7999]])).toBeLessThan(8000);
    expect(outbox.write("press", [sample(1)])).toBeUndefined();
    expect(outbox.isWritable()).toBe(false);
    expect(outbox.stats().pendingRecords).toBeGreaterThan(0);
    for (const db of seen) expect(db.isOpen).toBe(false);
    expect(damaged()).toEqual([]);
    await bench.stop(outbox);
    vi.restoreAllMocks();
    expect(bench.start().identity.box).toBe(outbox.identity.box);
  });

  test("in use, with what a later start needs: how it ended, and the steps of the clock", async () => {
    let nowMs = 1_780_000_000_000;
    const options = { clock: { now: () => nowMs, rate: 1 }, machineMs: () => 0, bootId: "boot-1" };
    const first = bench.start(options);
    fill(first, 300);
    nowMs += 3_600_000;
    fill(first, 8000);
    await bench.stop(first);
    const outbox = bench.start(options);
    // More than SQLite's page cache holds: the page that the next record goes to must be read from the file again.
    expect(outbox.pending(0, 7000)).toHaveLength(7000);
    edit((bytes) => bytes.fill(0xee, bytes.length - 128 * 4096));
    // It meets the damage where it appends, and goes into the fresh file.
    expect(outbox.write("press", [sample(1)])).toBeDefined();
    expect(damaged()).toHaveLength(1);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 1, droppedSamples: 0, setAsideRecords: 1 });
    const copy = `${bench.path}-copy`;
    for (const suffix of ["", "-wal"]) copyFileSync(bench.path + suffix, copy + suffix);
    const db = new DatabaseSync(copy);
    const meta = new Map(
      db
        .prepare("SELECT key, value FROM meta")
        .all()
        .map(({ key, value }) => [key, value]),
    );
    db.close();
    expect(meta.get("closed")).toBe(0);
    expect(meta.get("bootId")).toBe("boot-1");
    expect(JSON.parse(String(meta.get("clockJumps")))).toEqual([{ position: 300, stepMs: 3_600_000 }]);
    expect(bench.start({ ...options, path: copy, bootId: "boot-2" }).raisedMs).toBe(2000);
  });

  test("also where the power cut came before the database was renamed: it gets its journal back", async () => {
    const first = bench.start({ fsyncMs: 1_000_000 });
    fill(first, 300);
    const names = ["", "-wal"].map((suffix) => `${bench.path}${suffix}`);
    const kept = names.map((name) => readFileSync(name));
    await bench.stop(first);
    for (const [i, name] of names.entries()) writeFileSync(name, kept[i] as Buffer);
    // A replacement that has begun: the fresh file is whole, the journal has its new name.
    const aside = `${bench.path}.corrupt-2026`;
    renameSync(`${bench.path}-wal`, `${aside}-wal`);
    const fresh = new DatabaseSync(`${bench.path}.fresh`);
    const list = JSON.stringify([{ file: "outbox.db.corrupt-2026", after: 0, recovered: 0, unreadable: 0 }]);
    fresh.exec(`CREATE TABLE meta (key TEXT, value ANY); INSERT INTO meta VALUES ('recovering', '${list}')`);
    fresh.close();
    const outbox = bench.start();
    expect(outbox.stats()).toMatchObject({ pendingRecords: 300, setAsideRecords: 0 });
    expect(outbox.identity.box).toBe(first.identity.box);
    expect(damaged()).toEqual([]);
  });

  test("also where the power cut came between the two renames", async () => {
    const first = bench.start();
    fill(first, 10);
    await bench.stop(first);
    copyFileSync(bench.path, `${bench.path}.fresh`);
    writeFileSync(`${bench.path}-wal`, "of the damaged file");
    const { box } = first.identity;
    const moved = readFileSync(bench.path);
    renameSync(bench.path, `${bench.path}.corrupt-2026`);
    const outbox = bench.start();
    expect(outbox.identity.box).toBe(box);
    expect(outbox.stats().pendingRecords).toBe(10);
    expect(readFileSync(`${bench.path}.corrupt-2026`)).toEqual(moved);
  });

  test("and two of them are kept within maxBytes, the last one always", async () => {
    const old = ["2026-01-01", "2026-01-02", "2026-01-03"].map((day) => `outbox.db.corrupt-${day}`);
    // Of a clock that was ahead.
    old.push("outbox.db.corrupt-2999-01-01");
    const damage = async (maxBytes: number): Promise<void> => {
      await bench.stop(bench.start());
      edit((bytes) => bytes.fill(0, 0, 4096));
      await bench.stop(bench.start({ maxBytes }));
    };
    for (const name of old) writeFileSync(`${bench.folder}/${name}`, Buffer.alloc(1000));
    writeFileSync(`${bench.folder}/${old[0]}-wal`, "");
    await damage(1e9);
    expect(damaged().toReversed()).toEqual([old[3], expect.stringMatching(/corrupt-/)]);
    await damage(1000);
    expect(damaged()).toEqual([expect.not.stringMatching(/2026-01-0|2999/)]);
  });
});

describe("a file that is no database", () => {
  test.each([
    ["of a person, is left alone", (): void => writeFileSync(bench.path, Buffer.alloc(50_000, 7)), false],
    ["of a few bytes, is left alone", (): void => writeFileSync(bench.path, "notes"), false],
    ["whose first page was never written, is replaced", (): void => edit((bytes) => bytes.fill(0, 0, 4096)), true],
    ["whose header alone is torn, is replaced", (): void => edit((bytes) => bytes.fill(7, 0, 100)), true],
    [
      "beside which the reserve of an outbox lies, is replaced",
      (): void => {
        writeFileSync(bench.path, Buffer.alloc(50_000, 7));
        writeFileSync(`${bench.path}-reserve`, "");
      },
      true,
    ],
  ])("%s", async (_what, damage, isOurs) => {
    await bench.stop(bench.start());
    rmSync(`${bench.path}-reserve`);
    damage();
    const before = readFileSync(bench.path);
    if (isOurs) {
      expect(bench.start().write("press", [sample(1)])).toBeDefined();
      expect(readFileSync(`${bench.folder}/${damaged()[0]}`)).toEqual(before);
      return;
    }
    expect(() => bench.start()).toThrow(expect.objectContaining({ code: "OUTBOX_FOREIGN_FILE" }));
    expect(readFileSync(bench.path)).toEqual(before);
    expect(damaged()).toEqual([]);
  });
});
