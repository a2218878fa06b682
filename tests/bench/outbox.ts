import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { parseArgs } from "node:util";
import { systemClock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { accountBook } from "@jilian/gateway/account-book.ts";
import type { StoredSample } from "@jilian/gateway/model.ts";
import { type OpenedOutbox, openOutbox } from "@jilian/gateway/outbox.ts";
import { encodeSamples } from "@jilian/gateway/outbox-record.ts";
import { pino } from "pino";

/**
 * What the gateway's outbox does on this machine: `npm run bench:outbox -- --records 1000000 --samples 10`. Prints one table; 7,000,000
 * records fill the default `outbox.maxBytes`, which is the largest backlog that there can be. Ratios to plain node:sqlite in the same run are
 * what can be compared between machines; a flash card adds its fsync, which blocks no write.
 */
const { values: args } = parseArgs({
  options: {
    records: { type: "string", default: "1000000" },
    samples: { type: "string", default: "10" },
    folder: { type: "string", default: tmpdir() },
    open: { type: "string" },
  },
});
const samplesPerRecord = Number(args.samples);
const definitions = Array.from({ length: samplesPerRecord }, (_, tag) => {
  return { name: `tag-${tag}`, datatype: DataType.Double, simulated: false };
});
/** Records that are written between two turns of the event loop, as polls of many devices do: timers run in between. */
const burst = 100;
const sliceRecords = 2500;
const startMs = 1_772_323_200_000;

function openAt(path: string, bootId = "bench"): OpenedOutbox {
  const owner = { group: "bench", node: "gateway" };
  const log = pino({ level: "warn" }, pino.destination(2));
  return openOutbox({ path, maxBytes: 1e12, fsyncMs: 500, ...owner, clock: systemClock, log, bootId });
}

/** Record i: values of a plant, doubles with two decimals and every fifth a 64-bit counter. */
function samplesOf(i: number): StoredSample[] {
  return Array.from({ length: samplesPerRecord }, (_, tag) => ({
    metricId: 1 + tag,
    value: tag % 5 === 4 ? BigInt(i) * 1000n : Math.round((20 + (i % 97) + tag / 7) * 100) / 100,
    status: 0,
    sourceTimeMs: startMs + i * 1000,
    gatewayTimeMs: startMs + i * 1000,
  }));
}

const seconds = (sinceMs: number): number => (performance.now() - sinceMs) / 1000;
const rssMb = (): number => process.memoryUsage.rss() / 1e6;
const sizeOf = (path: string): number =>
  ["", "-wal"].reduce((sum, suffix) => sum + (existsSync(path + suffix) ? statSync(path + suffix).size : 0), 0);

async function timed(records: number, each: (i: number) => void): Promise<number> {
  const sinceMs = performance.now();
  for (let i = 0; i < records; i += 1) {
    each(i);
    if (i % burst === burst - 1) await turn();
  }
  return seconds(sinceMs);
}

/** Counts the fsyncs of the group. */
async function countSyncs(): Promise<() => number> {
  const handle = await open(import.meta.filename, "r");
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const original = prototype.datasync;
  let count = 0;
  prototype.datasync = function (this: FileHandle) {
    count += 1;
    return original.call(this);
  };
  return () => count;
}

/** The floor: the same bytes into one table, one transaction each, the same journal; no counts, no states, no fsync by group. */
function openPlain(path: string): { insert: (i: number) => void; close: () => void } {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA locking_mode = EXCLUSIVE");
  db.exec("CREATE TABLE record (position INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT");
  const insert = db.prepare("INSERT INTO record VALUES (?, ?)");
  return { insert: (i) => void insert.run(i, encodeSamples(samplesOf(i))), close: () => db.close() };
}

/** Both in turn, so that a machine that others load gives both the same. @returns how fast the outbox is to the floor */
async function ratioToPlain(folder: string): Promise<number> {
  const plain = openPlain(join(folder, "plain.db"));
  const outbox = openAt(join(folder, "ratio.db"));
  const spent = { plain: 0, outbox: 0 };
  for (let slice = 0; slice < 40; slice += 1) {
    const first = slice * sliceRecords;
    spent.plain += await timed(sliceRecords, (i) => plain.insert(first + i));
    spent.outbox += await timed(sliceRecords, (i) => void outbox.write("press", samplesOf(first + i)));
  }
  plain.close();
  await outbox.close();
  return spent.plain / spent.outbox;
}

/** Bytes that this process has written so far (Linux); NaN elsewhere. */
function writtenBytes(): number {
  try {
    return Number(/wchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1]);
  } catch {
    return Number.NaN;
  }
}

