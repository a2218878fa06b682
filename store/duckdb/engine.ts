import type { DuckDBConnection } from "@duckdb/node-api";
import { JilianError } from "@jilian/domain/errors.ts";
import { greatestOf } from "@jilian/domain/lists.ts";
import { packResults } from "../columns/packing.ts";
import type { Engine, RunningEngine } from "../thread/engine.ts";
import { storeFailed } from "../thread/faults.ts";
import { openCommitBook } from "./commits.ts";
import { openDatabase, type Setting } from "./database.ts";
import {
  lastResultMs,
  lastVersion,
  readConnections,
  readLeaves,
  readResults,
  readRollups,
  readStates,
  storeLeaves,
  storeResults,
  storeRollups,
} from "./derived.ts";
import { isFatal } from "./faults.ts";
import { createLanes, type Lanes } from "./lanes.ts";
import { openLatestBook } from "./latest.ts";
import { readNeighbours, readWindows } from "./neighbours.ts";
import { readChanged, readCounts, readOnline, readWindow } from "./reads.ts";
import { migrate } from "./schema.ts";
import { openSeriesBook } from "./series.ts";
import { type Books, createWriter, type Writer } from "./write.ts";

/** Reads run beside the writer and each other; more would only queue for DuckDB's threads and for the pool of libuv. */
const readers = 2;

type Memory = Books & { writer: Writer; version: number; lastResultMs: number };

async function openMemory(connection: DuckDBConnection): Promise<Memory> {
  const series = await openSeriesBook(connection);
  const commits = await openCommitBook(connection);
  const latest = await openLatestBook(connection);
  const books = { series, commits, latest };
  const writer = createWriter(connection, books);
  return { ...books, writer, version: await lastVersion(connection), lastResultMs: await lastResultMs(connection) };
}

type Access = {
  /** Runs work as the writer, alone. */
  writing: <T>(action: string, work: (memory: Memory, connection: DuckDBConnection) => Promise<T>) => Promise<T>;
  reading: <T>(action: string, work: (connection: DuckDBConnection) => Promise<T>) => Promise<T>;
  /** What the writer knows, without waiting for it. */
  knowing: <T>(look: (memory: Memory) => T) => Promise<T>;
  /** Rejects what waits, lets what runs end and, if all is well, saves and checkpoints. */
  close: (well: boolean) => Promise<void>;
};

function createAccess(
  writers: Lanes,
  readLanes: Lanes,
  initial: Memory,
  onFatal: (error: JilianError) => void,
): Access {
  let memory: Memory | undefined = initial;

  function failed(thrown: unknown, action: string): JilianError {
    const error = storeFailed(thrown, action);
    if (isFatal(thrown)) onFatal(error);
    return error;
  }

  const writing: Access["writing"] = (action, work) =>
    writers.run(async (connection) => {
      try {
        memory ??= await openMemory(connection);
        return await work(memory, connection);
      } catch (thrown) {
        // Of a failed COMMIT nobody knows what reached the disk: what is stored is read again before the next write.
        if (!(thrown instanceof JilianError)) memory = undefined;
        throw failed(thrown, action);
      }
    });

  return {
    writing,
    reading: (action, work) =>
      readLanes.run(async (connection) => {
        try {
          return await work(connection);
        } catch (thrown) {
          throw failed(thrown, action);
        }
      }),
    knowing: async (look) => (memory ? look(memory) : await writing("read the store's state", async (m) => look(m))),
    close: async (well) => {
      const readsEnded = readLanes.close();
      await writers.close(async (connection) => {
        await readsEnded;
        if (!well) return;
        await memory?.latest.save(true);
        await connection.run("CHECKPOINT");
      });
    },
  };
}

