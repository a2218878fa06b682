import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { DataType } from "@jilian/domain/datatypes.ts";
import { describe, expect, test, vi } from "vitest";
import type { OpenedOutbox } from "./outbox.ts";
import { bench, benchPerTest, recovered, sample } from "./test-outbox.ts";

benchPerTest();

const pageBytes = 4096;
const definitions = ["a", "b"].map((name) => ({ name, datatype: DataType.Double, simulated: false }));
/** No tick of its own comes in time: what a test sees is what it asked for. */
const still = { fsyncMs: 1_000_000 };

/** Writes records that are told apart by their value: from one number up to another. */
function fill(outbox: OpenedOutbox, from: number, to: number, text = "x".repeat(400)): void {
  const [a = 0] = outbox.declare("press", definitions);
  for (let i = from; i < to; i += 1) outbox.write("press", [sample(a, `${i} ${text}`)]);
}

function numbers(outbox: OpenedOutbox, limit = 100_000): number[] {
  return outbox.pending(0, limit).map(({ record }) => Number.parseInt(String(record.samples[0]?.value), 10));
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const ascending = (found: readonly number[]) => found.toSorted((a, b) => a - b);

/** The root page of a table. */
function rootOf(table: string, path = bench.path): number {
  const db = new DatabaseSync(path, { readOnly: true });
  const row = db.prepare("SELECT rootpage AS root FROM sqlite_schema WHERE name = ?").get(table);
  db.close();
  return Number(row?.root);
}

/** Pages of a kind by the first byte that SQLite gives them, but for those that hold a root. */
function pagesOf(kind: "leaf" | "interior", path = bench.path): number[] {
  const bytes = readFileSync(path);
  const roots = new Set(
    ["meta", "device", "metric", "epoch", "record", "set_aside"].map((table) => rootOf(table, path)),
  );
  return range(2, bytes.length / pageBytes + 1).filter(
    (page) => bytes[(page - 1) * pageBytes] === (kind === "leaf" ? 13 : 5) && !roots.has(page),
  );
}

function ruin(pages: readonly number[], path = bench.path): void {
  const bytes = readFileSync(path);
  for (const page of pages) bytes.fill(0xff, (page - 1) * pageBytes, page * pageBytes);
  writeFileSync(path, bytes);
}

/** The numbers whose records lie on pages, by the text of each. */
function numbersOn(pages: readonly number[], path = bench.path): number[] {
  const bytes = readFileSync(path);
  return pages.flatMap((page) => {
    const text = bytes.toString("latin1", (page - 1) * pageBytes, page * pageBytes);
    return [...text.matchAll(/(\d+) x{400}/g)].map((match) => Number(match[1]));
  });
}

function damaged(): string[] {
  return readdirSync(bench.folder).filter((name) => /\.corrupt-.*(?<!-wal|-shm)$/.test(name));
}

const salvaged = () => bench.lines.filter(({ code }) => code === "OUTBOX_SALVAGED");

describe("one page of a backlog is damaged", () => {
  test("met while running: all other records come out, each once, and new ones go on before them", async () => {
    await bench.stop(bench.start());
    const first = bench.start(still);
    fill(first, 0, 4000);
    await bench.stop(first);
    const [page = 0] = pagesOf("leaf").slice(60);
    const lost = numbersOn([page]);
    expect(lost.length).toBeGreaterThan(5);
    ruin([page]);
    const outbox = bench.start();
    const before = outbox.stats().setAsideRecords;
    // As the sender goes through what is pending: it meets the page.
    expect(numbers(outbox).length).toBeLessThan(4000);
    expect(outbox.recovering()).toBe(1);
    expect(outbox.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: before + 1 });
    fill(outbox, 4000, 4003);
    expect(numbers(outbox, 3)).toEqual([4000, 4001, 4002]);
    await recovered(outbox);
    expect(ascending(numbers(outbox))).toEqual(range(0, 4003).filter((i) => !lost.includes(i)));
    expect(outbox.stats()).toMatchObject({ setAsideRecords: before + lost.length, droppedSamples: 0 });
    expect(salvaged()).toMatchObject([{ recovered: 4000 - lost.length, unreadable: lost.length, file: damaged()[0] }]);
    // Under ids that can be sent and freed.
    const [{ record } = { record: undefined }] = outbox.pending(0, 1);
    expect(outbox.commit(record?.epoch ?? "", [[0, 1_000_000]])).toBe(4003 - lost.length);
    await bench.stop(outbox);
    const next = bench.start();
    expect(next.recovering()).toBe(0);
    expect(next.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: before + lost.length });
  });

  test("met at a start: all other records come out, by the names of their metrics", async () => {
    const first = bench.start({ ...still, bootId: "boot-1" });
    fill(first, 0, 4000);
    const [, b = 0] = first.declare("press", definitions);
    first.write("press", [sample(b, 7)]);
    const many = range(0, 300).map((i) => ({
      name: `m${i} ${"y".repeat(100)}`,
      datatype: DataType.Double,
      simulated: false,
    }));
    first.declare("wide", many);
    await bench.stop(first);
    const bytes = readFileSync(bench.path);
    const [page = 0] = pagesOf("leaf").slice(60);
    const lost = numbersOn([page]);
    const ofMetrics = pagesOf("leaf").filter((leaf) =>
      bytes.subarray((leaf - 1) * pageBytes, leaf * pageBytes).includes("m150 y"),
    );
    expect(ofMetrics.length).toBeGreaterThan(0);
    ruin([page, rootOf("meta"), ...ofMetrics]);
    // Who it was is lost, and its ids with a page of its metrics: in the fresh file they are given to others.
    const outbox = bench.start({ bootId: "boot-2" });
    outbox.declare("oven", definitions);
    await recovered(outbox);
    const ids = new Map(outbox.metrics().map(({ id, device, definition }) => [id, `${device}/${definition.name}`]));
    const found = outbox.pending(0, 10_000).map(({ record }) => record);
    expect(found.map(({ samples }) => ids.get(samples[0]?.metricId ?? 0))).toEqual([
      ...Array.from({ length: 4000 - lost.length }, () => "press/a"),
      "press/b",
    ]);
    expect(ascending(numbers(outbox).slice(0, -1))).toEqual(range(0, 4000).filter((i) => !lost.includes(i)));
    expect(outbox.stats()).toMatchObject({ pendingRecords: 4001 - lost.length, setAsideRecords: lost.length });
    expect(bench.codes().filter((code) => /OUTBOX_(CORRUPT|RECOVERING|SALVAGED)/.test(String(code)))).toEqual([
      "OUTBOX_CORRUPT",
      "OUTBOX_RECOVERING",
      "OUTBOX_SALVAGED",
    ]);
  });

  test("inside the tree: what its pages lead to is lost, all else comes out", async () => {
    const first = bench.start(still);
    fill(first, 0, 12_000);
    await bench.stop(first);
    const [page = 0] = pagesOf("interior");
    expect(page).toBeGreaterThan(0);
    ruin([page]);
    const outbox = bench.start();
    expect(numbers(outbox).length).toBeLessThan(12_000);
    await recovered(outbox);
    const found = numbers(outbox);
    expect(found.length).toBeGreaterThan(4000);
    expect(new Set(found).size).toBe(found.length);
    expect(outbox.stats().setAsideRecords).toBe(12_000 - found.length);
    expect(found).toContain(11_999);
  }, 30_000);
});

