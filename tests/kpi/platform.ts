/** The product under proof, without its network: ingest's receiver and writer, a real store, a ledger and the KPI engine, on a clock that is set. */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Result } from "@jilian/domain/result.ts";
import { commitBook } from "@jilian/ingest/commit-book.ts";
import { createEngine, type Engine } from "@jilian/ingest/kpi/engine.ts";
import { ledgerNotes } from "@jilian/ingest/ledger-notes.ts";
import { liveWriter } from "@jilian/ingest/live-writer.ts";
import { nodeWatch } from "@jilian/ingest/node-watch.ts";
import { type RecordQueue, recordQueue } from "@jilian/ingest/queue.ts";
import { createReceiver } from "@jilian/ingest/receive.ts";
import { always, type ManualClock, silent } from "@jilian/ingest/test-world.ts";
import { startWriter } from "@jilian/ingest/write.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { openInfluxTelemetry } from "@jilian/store/influx/telemetry.ts";
import { settingOf } from "@jilian/store/influx/test-setting.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { createLiveState, type LiveState } from "@jilian/store/live.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { OwnedTelemetry } from "@jilian/store/thread/owner.ts";
import type { Message } from "./feed.ts";

export type PlatformOptions = {
  file: RegistryFile;
  clock: ManualClock;
  /** Address of an InfluxDB; DuckDB in a temporary folder without. */
  influxUrl?: string;
  /** Transactions folded in one tick. */
  txPerTick?: number;
  factoriesPerTick?: number;
  rowsPerTick?: number;
  /** Machine time between two looks at provisional figures; 500 ms if absent. `settle` looks at all of them. */
  provisionalIntervalMs?: number;
};

export type Platform = {
  readonly telemetry: () => OwnedTelemetry;
  readonly ledger: () => Ledger;
  readonly live: () => LiveState;
  /** Hands messages to ingest; resolves when the store has confirmed every record among them. */
  readonly deliver: (messages: readonly Message[]) => Promise<void>;
  readonly tick: (options?: { thorough?: boolean }) => Promise<{ results: Result[]; caughtUp: boolean }>;
  /** Ticks until every figure is up to date with what is stored. @returns how many it took */
  readonly settle: () => Promise<number>;
  /** Ends ingest, with or without the store's thread, and starts it again: it knows of no session any more. */
  readonly restartIngest: (withStore?: boolean) => Promise<void>;
  readonly restartEngine: () => Promise<void>;
  /** Begins a ledger without figures, so that everything is computed again from the store. */
  readonly forgetFigures: () => Promise<void>;
  /** Bytes of the embedded store's files. */
  readonly storeBytes: () => number;
  readonly close: () => Promise<void>;
};

type Ingest = { deliver: Platform["deliver"]; live: LiveState; close: () => Promise<void> };

/** Samples handed over at once: a fifth of what the queue holds. */
const queueSamples = 500_000;
const messagesAtOnce = 5000;

/** Counts what has gone into the queue and what the store has confirmed of it. */
function tally() {
  let [queued, stored] = [0, 0];
  let waiting: { at: number; done: () => void } | undefined;
  return {
    over: (queue: RecordQueue): RecordQueue => ({
      ...queue,
      push: (record) => {
        const taken = queue.push(record);
        if (!taken) throw new Error("the queue of the proof is too small");
        queued += 1;
        return taken;
      },
    }),
    stored: (records: number): void => {
      stored += records;
      if (waiting && stored >= waiting.at) waiting.done();
    },
    all: async (): Promise<void> => {
      if (stored >= queued) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = { at: queued, done: resolve };
      await promise;
      waiting = undefined;
    },
  };
}