/** Bytes and CPU time of a record of one of twenty devices, with its account or without. */
async function accountCost(path: string, isCounted: boolean): Promise<{ bytes: number; us: number }> {
  const outbox = openAt(path);
  const devices = Array.from({ length: 20 }, (_, i) => `press-${i}`);
  const book = accountBook(outbox, isCounted ? devices : []);
  const records = 20_000;
  const [bytesBefore, cpuBefore] = [writtenBytes(), process.cpuUsage()];
  await timed(records, (i) => {
    const device = devices[i % devices.length] as string;
    const [samples, nowMs] = [samplesOf(i), startMs + i * 1000];
    book.count(device, nowMs, { scheduled: 1, answered: 1, polled: samplesPerRecord });
    book.queued(device, samples, nowMs);
    outbox.write(device, samples);
  });
  const cpu = process.cpuUsage(cpuBefore);
  const cost = { bytes: (writtenBytes() - bytesBefore) / records, us: (cpu.user + cpu.system) / records };
  await outbox.close();
  return cost;
}

/** Opens in a process of its own, as a gateway's start does; with `boot`, after a power cut. */
function openAlone(path: string, boot: string): { openMs: number; rssMb: number; pending: number } {
  const out = execFileSync(process.execPath, [import.meta.filename, "--open", `${boot}:${path}`], { encoding: "utf8" });
  return JSON.parse(out);
}

async function openChild(setting: string): Promise<void> {
  const [boot = "", path = ""] = setting.split(/:(.*)/s);
  const sinceMs = performance.now();
  const outbox = openAt(path, boot);
  outbox.newest();
  const openMs = performance.now() - sinceMs;
  process.stdout.write(JSON.stringify({ openMs, rssMb: rssMb(), pending: outbox.stats().pendingRecords }));
  await outbox.close();
}

function query(path: string, sql: string): number {
  const db = new DatabaseSync(path, { readOnly: true });
  const sinceMs = performance.now();
  db.prepare(sql).all();
  const ms = performance.now() - sinceMs;
  db.close();
  return ms;
}

/** Reads the whole backlog as the sender does. */
async function readBack(outbox: OpenedOutbox): Promise<number> {
  const sinceMs = performance.now();
  for (let after = 0; ; await turn()) {
    const last = outbox.pending(after, 64).at(-1);
    if (!last) return seconds(sinceMs);
    after = last.position;
  }
}

/** Records whose file is then damaged in one page. */
const damagedRecords = 30_000;
const pageBytes = 4096;

/** A file with one bad page, found where it is read. @returns how fast its records come back beside nothing else, and how many */
async function recovered(path: string): Promise<{ perS: number; share: number }> {
  const whole = openAt(path);
  whole.declare("press", definitions);
  await timed(damagedRecords, (i) => void whole.write("press", samplesOf(i)));
  await whole.close();
  const handle = await open(path, "r+");
  const page = Math.floor((await handle.stat()).size / pageBytes / 2);
  await handle.write(Buffer.alloc(pageBytes, 0xff), 0, pageBytes, page * pageBytes);
  await handle.close();
  const outbox = openAt(path);
  const sinceMs = performance.now();
  await readBack(outbox);
  while (outbox.recovering() > 0) await delay(20);
  const records = outbox.stats().pendingRecords;
  const took = seconds(sinceMs);
  await outbox.close();
  return { perS: records / took, share: records / damagedRecords };
}