describe("a recovery", () => {
  /** A closed outbox of so many records whose pages are damaged, opened and not yet recovered. */
  async function met(records: number, pages: number, options = {}): Promise<{ outbox: OpenedOutbox; lost: number[] }> {
    const first = bench.start(still);
    fill(first, 0, records);
    await bench.stop(first);
    const ruined = pagesOf("leaf").slice(20, 20 + pages);
    const lost = numbersOn(ruined);
    ruin(ruined);
    const outbox = bench.start({ ...still, ...options });
    expect(numbers(outbox)).toHaveLength(0);
    return { outbox, lost };
  }

  test("that is killed in its midst goes on: nothing is lost and nothing doubled", async () => {
    const { outbox, lost } = await met(6000, 2, { fsyncMs: 5 });
    await vi.waitFor(() => expect(outbox.stats().pendingRecords).toBeGreaterThan(500), { interval: 1 });
    expect(outbox.recovering()).toBe(1);
    const before = outbox.stats().pendingRecords;
    const files = readdirSync(bench.folder).map((name) => [name, readFileSync(`${bench.folder}/${name}`)] as const);
    await bench.stop(outbox);
    for (const name of readdirSync(bench.folder)) rmSync(`${bench.folder}/${name}`);
    for (const [name, bytes] of files) writeFileSync(`${bench.folder}/${name}`, bytes);
    const next = bench.start();
    expect(next.stats().pendingRecords).toBe(before);
    await recovered(next);
    expect(ascending(numbers(next))).toEqual(range(0, 6000).filter((i) => !lost.includes(i)));
    expect(next.stats().setAsideRecords).toBe(lost.length);
  });

  test("goes on where the files that take its records are damaged too: none of them is deleted before", async () => {
    const { outbox, lost } = await met(3000, 1);
    let open = outbox;
    let next = 3000;
    for (let i = 2; i <= 3; i += 1) {
      fill(open, next, next + 400);
      next += 400;
      await bench.stop(open);
      const [page = 0] = pagesOf("leaf").slice(5);
      const more = numbersOn([page]);
      expect(more.length).toBeGreaterThan(5);
      lost.push(...more);
      ruin([page]);
      open = bench.start(still);
      expect(numbers(open)).toHaveLength(0);
      expect(open.recovering()).toBe(i);
    }
    expect(damaged()).toHaveLength(3);
    await bench.stop(open);
    const last = bench.start();
    await recovered(last);
    expect(ascending(numbers(last))).toEqual(range(0, next).filter((i) => !lost.includes(i)));
    expect(last.stats().setAsideRecords).toBe(lost.length);
  });

  test("waits while there is no room, and pushes out nothing that is newer", async () => {
    const maxBytes = 400_000;
    const { outbox, lost } = await met(800, 1, { maxBytes, fsyncMs: 5 });
    fill(outbox, 800, 1000);
    await vi.waitFor(() => expect(outbox.stats().pendingBytes).toBeGreaterThan(maxBytes / 2 - 1000));
    fill(outbox, 1000, 1300);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(outbox.stats()).toMatchObject({ droppedSamples: 0 });
    expect(outbox.recovering()).toBe(1);
    const sent = new Set<number>();
    for (const end = performance.now() + 10_000; outbox.recovering() > 0 && performance.now() < end; ) {
      for (const number of numbers(outbox)) sent.add(number);
      outbox.commit(outbox.epoch, [[0, 1_000_000]]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    for (const number of numbers(outbox)) sent.add(number);
    expect(ascending([...sent])).toEqual(range(0, 1300).filter((i) => !lost.includes(i)));
    expect(outbox.stats().droppedSamples).toBe(0);
  });

  test("carries what was set aside, as it was counted, also where its bytes cannot be read", async () => {
    const first = bench.start(still);
    fill(first, 0, 600);
    for (const offset of [3, 4, 5]) first.setAside({ epoch: first.epoch, offset }, "the store refuses it");
    await bench.stop(first);
    bench.tamper("UPDATE set_aside SET bytes = x'0102' WHERE position = 5");
    const [page = 0] = pagesOf("leaf").slice(20);
    const lost = numbersOn([page]);
    ruin([page]);
    const outbox = bench.start();
    expect(numbers(outbox)).toHaveLength(0);
    await recovered(outbox);
    expect(outbox.asides(10).map(({ reason, samples }) => [reason, samples.map(({ metric }) => metric)])).toEqual([
      ["the store refuses it", ["a"]],
      ["the store refuses it", []],
      ["the store refuses it", ["a"]],
    ]);
    expect(outbox.stats()).toMatchObject({ asideRecords: 3, setAsideRecords: 3 + lost.length });
    expect(outbox.replayAsides("all")).toBe(2);
    expect(outbox.stats().pendingRecords).toBe(597 - lost.length + 2);
  });

  test.each([
    ["of the file", 1, () => writeFileSync(bench.path, readFileSync(bench.path).fill(0xff))],
    ["of its records", 500, () => ruin([rootOf("record")])],
    [
      "of its records, and of where they end",
      1,
      () => ruin(["record", "device", "epoch"].map((table) => rootOf(table))),
    ],
  ])(
    "ends where nothing %s can be read, and counts what is known to have been there",
    async (_what, lost, damage) => {
      const first = bench.start(still);
      fill(first, 0, 500);
      await bench.stop(first);
      damage();
      const outbox = bench.start();
      await recovered(outbox);
      expect(outbox.stats()).toMatchObject({ pendingRecords: 0, setAsideRecords: lost });
      expect(outbox.write("press", [sample(1)])).toBeDefined();
      expect(salvaged()).toMatchObject([{ recovered: 0 }]);
      expect(damaged()).toHaveLength(1);
    },
    30_000,
  );
});
