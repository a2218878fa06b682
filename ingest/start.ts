import type { Clock } from "@jilian/domain/clock.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { rebirthMetric, topicOf } from "@jilian/domain/topics.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { count, dropResults, type LiveState, publishResults } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import type { Logger } from "pino";
import type { SparkplugBus } from "./bus.ts";
import { commitBook } from "./commit-book.ts";
import type { IngestConfig } from "./config.ts";
import { type KpiStats, startKpi } from "./kpi/start.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { liveWriter } from "./live-writer.ts";
import { nodeWatch } from "./node-watch.ts";
import { type QueuedRecord, recordQueue } from "./queue.ts";
import { createReceiver } from "./receive.ts";
import { startWriter } from "./write.ts";

export type IngestParts = {
  bus: SparkplugBus;
  telemetry: Telemetry;
  ledger: Ledger;
  /** Path of the ledger, for the KPI worker, which opens it itself. */
  ledgerPath: string;
  live: LiveState;
  registry: Registry;
  clock: Clock;
  /** The setting the clock was made from, for the KPI worker. */
  clockSetting: string | undefined;
  /** True where the telemetry store has one process as its user, as the embedded one has; false if absent. */
  isStoreOwned?: boolean;
  log: Logger;
  /** Told of each batch that the store has confirmed, and how long that took. */
  onStored?: (records: readonly QueuedRecord[], durationMs: number) => void;
};

export type IngestStats = { connected: boolean; queuedSamples: number; maxQueuedSamples: number; kpi: KpiStats };

export type Ingest = {
  /** Samples waiting for the store. */
  readonly queuedSamples: () => number;
  readonly stats: () => IngestStats;
  /** Brings leaves and results up to date with everything stored; resolves when they are. */
  readonly settle: () => Promise<void>;
  /** Resolves when a part of it ended that the figures need; readings are stored until then. */
  readonly failed: Promise<Error>;
  readonly close: () => Promise<void>;
};

/** How long results of ended minutes stay in the live cache. */
const keepResultsMs = 40 * 60_000;

/** Drops what is older from the live cache, once a minute: of hundreds of factories that is a walk over some hundred thousand figures. */
function dropsOld(live: LiveState, clock: Clock): () => void {
  let doneMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.now();
    if (Math.abs(nowMs - doneMs) < 60_000) return;
    doneMs = nowMs;
    dropResults(live, nowMs - keepResultsMs);
  };
}

/**
 * Starts the Sparkplug host application: receives, stores, commits, computes. It answers for nothing before the store has confirmed it.
 * @throws what the store throws when it cannot be read at start
 */
export async function startIngest(config: IngestConfig, parts: IngestParts): Promise<Ingest> {
  const { bus, telemetry, ledger, live, registry, clock, log } = parts;
  // The KPI thread takes the registry over time from the ledger.
  if (ledger.lastRegistryNumber() === 0)
    ledger.addRegistryVersion(versionOf(registry, { appliedMs: clock.now(), appliedBy: "ingest" }));
  const notes = ledgerNotes({ ledger, clock, log, onFailure: () => count(live, "ledgerFailures") });
  const book = commitBook(await telemetry.committed(), {
    onSetBack: (group, node, epoch) => {
      count(live, "setBacks");
      watch.setBack(group, node, epoch);
    },
  });
  const watch = nodeWatch({ ledger, book, notes, clock, log });
  const writer = liveWriter(live, { notes, registry, clock });
  writer.seed(await telemetry.series(), await telemetry.latest());
  const queue = recordQueue(config.queueSamples);
  const kpi = await startKpi(config, {
    ...{ ...parts, keepResultsMs },
    onResults: (results) => publishResults(live, results),
    onTicked: dropsOld(live, clock),
  });
  const receiver = createReceiver({
    queue,
    book,
    live: writer,
    watch,
    clock,
    log,
    reorderMs: config.reorderMs,
    rebirthIntervalMs: config.rebirthIntervalMs,
    requestRebirth: (group, node) => {
      const metric = {
        name: rebirthMetric,
        timestampMs: clock.now(),
        datatype: DataType.Boolean,
        declare: true,
        value: true,
      };
      const payload = encodePayload({ timestampMs: clock.now(), metrics: [metric] });
      bus
        .publish(topicOf({ group, type: "NCMD", node }), payload, { qos: 0, retain: false })
        .catch((error: unknown) => {
          log.warn(
            { code: "REBIRTH_REQUEST", node: `${group}/${node}`, err: messageOf(error) },
            "could not ask for births; asking again later",
          );
        });
    },
  });
  const { batchSamples, lingerMs } = config;
  const storing = startWriter({
    queue,
    book,
    telemetry,
    notes,
    live: writer,
    bus,
    clock,
    log,
    batchSamples,
    lingerMs,
    ...(parts.onStored ? { onStored: parts.onStored } : {}),
  });
  const detach = bus.onMessage(receiver.handle);
  bus.onLost?.(receiver.lost);
  // Only now: nodes that wait for their host are born at once, and would be asked again for what nobody has heard.
  await bus.announce?.();
  return {
    queuedSamples: queue.samples,
    stats: () => ({
      connected: bus.isConnected?.() ?? true,
      queuedSamples: queue.samples(),
      maxQueuedSamples: config.queueSamples,
      kpi: kpi.stats(),
    }),
    settle: kpi.settle,
    failed: kpi.failed,
    close: async () => {
      detach();
      receiver.close();
      await storing.close();
      await kpi.close();
    },
  };
}
