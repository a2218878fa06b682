import type { JilianError } from "@jilian/domain/errors.ts";
import type { SampleColumns } from "../columns/columns.ts";
import {
  packConnections,
  packLeaves,
  packResults,
  packRollups,
  packStates,
  unpackConnections,
  unpackLeaves,
  unpackResults,
  unpackRollups,
  unpackStates,
} from "../columns/packing.ts";
import type { Window } from "../telemetry.ts";
import type { Engine, RunningEngine, WindowColumns } from "../thread/engine.ts";
import { storeFailed } from "../thread/faults.ts";
import { connectInflux, type InfluxClient } from "./client.ts";
import type { InfluxSetting } from "./config.ts";
import { readCounts } from "./counts.ts";
import { type Derived, derivedStore } from "./derived.ts";
import { openJournal } from "./journal.ts";
import { createLanes, type Lanes } from "./lanes.ts";
import { nearest, readNeighbours } from "./neighbours.ts";
import { newestBook } from "./newest.ts";
import { readOnline } from "./online.ts";
import { recentBook } from "./recent.ts";
import { sampleFields, samplesOf } from "./samples.ts";
import { prepareSchema } from "./schema.ts";
import { bySeries, openSeriesBook } from "./series.ts";
import { concat, type SampleReader, sampleReader } from "./spans.ts";
import { within } from "./text.ts";
import { type Books, createWriter, type Writer } from "./write.ts";

/** Reads run beside the writer and each other; more would only queue in InfluxDB. */
const readers = 3;
/** Rows of one answer to `read`. */
const rowsPerPage = 50_000;
/** Transactions after which the commit ranges are written merged. */
const snapshotEntries = 4_096;
/** Where the newest samples are sought first, measured from the newest of all: a living series is found there without a look at old data. */
const recentReachMs = 3_600_000;
/** Series that are rather asked for one by one than all together. */
const fewSeries = 200;

type Parts = { client: InfluxClient; books: Books; reader: SampleReader; writer: Writer; derived: Derived };

/** Rows of series' newest samples at or after a time: by one statement for all, or where few are left by one for each. */
async function newestSince(
  { client, books, reader }: Pick<Parts, "client" | "books" | "reader">,
  sought: ReadonlySet<number>,
  fromMs: number,
): Promise<SampleColumns[]> {
  const where = within(fromMs, Number.POSITIVE_INFINITY);
  if (sought.size <= fewSeries) {
    return await reader.pick([...sought].map((id) => ({ series: id, where, order: "DESC" as const, limit: 1 })));
  }
  const select = `SELECT ${sampleFields} FROM "sample" WHERE ${where} ${bySeries} ORDER BY time DESC LIMIT 1`;
  return (await client.query(select)).flatMap((block) => {
    const id = books.series.idOf(block.tags);
    return id === undefined ? [] : [samplesOf(id, [block])];
  });
}

/** Fills the memory: the newest sample of every series and the newest usable one, and that nothing newer is stored. */
async function seed(parts: Pick<Parts, "client" | "books" | "reader">): Promise<void> {
  const { series, newest, recent } = parts.books;
  const [found] = await parts.client.query(`SELECT "status" FROM "sample" ORDER BY time DESC LIMIT 1`);
  const newestMs = Number(found?.values[0]?.[0] ?? -1);
  const sought = new Set(series.all().map(({ id }) => id));
  for (const fromMs of newestMs < 0 ? [] : [newestMs - recentReachMs, 0]) {
    for (const rows of sought.size > 0 ? await newestSince(parts, sought, fromMs) : []) {
      if (rows.length === 0) continue;
      newest.note(rows, 0);
      sought.delete(rows.series[0] as number);
    }
  }
  const all = newest.all();
  const usable = newest.usable(series.last()).sourceMs;
  const edges = Array.from(all.series, (id, i) => ({ series: id, edgeMs: all.sourceMs[i] as number })).filter(
    ({ series: id }) => usable[id] === -1,
  );
  for (const rows of (await nearest(parts.reader, edges, "before")).values()) newest.note(rows, 0);
  const times = newest.newestMs(series.last());
  for (const { id } of series.all()) recent.begin(id, Math.max(0, times[id] as number));
  for (let i = 0; i < all.length; i += 1) recent.add(all, i);
}

async function readWindow({ reader }: Parts, { series, fromMs, toMs }: Window, limit: number) {
  const pages = [];
  let left = Math.max(0, limit);
  for (let from = fromMs; left > 0 && from < toMs; ) {
    const most = Math.min(left, rowsPerPage);
    const [page] = await reader.pick([{ series, where: within(from, toMs), limit: most }]);
    if (!page || page.length === 0) break;
    pages.push(page);
    left -= page.length;
    if (page.length < most) break;
    from = (page.sourceMs[page.length - 1] as number) + 1;
  }
  return concat(pages);
}

/** Rows of windows, one after the other. */
function columnsOf(found: readonly SampleColumns[]): WindowColumns {
  const counts = Int32Array.from(found, ({ length }) => length);
  const firsts = new Int32Array(found.length);
  for (let i = 1; i < firsts.length; i += 1) firsts[i] = (firsts[i - 1] as number) + (counts[i - 1] as number);
  return { rows: concat(found), firsts, counts };
}

