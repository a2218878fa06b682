import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers/promises";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { figure } from "../ledger-suite.ts";
import { openLedger } from "./ledger.ts";
import { migrate, migrations } from "./schema.ts";

const log = pino({ level: "silent" });
let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ledger-log-"));
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

/** A file as the first release left it: its own statements, a figure with a revision behind it, a credential. */
function writeVersion1(): void {
  withDatabase((db) => {
    migrate(db, path, migrations.slice(0, 1));
    const columns =
      "period, level, start_ms, entity, indicator, end_ms, value, unit, lower_bound, status, revision, definition_version, registry_version, input_watermark, as_of_ms, simulated, change";
    const row = (value: string, status: string, revision: number, change: number) =>
      `('hour', 'factory', ${figure().startMs}, 'zhuji-1', 'energy.electricity', ${figure().endMs}, '${value}', 'kWh', 0, '${status}', ${revision}, 1, '0123456789ab', 41, 5, 1, ${change})`;
    db.exec(`INSERT INTO result_history (${columns}) VALUES ${row("1", "final", 0, 2)}`);
    db.exec(`INSERT INTO result (${columns}) VALUES ${row("2", "revised", 1, 3)}`);
    db.exec("UPDATE change_counter SET last = 3");
    db.exec("INSERT INTO credential VALUES ('api', 'county', x'00', x'00')");
  });
}

describe("a ledger of version 1", () => {
  it("is what the first release made: a released step is never edited", () => {
    const digest = createHash("sha256")
      .update(migrations[0] ?? "")
      .digest("hex");
    expect(digest).toBe("bca87b3452a831e333a0981427da90e11d0873c6748a86d436313a6f6887c30e");
  });

  it("is taken to the present version with its log, its revisions and its credentials", () => {
    writeVersion1();
    const ledger = openLedger({ path, log });
    expect(withDatabase((db) => db.prepare("PRAGMA user_version").get())).toEqual({ user_version: migrations.length });
    expect(ledger.changesAfter(0, 10).map((r) => [r.change, r.value])).toEqual([
      [2, "1"],
      [3, "2"],
    ]);
    const query = { level: "factory", period: "hour", fromMs: 0, toMs: figure().endMs, limit: 9 } as const;
    expect(ledger.readResultsAsOf({ ...query, asOfChange: 2 })).toMatchObject([{ value: "1", change: 2 }]);
    expect(ledger.credentials()).toEqual([{ kind: "api", name: "county", createdMs: null }]);
    ledger.writeResults([figure({ entity: "new" })]);
    expect(ledger.changeLog()).toMatchObject({ last: 4 });
    ledger.close();
  });

  it("gets a log with a name that it keeps, another one than a ledger made anew", () => {
    writeVersion1();
    const name = () => {
      const ledger = openLedger({ path, log });
      const { id } = ledger.changeLog();
      ledger.close();
      return id;
    };
    const first = name();
    expect(first).toMatch(/^[0-9a-f]{16}$/);
    expect(name()).toBe(first);
    rmSync(path);
    expect(name()).not.toBe(first);
  });
});

describe("a reader beside writers of other processes", () => {
  it("is given every change that stays, in order, none before one that is not there yet", async () => {
    const script = join(import.meta.dirname, "test-writer.ts");
    const writers = ["a", "b"].map((id) =>
      spawn(process.execPath, [script, path, id, "150"], { stdio: ["ignore", "pipe", "inherit"] }),
    );
    const ended = Promise.all(writers.map((w) => once(w, "close")));
    for (const { stdout } of writers) stdout.resume();
    let done = false;
    ended.then(() => (done = true));
    const ledger = openLedger({ path, log });
    const seen: number[] = [];
    let steps = 0;
    for (let last = false; !last; ) {
      last = done;
      const found = ledger.changesAfter(seen.at(-1) ?? 0, 7);
      seen.push(...found.map((r) => r.change));
      if (found.length > 0) steps += 1;
      if (found.length === 7) last = false;
      await setTimeout(1);
    }
    expect((await ended).map(([code]) => code)).toEqual([0, 0]);
    expect(steps).toBeGreaterThan(40);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    const kept = ledger.changesAfter(0, 10_000).map((r) => r.change);
    expect(kept.filter((change) => !seen.includes(change))).toEqual([]);
    expect(ledger.changeLog().last).toBe(600);
    // 300 revisions of the shared figure stay; what was seen beyond them and the two last looks was provisional then.
    expect(kept).toHaveLength(302);
    ledger.close();
  });

  it("finds its place in a long log by the index, and reads no more than it was asked for", () => {
    openLedger({ path, log }).close();
    const plan = withDatabase((db) =>
      db
        .prepare(
          "EXPLAIN QUERY PLAN SELECT change FROM result WHERE change > 5 UNION ALL SELECT change FROM result_history WHERE change > 5 ORDER BY change LIMIT 9",
        )
        .all()
        .map((row) => String(row.detail))
        .join("\n"),
    );
    expect(plan).toMatch(/result_change \(change>\?\)/);
    expect(plan).toMatch(/result_history_change \(change>\?\)/);
    expect(plan).not.toContain("TEMP B-TREE");
  });
});