async function startIngest(telemetry: OwnedTelemetry, ledger: Ledger, options: PlatformOptions): Promise<Ingest> {
  const { clock } = options;
  const log = silent;
  const live = createLiveState();
  const notes = ledgerNotes({ ledger, clock, log });
  const book = commitBook(await telemetry.committed());
  const writer = liveWriter(live, { notes, registry: indexRegistry(options.file), clock });
  writer.seed(await telemetry.series(), await telemetry.latest());
  const counted = tally();
  const queue = counted.over(recordQueue(queueSamples));
  const receiver = createReceiver({
    queue,
    book,
    live: writer,
    watch: nodeWatch({ ledger, book, notes, clock, log }),
    clock,
    log,
    // Longer than the storing of what is delivered together may take: what is shuffled lies within one delivery.
    reorderMs: 600_000,
    rebirthIntervalMs: 0,
    requestRebirth: (group, node) => {
      throw new Error(`births of ${group}/${node} are asked for: the proof has sent a message out of turn`);
    },
  });
  const bus = { onMessage: () => () => undefined, publish: async () => undefined };
  const onStored = (records: readonly unknown[]) => counted.stored(records.length);
  const own = { queue, book, telemetry, notes, live: writer, bus, clock, log };
  const storing = startWriter({ ...own, batchSamples: 20_000, lingerMs: 0, onStored });
  return {
    live,
    deliver: async (messages) => {
      for (const [i, { topic, payload }] of messages.entries()) {
        receiver.handle(topic, payload);
        if (i % messagesAtOnce === messagesAtOnce - 1) await counted.all();
      }
      await counted.all();
    },
    close: async () => {
      receiver.close();
      await storing.close();
    },
  };
}

/** Opens everything anew, the stores empty. */
export async function openPlatform(options: PlatformOptions): Promise<Platform> {
  const { clock, influxUrl, txPerTick = 1000, factoriesPerTick, rowsPerTick, provisionalIntervalMs = 500 } = options;
  const folder = mkdtempSync(join(tmpdir(), "jilian-kpi-"));
  const database = `kpi_${Math.random().toString(36).slice(2)}`;
  let ledgers = 0;
  const newLedger = () => openLedger({ path: join(folder, `ledger-${ledgers++}.sqlite`), log: silent });
  const openStore = (): Promise<OwnedTelemetry> =>
    influxUrl === undefined
      ? openTelemetry({ path: join(folder, "t.duckdb"), memoryLimitMb: 512, threads: 2, log: silent })
      : openInfluxTelemetry({ ...settingOf(influxUrl, database), log: silent });
  const makeEngine = (): Promise<Engine> =>
    createEngine({
      telemetry,
      ledger,
      versions: always(indexRegistry(options.file)),
      clock,
      provisionalIntervalMs,
      txPerTick,
      ...(factoriesPerTick !== undefined && { factoriesPerTick }),
      ...(rowsPerTick !== undefined && { rowsPerTick }),
      onCountFailed: (error) => {
        throw error;
      },
      countPatienceMs: 60_000,
    });
  let telemetry = await openStore();
  let ledger = newLedger();
  let ingest = await startIngest(telemetry, ledger, options);
  let engine = await makeEngine();

  async function restartEngine(): Promise<void> {
    await engine.close();
    engine = await makeEngine();
  }

  return {
    telemetry: () => telemetry,
    ledger: () => ledger,
    live: () => ingest.live,
    deliver: (messages) => ingest.deliver(messages),
    tick: (asked) => engine.tick(asked),
    settle: async () => {
      for (let ticks = 1; ; ticks += 1) if ((await engine.tick({ thorough: true })).caughtUp) return ticks;
    },
    restartIngest: async (withStore = false) => {
      await ingest.close();
      if (withStore) {
        await engine.close();
        await telemetry.close();
        telemetry = await openStore();
        engine = await makeEngine();
      }
      ingest = await startIngest(telemetry, ledger, options);
    },
    restartEngine,
    forgetFigures: async () => {
      await ingest.close();
      const births = ledger.firstBirths();
      await engine.close();
      ledger.close();
      ledger = newLedger();
      for (const birth of births) ledger.noteBirth(birth);
      ingest = await startIngest(telemetry, ledger, options);
      engine = await makeEngine();
    },
    storeBytes: () => {
      const own = readdirSync(folder).filter((name) => name.startsWith("t.duckdb"));
      return own.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    },
    close: async () => {
      await ingest.close();
      await engine.close();
      await telemetry.close();
      ledger.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