function calls(parts: Parts, lanes: Record<"writing" | "deriving" | "reading", Lanes>): Engine {
  const { books, reader, writer, derived } = parts;
  const { series, journal, newest, recent } = books;
  const run = <T>(lane: Lanes, action: string, work: () => Promise<T>): Promise<T> =>
    lane.run(work).catch((thrown: unknown) => {
      throw storeFailed(thrown, action);
    });
  const reading = <T>(action: string, work: () => Promise<T>) => run(lanes.reading, action, work);
  return {
    ensureSeries: (wanted) =>
      run(lanes.writing, "store series", async () => {
        const before = series.last();
        const ids = await series.ensure(wanted);
        for (const id of ids) if (id > before) recent.begin(id, 0);
        return ids;
      }),
    redefineSeries: (wanted) =>
      run(lanes.writing, "store series", async () => {
        await series.ensure(wanted.filter(series.knows));
      }),
    series: async () => series.all(),
    seriesChanges: async () => series.mark(),
    write: (samples, commits) => run(lanes.writing, "write samples", () => writer.write(samples, commits)),
    committed: async () => journal.committed(),
    lastTx: async () => journal.lastTx(),
    read: (window, limit) => reading("read samples", () => readWindow(parts, window, limit)),
    readMany: (windows) => reading("read windows", async () => columnsOf(await reader.windows(windows))),
    readWithNeighbours: (windows) =>
      reading("read windows", () => readNeighbours(windows, reader, recent, newest.usable(series.last()))),
    latest: async () => newest.all(),
    changedMinutes: (afterTx, upToTx) => reading("read changed minutes", () => journal.changedMinutes(afterTx, upToTx)),
    countSamples: (ids, fromMs, toMs) =>
      reading("count samples", () => readCounts(parts.client, series, ids, fromMs, toMs)),
    onlineMs: (devices, fromMs, toMs) =>
      reading("read online time", () => readOnline(devices, fromMs, toMs, reader, recent)),
    writeLeaves: (leaves, connections, states) =>
      run(lanes.deriving, "write leaves", () =>
        derived.writeLeaves(unpackLeaves(leaves), unpackConnections(connections), unpackStates(states)),
      ),
    readLeaves: (ids, fromMs, toMs) =>
      reading("read leaves", async () => packLeaves(await derived.readLeaves(ids, fromMs, toMs))),
    readStates: (ids, fromMs, toMs) =>
      reading("read states", async () => packStates(await derived.readStates(ids, fromMs, toMs))),
    readConnections: (devices, fromMs, toMs) =>
      reading("read connections", async () => packConnections(await derived.readConnections(devices, fromMs, toMs))),
    writeRollups: (rows) => run(lanes.deriving, "write rollups", () => derived.writeRollups(unpackRollups(rows))),
    readRollups: (unit, keys, fromMs, toMs) =>
      reading("read rollups", async () => packRollups(await derived.readRollups(unit, keys, fromMs, toMs))),
    writeMinuteResults: (results) =>
      run(lanes.deriving, "write minute results", () => derived.writeResults(unpackResults(results))),
    readMinuteResults: (query) =>
      reading("read minute results", async () => packResults(await derived.readResults(query))),
    showResults: (results) => run(lanes.deriving, "show figures", () => derived.writeResults(unpackResults(results))),
  };
}

async function openParts(
  client: InfluxClient,
  { url, database, recentSamples }: InfluxSetting,
  onFatal: (error: JilianError) => void,
): Promise<Parts & { found: RunningEngine["found"] }> {
  const address = `${url}, database ${database}`;
  const schemaVersion = await prepareSchema(client, address);
  const journal = await openJournal(client, address, { snapshotEntries, onFenced: onFatal });
  const series = await openSeriesBook(client, journal.fence);
  const books = { series, journal, newest: newestBook(), recent: recentBook(recentSamples) };
  const reader = sampleReader(client, series);
  await seed({ client, books, reader });
  const writer = createWriter(client, books, reader);
  const derived = derivedStore(client, series);
  const found = { schemaVersion, series: series.all().length, lastTx: journal.lastTx() };
  return { client, books, reader, writer, derived, found };
}

/**
 * Opens the store in this thread.
 * @param onFatal called when another process has become the owner; this one should end
 * @throws JilianError STORE_UNREACHABLE, STORE_UNAUTHORISED, STORE_UNSUPPORTED, STORE_DATABASE_MISSING, STORE_RETENTION, STORE_TOO_NEW,
 * STORE_UNREADABLE
 */
export async function openInfluxEngine(
  setting: InfluxSetting,
  onFatal: (error: JilianError) => void,
): Promise<RunningEngine> {
  const client = await connectInflux(setting);
  try {
    const parts = await openParts(client, setting, onFatal);
    const lanes = { writing: createLanes(1), deriving: createLanes(1), reading: createLanes(readers) };
    const close = async (well: boolean) => {
      await Promise.all(Object.values(lanes).map((lane) => lane.close()));
      // Only saves a number at the next start.
      if (well && parts.writer.isSettled()) await parts.books.journal.writeClosed().catch(() => undefined);
      client.close();
    };
    return {
      engine: calls(parts, lanes),
      found: parts.found,
      close: () => close(true),
      abandon: () => close(false),
    };
  } catch (thrown) {
    client.close();
    throw storeFailed(thrown, "open the telemetry store");
  }
}