function calls({ writing, reading, knowing }: Access): Engine {
  return {
    ensureSeries: (wanted) => writing("store series", (memory) => memory.series.ensure(wanted)),
    redefineSeries: (wanted) =>
      writing("store series", async (memory) => {
        await memory.series.ensure(wanted.filter(memory.series.knows));
      }),
    series: () => knowing((memory) => memory.series.all()),
    seriesChanges: () => knowing((memory) => memory.series.mark()),
    write: (samples, commits) =>
      writing("write samples", async (memory) => {
        const outcome = await memory.writer.write(samples, commits);
        await memory.commits.compact();
        await memory.latest.save(false);
        return outcome;
      }),
    committed: () => knowing((memory) => memory.commits.all()),
    lastTx: () => knowing((memory) => memory.writer.lastTx()),
    read: (window, limit) => reading("read samples", (connection) => readWindow(connection, window, limit)),
    readMany: (windows) => reading("read windows", (connection) => readWindows(connection, windows)),
    readWithNeighbours: async (windows) => {
      const known = await knowing((memory) => memory.latest.usable(memory.series.last()));
      return await reading("read windows", (connection) => readNeighbours(connection, windows, known));
    },
    latest: () => knowing((memory) => memory.latest.all()),
    changedMinutes: (afterTx, upToTx) =>
      reading("read changed minutes", (connection) => readChanged(connection, afterTx, upToTx)),
    countSamples: (series, fromMs, toMs) =>
      reading("count samples", (connection) => readCounts(connection, series, fromMs, toMs)),
    onlineMs: (devices, fromMs, toMs) =>
      reading("read online time", (connection) => readOnline(connection, devices, fromMs, toMs)),
    writeLeaves: (leaves, connections, states) =>
      writing("write leaves", async (memory, connection) => {
        memory.version = await storeLeaves(connection, leaves, connections, states, memory.version);
      }),
    readLeaves: (series, fromMs, toMs) =>
      reading("read leaves", (connection) => readLeaves(connection, series, fromMs, toMs)),
    readStates: (series, fromMs, toMs) =>
      reading("read states", (connection) => readStates(connection, series, fromMs, toMs)),
    readConnections: (devices, fromMs, toMs) =>
      reading("read connections", (connection) => readConnections(connection, devices, fromMs, toMs)),
    writeRollups: (rows) =>
      writing("write rollups", async (memory, connection) => {
        memory.version = await storeRollups(connection, rows, memory.version);
      }),
    readRollups: (unit, keys, fromMs, toMs) =>
      reading("read rollups", (connection) => readRollups(connection, unit, keys, fromMs, toMs)),
    writeMinuteResults: (results) =>
      writing("write minute results", async (memory, connection) => {
        // Before they are committed, so that no reader is told of none that are.
        memory.lastResultMs = Math.max(memory.lastResultMs, greatestOf(results.startMs));
        memory.version = await storeResults(connection, results, memory.version);
      }),
    readMinuteResults: async (query) =>
      // What was published of a minute that has just ended is nothing: that needs no look at all that is stored.
      (await knowing((memory) => query.fromMs <= memory.lastResultMs))
        ? await reading("read minute results", (connection) => readResults(connection, query))
        : packResults([]),
    // No display reads this file: it has one owner, and that one serves figures from the ledger.
    showResults: async () => undefined,
  };
}

/**
 * Opens the store in this thread.
 * @param onFatal called when the database refuses everything from now on; the process should end and start again
 * @throws JilianError STORE_LOCKED, STORE_TOO_NEW, STORE_UNREADABLE
 */
export async function openEngine(setting: Setting, onFatal: (error: JilianError) => void): Promise<RunningEngine> {
  const database = await openDatabase(setting);
  const connections: DuckDBConnection[] = [];
  try {
    for (let i = 0; i < readers + 1; i += 1) connections.push(await database.connect());
    const [writer, ...rest] = connections as [DuckDBConnection, ...DuckDBConnection[]];
    const schemaVersion = await migrate(writer);
    const memory = await openMemory(writer);
    const access = createAccess(createLanes([writer]), createLanes(rest), memory, onFatal);
    return {
      engine: calls(access),
      found: { schemaVersion, series: memory.series.last(), lastTx: memory.writer.lastTx() },
      close: () => access.close(true).finally(() => database.close()),
      abandon: () => access.close(false).finally(() => database.close()),
    };
  } catch (thrown) {
    for (const connection of connections) connection.closeSync();
    await database.close();
    throw storeFailed(thrown, "open the telemetry store");
  }
}
