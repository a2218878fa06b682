import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import type { Readable } from "node:stream";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ledger, LoggedResult } from "../ledger.ts";
import { figure, ledgerSuite } from "../ledger-suite.ts";
import { openLedger } from "./ledger.ts";
import { migrate, migrations } from "./schema.ts";

const log = pino({ level: "silent" });

ledgerSuite("SQLite", () => {
  const folder = mkdtempSync(join(tmpdir(), "ledger-"));
  const opened: Ledger[] = [];
  return {
    open: () => {
      const ledger = openLedger({ path: join(folder, "ledger.sqlite"), log });
      opened.push(ledger);
      return ledger;
    },
    dispose: () => {
      for (const ledger of opened) ledger.close();
      rmSync(folder, { recursive: true });
    },
  };
});

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ledger-"));
  path = join(folder, "ledger.sqlite");
});
afterEach(() => rmSync(folder, { recursive: true }));

function withDatabase<T>(work: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(path);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

describe("several processes on one file", () => {
  type Writer = ChildProcessByStdio<null, Readable, null>;
  function writer(id: string, transactions: number): Writer {
    const script = join(import.meta.dirname, "test-writer.ts");
    return spawn(process.execPath, [script, path, id, String(transactions)], { stdio: ["ignore", "pipe", "inherit"] });
  }
  /** Every change number of the file, sorted, with what it belongs to. */
  function changes(ledger: Ledger): number[] {
    const query = { level: "factory", period: "hour", fromMs: 0, toMs: 1, limit: 100 } as const;
    const current = ledger.readResults(query);
    const old = current.flatMap((key) => ledger.history(key));
    return [...current, ...old].map((r: LoggedResult) => r.change).sort((a, b) => a - b);
  }

  it("numbers changes without gaps and loses no update when two write at once", async () => {
    // Neither has made the file yet: they race for the migration, too.
    const writers = ["a", "b", "c"].map((id) => writer(id, 200));
    for (const { stdout } of writers) stdout.resume();
    const exits = await Promise.all(writers.map((w) => once(w, "close")));
    expect(exits.map(([code]) => code)).toEqual([0, 0, 0]);
    const ledger = openLedger({ path, log });
    expect(ledger.getNumber("count")).toBe(600);
    const shared = figure({ entity: "shared", startMs: 0 });
    const revisions = [...ledger.history(shared), ledger.readResult(shared)];
    expect(revisions.map((r) => r?.revision)).toEqual(Array.from({ length: 600 }, (_, i) => i + 1));
    const turns = revisions.filter((r, i) => i > 0 && r?.value?.[0] !== revisions[i - 1]?.value?.[0]);
    expect(turns.length, "the writers did write at the same time").toBeGreaterThan(5);
    // Every transaction takes two numbers; those of the replaced provisional figures are gone from the tables.
    expect(revisions.map((r) => Math.ceil((r?.change ?? 0) / 2))).toEqual(revisions.map((r) => r?.revision));
    const numbers = changes(ledger);
    expect(numbers).toHaveLength(603);
    expect(new Set(numbers).size).toBe(603);
    expect(numbers.at(-1)).toBe(1200);
    ledger.close();
  });

  it("is whole after a kill in the middle of writing", async () => {
    for (let round = 0; round < 3; round += 1) {
      const child = writer(`w${round}`, 1_000_000);
      let told = -1;
      for await (const line of createInterface(child.stdout)) {
        if (line !== "open") told = Number(line);
        if (told === 20) child.kill("SIGKILL");
      }
      const ledger = openLedger({ path, log });
      const count = ledger.getNumber("count") as number;
      const shared = figure({ entity: "shared", startMs: 0 });
      // What was told is there; at most the one transaction in flight is there beyond it. Number, figure and history agree.
      expect(Number(ledger.readResult({ ...shared, entity: `w${round}` })?.value)).toBeGreaterThanOrEqual(told);
      expect(ledger.readResult(shared)?.revision).toBe(count);
      expect(ledger.history(shared)).toHaveLength(count - 1);
      expect(changes(ledger).at(-1)).toBe(2 * count);
      ledger.close();
      expect(withDatabase((db) => db.prepare("PRAGMA integrity_check").get())).toEqual({ integrity_check: "ok" });
    }
  });
});

describe("the file", () => {
  it("is durable (WAL, FULL), private to its user, and holds no secret", () => {
    const secret = "correct horse battery";
    const lines: string[] = [];
    const ledger = openLedger({ path, log: pino({ level: "trace" }, { write: (line) => lines.push(line) }) });
    ledger.setCredential({ kind: "host", name: "ingest" }, secret);
    ledger.authenticate("host", "ingest", `${secret}!`);
    const files = readdirSync(folder).map((name) => join(folder, name));
    expect(files).toContain(`${path}-wal`);
    for (const file of files) {
      expect(statSync(file).mode & 0o077, file).toBe(0);
      expect(readFileSync(file).includes(secret), file).toBe(false);
    }
    ledger.close();
    expect(withDatabase((db) => db.prepare("PRAGMA journal_mode").get())).toEqual({ journal_mode: "wal" });
    expect(lines.some((line) => line.includes("ledger migrated"))).toBe(true);
    expect(lines.join("")).not.toContain(secret);
  });

  it("gives every credential its own salt, and a known secret no known hash", () => {
    const ledger = openLedger({ path, log });
    for (const name of ["a", "b"]) ledger.setCredential({ kind: "host", name }, "same secret");
    ledger.close();
    const hashes = withDatabase((db) => db.prepare("SELECT hash FROM credential").all()).map((row) =>
      Buffer.from(row.hash as Uint8Array).toString("hex"),
    );
    expect(new Set(hashes).size).toBe(2);
  });

  it("checks a known name and an unknown one at the same cost, and a repeated one for next to nothing", () => {
    const ledger = openLedger({ path, log });
    ledger.setCredential({ kind: "host", name: "known" }, "the right secret");
    const medianMs = (attempt: (i: number) => unknown) => {
      const times = Array.from({ length: 15 }, (_, i) => {
        const from = performance.now();
        attempt(i);
        return performance.now() - from;
      });
      return times.sort((a, b) => a - b)[7] as number;
    };
    const wrong = medianMs((i) => ledger.authenticate("host", "known", `wrong secret ${i}`));
    const unknown = medianMs((i) => ledger.authenticate("host", `unknown-${i}`, "the right secret"));
    ledger.authenticate("host", "known", "the right secret");
    const repeated = medianMs(() => ledger.authenticate("host", "known", "the right secret"));
    expect(unknown / wrong).toBeGreaterThan(0.4);
    expect(unknown / wrong).toBeLessThan(2.5);
    expect(repeated).toBeLessThan(wrong / 5);
    ledger.close();
  });

  it("is refused when a newer release wrote it, and left as it is", () => {
    openLedger({ path, log }).close();
    withDatabase((db) => db.exec(`PRAGMA user_version = ${migrations.length + 1}`));
    expect(() => openLedger({ path, log })).toThrow(expect.objectContaining({ code: "LEDGER_NEWER", address: path }));
    expect(withDatabase((db) => db.prepare("PRAGMA user_version").get())).toEqual({
      user_version: migrations.length + 1,
    });
  });

  it("is refused when it is not a ledger, or its folder is missing", () => {
    const code = (name: string) => expect.objectContaining({ code: name });
    expect(() => openLedger({ path: join(folder, "missing", "x"), log })).toThrow(code("LEDGER_UNREADABLE"));
    withDatabase((db) => db.exec("CREATE TABLE other (a)"));
    expect(() => openLedger({ path, log })).toThrow(code("LEDGER_FOREIGN"));
    writeFileSync(
      path,
      "this is not a database, and it is long enough to have a header of some hundred bytes".repeat(9),
    );
    expect(() => openLedger({ path, log })).toThrow(code("LEDGER_UNREADABLE"));
  });
});

describe("migration", () => {
  it("takes an older ledger forward with its contents, once", () => {
    const ledger = openLedger({ path, log });
    ledger.writeResults([figure()]);
    ledger.close();
    const steps = [...migrations, "CREATE TABLE added (a); INSERT INTO added VALUES (1)"];
    withDatabase((db) => {
      expect(migrate(db, path, steps)).toBe(migrations.length);
      expect(migrate(db, path, steps)).toBe(steps.length);
      expect(db.prepare("SELECT count(*) AS n FROM added").get()).toEqual({ n: 1 });
      expect(db.prepare("SELECT count(*) AS n FROM result").get()).toEqual({ n: 1 });
    });
  });

  it("leaves the old version when a step fails", () => {
    openLedger({ path, log }).close();
    withDatabase((db) => {
      const steps = [...migrations, "CREATE TABLE added (a); INSERT INTO absent VALUES (1)"];
      expect(() => migrate(db, path, steps)).toThrow("absent");
      expect(db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'added'").get()).toEqual({ n: 0 });
    });
    openLedger({ path, log }).close();
  });
});
