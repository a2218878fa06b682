import type { Clock } from "@jilian/domain/clock.ts";
import { counter, flag, gauge, type MetricRow, type MetricSample } from "@jilian/domain/metric-rows.ts";
import type { Parts } from "@jilian/domain/ops.ts";
import { watermarkMs } from "@jilian/domain/periods.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import { type DeviceState, deviceState, type LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { Histogram, type Registry as MetricRegistry } from "prom-client";
import type { IngestParts, IngestStats } from "./start.ts";

/** Registered gateways and devices only: who else publishes must not make lines. */
function plantRows({ live, registry, clock }: Pick<IngestParts, "live" | "registry" | "clock">): MetricRow[] {
  const each = (value: (name: string) => number) => (): MetricSample[] =>
    [...registry.gateways].map((gateway) => ({ labels: { gateway }, value: value(gateway) }));
  const told = (gateway: string, metric: string) => Number(live.nodes.get(gateway)?.metrics.get(metric) ?? 0);
  const states: DeviceState[] = ["online", "stale", "offline", "never"];
  const devices = (): MetricSample[] => {
    const nowMs = clock.now();
    const found = new Map<DeviceState, number>(states.map((state) => [state, 0]));
    for (const key of registry.devices.keys()) {
      const [group = "", node = "", device = ""] = key.split("/");
      const state = deviceState(live, group, node, device, nowMs);
      found.set(state, (found.get(state) ?? 0) + 1);
    }
    return [...found].map(([state, value]) => ({ labels: { state }, value }));
  };
  const name = (what: string) => `jilian_ingest_${what}`;
  return [
    gauge(
      name("gateway_online"),
      "1 between birth and death of a registered gateway.",
      each((gateway) => flag(live.nodes.get(gateway)?.alive === true)),
    ),
    gauge(
      name("gateway_pending_records"),
      "Records that the gateway says it has not been confirmed.",
      each((gateway) => told(gateway, nodeMetrics.pendingRecords)),
    ),
    gauge(
      name("gateway_oldest_pending_seconds"),
      "Age of the oldest of these.",
      each((gateway) => told(gateway, nodeMetrics.oldestPendingMs) / 1000),
    ),
    counter(
      name("gateway_dropped_samples_total"),
      "Samples that the gateway says it had to drop.",
      each((gateway) => told(gateway, nodeMetrics.droppedSamples)),
    ),
    counter(
      name("gateway_set_aside_records_total"),
      "Records that the gateway says it had to set aside.",
      each((gateway) => told(gateway, nodeMetrics.setAsideRecords)),
    ),
    gauge(
      name("gateway_outbox_writable"),
      "0 while the gateway says that it cannot write its outbox; 1 else.",
      each((gateway) => flag(live.nodes.get(gateway)?.metrics.get(nodeMetrics.writable) !== false)),
    ),
    gauge(
      name("gateway_clock_offset_seconds"),
      "By how much the gateway says its clock is before the platform's; no line where it has not said.",
      () =>
        [...registry.gateways].flatMap((gateway) => {
          const offsetMs = live.nodes.get(gateway)?.metrics.get(nodeMetrics.clockOffsetMs) ?? undefined;
          return offsetMs === undefined ? [] : [{ labels: { gateway }, value: Number(offsetMs) / 1000 }];
        }),
    ),
    gauge(name("devices"), "Registered devices by state.", devices),
  ];
}

/** The counters of the live state that are metrics: name, what it counts. */
const counted: readonly (readonly [key: string, name: string, help: string])[] = [
  ["receivedMessages", "received_messages_total", "Messages of nodes, births and deaths included."],
  ["receivedSamples", "received_samples_total", "Samples in data messages."],
  ["storedSamples", "stored_samples_total", "Samples that the store has taken."],
  ["duplicateSamples", "duplicate_samples_total", "Samples that were stored already, equal."],
  ["conflictingSamples", "conflicting_samples_total", "Samples whose time was stored already with another value."],
  ["shedSamples", "shed_samples_total", "Samples refused because the queue was full; gateways send them again."],
  ["repeatedRecords", "repeated_records_total", "Records that came again."],
  [
    "recheckedRecords",
    "rechecked_records_total",
    "Records whose offset was stored, stored again to be sure it was with them.",
  ],
  ["setBacks", "set_backs_total", "Offsets that a gateway gave to two records, because it was set back."],
  ["refusedRecords", "refused_records_total", "Records that the store will never take as they are."],
  [
    "uncarriedSamples",
    "uncarried_samples_total",
    "Samples not stored: of a type without a series, without a name, or of nodes of other make before their births.",
  ],
  ["refusedSamples", "refused_samples_total", "Samples that the store will never take; gateways set them aside."],
  [
    "unsiftedSamples",
    "unsifted_samples_total",
    "Of these, those of nodes without an outbox that were refused unseen, because too much beside them was; good ones are lost with them.",
  ],
  ["refusedAgainRecords", "refused_again_records_total", "Such records that came again and were not tried."],
  [
    "deferredRecords",
    "deferred_records_total",
    "Records that have to come again because too many beside them were refused.",
  ],
  ["unreadableMessages", "unreadable_messages_total", "Messages that could not be decoded."],
  ["rebirthRequests", "rebirth_requests_total", "Births asked for again."],
  ["commitNotices", "commit_notices_total", "Commit notices sent to gateways."],
  ["storeBusy", "store_busy_total", "Writes for which the store asked to wait; they are tried again."],
  [
    "storeLimited",
    "store_limited_total",
    "Writes that a limit in the store's configuration holds up; they are tried again until it is raised.",
  ],
  ["ledgerFailures", "ledger_failures_total", "Notes that the ledger did not take."],
  ["storeFailures", "store_failures_total", "Writes that the store did not take; they are tried again."],
  ["transactions", "store_transactions_total", "Writes that the store took."],
];