async function shrink(path: string): Promise<number> {
  const sinceMs = performance.now();
  while (sizeOf(path) > 16e6) await delay(50);
  return seconds(sinceMs);
}

async function main(folder: string): Promise<void> {
  const records = Number(args.records);
  const samples = records * samplesPerRecord;
  const path = join(folder, "outbox.db");
  const rows: [string, string][] = [];
  const row = (what: string, value: number, digits = 0): void => {
    rows.push([what, value.toLocaleString("en-US", { maximumFractionDigits: digits })]);
  };
  const ratio = await ratioToPlain(folder);
  const [bare, counted] = [
    await accountCost(join(folder, "bare.db"), false),
    await accountCost(join(folder, "counted.db"), true),
  ];
  const syncs = await countSyncs();
  const outbox = openAt(path);
  outbox.declare("press", definitions);
  const before = syncs();
  const writeS = await timed(records, (i) => void outbox.write("press", samplesOf(i)));
  row("records written, records/s", records / writeS);
  row("the same, samples/s", samples / writeS);
  row("to a plain node:sqlite insert of the same bytes, ratio", ratio, 2);
  row("bytes written a record of one of 20 devices, without accounts", bare.bytes);
  row("the same with accounts", counted.bytes);
  row("CPU time of such a record without accounts, us", bare.us);
  row("the same with accounts", counted.us);
  row("fsyncs/s while writing (fsyncMs 500)", (syncs() - before) / writeS, 2);
  row("bytes a sample, as counted", outbox.stats().pendingBytes / samples, 1);
  row("bytes a sample, on disk", sizeOf(path) / samples, 1);
  row("backlog on disk, MB", sizeOf(path) / 1e6);
  row("RSS after writing, MB", rssMb());
  // A copy is a process that was killed: same boot. Another boot is a power cut.
  const copy = join(folder, "copy.db");
  const openCopy = (boot: string) => {
    for (const suffix of ["", "-wal"]) copyFileSync(path + suffix, copy + suffix);
    return openAlone(copy, boot);
  };
  const [killed, cut] = [openCopy("bench"), openCopy("another boot")];
  await outbox.close();
  row("open a backlog of that size after SIGKILL, ms", killed.openMs);
  row("open it after a power cut, ms", cut.openMs);
  const closed = openAlone(path, "bench");
  row("open it after an end in order, ms", closed.openMs);
  row("RSS then, MB", closed.rssMb);
  if ([closed, killed, cut].some(({ pending }) => pending !== records)) throw new Error("records are missing");
  rmSync(copy);
  row("what opening leaves out: quick_check of the file, ms", query(path, "PRAGMA quick_check(1)"));
  row(
    "what opening leaves out: sum over its records, ms",
    query(path, "SELECT count(*), sum(length(bytes)) FROM record"),
  );
  const again = openAt(path);
  const readS = await readBack(again);
  row("read back as the sender does, records/s", records / readS);
  const { epoch } = again.pending(0, 1)[0]?.record ?? { epoch: "" };
  const commitMs = performance.now();
  for (let i = 0; i < records; i += 500) {
    again.commit(epoch, [[i, i + 499]]);
    await turn();
  }
  const freeS = seconds(commitMs);
  row("freed by commits of 500, records/s", records / freeS);
  row("drained, both together and nothing else, records/s", records / (readS + freeS));
  row("file back below 16 MB after that, s", await shrink(path), 1);
  row("RSS at the end, MB", rssMb());
  await again.close();
  const { perS, share } = await recovered(join(folder, "damaged.db"));
  row("recovered from a file with one bad page, records/s", perS);
  row("the same, share of its records", share, 4);
  process.stdout.write(
    `\n${records.toLocaleString("en-US")} records of ${samplesPerRecord} samples\n\n| what | figure |\n|---|---:|\n`,
  );
  for (const [what, figure] of rows) process.stdout.write(`| ${what} | ${figure} |\n`);
}

if (args.open !== undefined) await openChild(args.open);
else {
  const folder = mkdtempSync(join(args.folder, "jilian-bench-outbox-"));
  try {
    await main(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
