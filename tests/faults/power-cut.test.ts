import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { randomFrom } from "@jilian/domain/test-random.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildShim, canCutPower, mixed, type PowerCut, powerCut } from "./power-cut.ts";

let dir: string;
let cut: PowerCut;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "jilian-power-cut-"));
  file = join(dir, "files.sqlite");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Runs code in a process whose files are watched. */
function run(code: string): string {
  const env = { ...process.env, ...cut.env, FILE: file };
  const preamble = `const fs = require("node:fs"); const { FILE } = process.env; const { DatabaseSync } = require("node:sqlite");`;
  const args = ["--disable-warning=ExperimentalWarning", "-e", preamble + code];
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
  expect([stderr, status ?? signal]).toEqual(["", code.endsWith(sudden) ? "SIGKILL" : 0]);
  return stdout;
}
const sudden = `process.kill(process.pid, "SIGKILL");`;

describe.skipIf(!canCutPower())("a power cut", () => {
  beforeEach(() => {
    cut = powerCut(file, buildShim(dir), join(dir, "cut"));
    cut.settle();
  });

  it("takes back what was not synced, and names of files in a folder that was not", () => {
    run(`const fd = fs.openSync(FILE, "w+"); fs.writeSync(fd, "first"); fs.fsyncSync(fd);
      const folder = fs.openSync(${JSON.stringify(dir)}, "r"); fs.fsyncSync(folder);
      fs.writeSync(fd, " second"); const late = fs.openSync(FILE + "-wal", "w+"); fs.writeSync(late, "x"); fs.fdatasyncSync(late); ${sudden}`);
    expect(readFileSync(file, "utf8")).toBe("first second");
    expect(cut.syncedMs()).toBeGreaterThan(0);
    expect(cut.strike()).toBe(2);
    expect(readFileSync(file, "utf8")).toBe("first");
    expect(existsSync(`${file}-wal`)).toBe(false);
    expect(cut.strike()).toBe(0);
    // What stands at the next start is what the medium holds.
    cut.settle();
    expect(cut.syncedMs()).toBe(0);
    run(`fs.writeSync(fs.openSync(FILE, "a"), " third"); ${sudden}`);
    cut.strike();
    expect(readFileSync(file, "utf8")).toBe("first");
  });

  it("keeps of a database what its last sync holds, whatever part of the rest survives", () => {
    run(`const db = new DatabaseSync(FILE); db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
      db.exec("CREATE TABLE t (n INTEGER PRIMARY KEY, x TEXT)"); const insert = db.prepare("INSERT INTO t VALUES (?, ?)");
      for (let n = 1; n <= 200; n += 1) { insert.run(n, "x".repeat(300)); if (n === 120) fs.fdatasyncSync(fs.openSync(FILE + "-wal", "r+")); }
      ${sudden}`);
    const taken = new Map(
      readdirSync(dir)
        .filter((n) => n.startsWith("files"))
        .map((n) => [n, readFileSync(join(dir, n))]),
    );
    expect(taken.size).toBe(2);
    const random = randomFrom(7);
    const found = new Set<number>();
    for (let round = 0; round < 12; round += 1) {
      for (const [name, bytes] of taken) writeFileSync(join(dir, name), bytes);
      cut.strike(round === 0 ? undefined : random.below);
      const db = new DatabaseSync(file);
      const rows = Number(db.prepare("SELECT count(*) AS n FROM t").get()?.n);
      db.close();
      expect(rows).toBeGreaterThanOrEqual(120);
      found.add(rows);
    }
    expect(Math.min(...found)).toBe(120);
  });

  it("is seen by another boot id, and by no other end", () => {
    const read = `process.stdout.write(fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8"));`;
    const before = run(read);
    expect(before).toMatch(/^[0-9a-f-]{36}\n$/);
    cut.settle();
    expect(run(read)).toBe(before);
    cut.strike();
    expect(run(read)).not.toBe(before);
  });

  it("a full disk takes nothing that makes a file longer, and the rest; one that copies on write takes nothing", () => {
    run(`fs.writeFileSync(FILE, "12345678"); ${sudden}`);
    const code = `const fd = fs.openSync(FILE, "r+");
      const write = (text, at) => { try { return fs.writeSync(fd, text, at); } catch (error) { return error.code; } };
      console.log(write("ab", 2), write("9", 8));`;
    cut.fill("any");
    expect(run(code)).toBe("ENOSPC ENOSPC\n");
    expect(readFileSync(file, "utf8")).toBe("12345678");
    cut.fill("growth");
    expect(run(code)).toBe("2 ENOSPC\n");
    expect(readFileSync(file, "utf8")).toBe("12ab5678");
    cut.fill(undefined);
    expect(run(code)).toBe("2 1\n");
  });
});

it("torn writes leave whole sectors of before or after", () => {
  const random = randomFrom(3);
  const [before, after] = [Buffer.alloc(2048, 1), Buffer.alloc(4096, 2)];
  const kinds = new Set<number>();
  for (let i = 0; i < 50; i += 1) {
    const left = mixed(before, after, random.below) as Buffer;
    expect([2048, 4096]).toContain(left.length);
    for (let at = 0; at < left.length; at += 512) {
      const sector = new Set(left.subarray(at, at + 512));
      expect(sector.size).toBe(1);
      kinds.add([...sector][0] as number);
    }
  }
  expect([...kinds].sort()).toEqual([0, 1, 2]);
  expect(mixed(before, undefined, random.below)).toBe(before);
});