function kpiRows(stats: () => IngestStats["kpi"]): MetricRow[] {
  return [
    gauge("jilian_kpi_up", "1 while the thread that computes figures lives.", () => flag(stats().alive)),
    gauge("jilian_kpi_waits", "1 while another process computes the figures.", () =>
      flag(stats().waitsFor !== undefined),
    ),
    gauge("jilian_kpi_lag_transactions", "Transactions stored and not in figures yet.", () => stats().lagTx),
    gauge("jilian_kpi_behind_seconds", "How long figures have been behind the store.", () => stats().behindMs / 1000),
    gauge("jilian_kpi_tick_duration_seconds", "How long the last tick took.", () => stats().tickDurationMs / 1000),
    counter("jilian_kpi_ticks_total", "Ticks done.", () => stats().ticks),
    counter("jilian_kpi_tick_seconds_total", "Time spent in ticks.", () => stats().tickTotalMs / 1000),
  ];
}

/** Metrics of ingest, of its KPI thread and of the plants as they are heard. */
export function ingestMetrics(
  stats: () => IngestStats,
  parts: { live: LiveState; registry: Registry; clock: Clock },
): MetricRow[] {
  const { counters } = parts.live;
  return [
    gauge("jilian_ingest_connected", "1 while nodes are heard.", () => flag(stats().connected)),
    gauge("jilian_ingest_queue_samples", "Samples waiting for the store.", () => stats().queuedSamples),
    gauge(
      "jilian_ingest_queue_max_samples",
      "Where they are shed (ingest.queueSamples).",
      () => stats().maxQueuedSamples,
    ),
    ...counted.map(([key, name, help]) => counter(`jilian_ingest_${name}`, help, () => counters.get(key) ?? 0)),
    ...plantRows(parts),
    ...kpiRows(() => stats().kpi),
  ];
}

/**
 * Two distributions, which only their moment can tell: how long the store takes for a batch, and how old a live reading is when it is
 * safe in the store: clocks of plant and platform included.
 */
export function ingestHistograms(registry: MetricRegistry, clock: Clock): NonNullable<IngestParts["onStored"]> {
  const duration = new Histogram({
    name: "jilian_ingest_store_write_duration_seconds",
    help: "How long the store took for a batch.",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  const age = new Histogram({
    name: "jilian_ingest_live_age_seconds",
    help: "Age of the newest live sample of a message when the store has confirmed it, from its source time.",
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900],
    registers: [registry],
  });
  return (records, durationMs) => {
    duration.observe(durationMs / 1000);
    const nowMs = clock.now();
    for (const { newestLiveMs } of records) {
      if (newestLiveMs !== undefined) age.observe(Math.max(0, nowMs - newestLiveMs) / 1000);
    }
  };
}

/** Figures may be this far behind before the platform calls itself not ready: later ones would be late for their watermark. */
const behindBoundMs = watermarkMs;

/** Health of ingest: it hears nodes, and its figures follow what is stored. */
export function ingestHealth({ connected, queuedSamples, maxQueuedSamples, kpi }: IngestStats): Parts {
  const behindS = Math.round(kpi.behindMs / 1000);
  const isBehind = kpi.behindMs > behindBoundMs;
  const kpiReason = kpi.alive
    ? `figures have been behind the store for ${behindS} s: look for KPI_TICK in the log`
    : "the thread that computes figures has ended: look for KPI_WORKER in the log";
  return {
    bus: connected
      ? { ready: true, state: "connected" }
      : {
          ready: false,
          state: "not connected",
          reason: "no connection to the broker: look for HOST_CONNECT in the log",
        },
    queue: { ready: true, state: queuedSamples < maxQueuedSamples ? "taking" : "shedding", detail: { queuedSamples } },
    kpi: {
      ready: kpi.alive && !isBehind,
      state: !kpi.alive ? "ended" : kpi.waitsFor !== undefined ? "waiting" : isBehind ? "behind" : "running",
      ...(kpi.alive && !isBehind ? {} : { reason: kpiReason }),
      detail: { lagTx: kpi.lagTx, behindS, ...(kpi.waitsFor !== undefined && { waitsFor: kpi.waitsFor }) },
    },
  };
}
