import { statfsSync, statSync } from "node:fs";
import { apiMetrics } from "@jilian/api/ops-metrics.ts";
import type { Api } from "@jilian/api/server.ts";
import { brokerHealth, brokerMetrics } from "@jilian/broker/metrics.ts";
import type { Broker } from "@jilian/broker/start.ts";
import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import { flag, gauge, type MetricRow, renderMetrics } from "@jilian/domain/metric-rows.ts";
import { type OpsSource, type Part, type Parts, within } from "@jilian/domain/ops.ts";
import { ingestHealth, ingestMetrics } from "@jilian/ingest/metrics.ts";
import type { Ingest } from "@jilian/ingest/start.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import type { Registry as MetricRegistry } from "prom-client";

/** The parts of a platform that run in this process, as far as they run here. */
export type Running = {
  broker?: Broker;
  telemetry?: Telemetry;
  ledger?: Ledger;
  live?: LiveState;
  /** In force now; not where neither ingest nor the interface runs. */
  registry?: Registry;
  ingest?: Ingest;
  api?: Api;
};

export type Watched = {
  running: Running;
  /** The configured one, where the ledger's is not followed. */
  registry: Registry;
  clock: Clock;
  paths: { dataDir: string; telemetry: string; ledger: string };
  /** Software version, for the info metric. */
  version: string;
};

const storeBoundMs = 1000;

type Probe = { lastTx: number; durationMs: number } | { error: unknown };

async function probeStore(telemetry: Telemetry): Promise<Probe> {
  const startedMs = performance.now();
  try {
    const lastTx = await within(telemetry.lastTx(), storeBoundMs, "the telemetry store");
    return { lastTx, durationMs: performance.now() - startedMs };
  } catch (error) {
    return { error };
  }
}

function ledgerPart(ledger: Ledger): Part {
  try {
    ledger.findings(1);
    return { ready: true, state: "open" };
  } catch (error) {
    return { ready: false, state: "not readable", reason: `${codeOf(error)}: ${messageOf(error)}` };
  }
}

async function health({ broker, telemetry, ledger, ingest, api }: Running): Promise<Parts> {
  const parts: Record<string, Part> = {};
  if (broker) parts.broker = brokerHealth(broker);
  if (ledger) parts.ledger = ledgerPart(ledger);
  if (telemetry) {
    const probe = await probeStore(telemetry);
    parts.store =
      "error" in probe
        ? { ready: false, state: "no answer", reason: `${codeOf(probe.error)}: ${messageOf(probe.error)}` }
        : { ready: true, state: "answers", detail: { lastTx: probe.lastTx } };
  }
  if (ingest) Object.assign(parts, ingestHealth(ingest.stats()));
  if (api) parts.api = { ready: true, state: "listening", detail: { open: api.apiStats().open.streams } };
  return parts;
}

/** Sizes of what lies on this machine; with InfluxDB there is no file of the telemetry store here. */
function diskRows({ dataDir, telemetry, ledger }: Watched["paths"]): MetricRow[] {
  const sizes = () =>
    Object.entries({ telemetry, ledger }).flatMap(([store, path]) => {
      const found = [path, `${path}-wal`, `${path}.wal`].map((file) => statSync(file, { throwIfNoEntry: false })?.size);
      const known = found.filter((size) => size !== undefined);
      return known.length === 0 ? [] : [{ labels: { store }, value: known.reduce((sum, size) => sum + size, 0) }];
    });
  const free = () => {
    const { bavail, bsize } = statfsSync(dataDir);
    return bavail * bsize;
  };
  return [
    gauge("jilian_store_file_bytes", "Size of the files of an embedded store, journals included.", sizes),
    gauge("jilian_store_disk_free_bytes", "Room left where the data folder lies.", free),
  ];
}

function storeRows(probe: Probe | undefined): MetricRow[] {
  if (probe === undefined) return [];
  const up = gauge("jilian_store_up", "1 when the telemetry store answers within a second.", () =>
    flag("lastTx" in probe),
  );
  if ("error" in probe) return [up];
  return [
    up,
    gauge("jilian_store_last_transaction", "Number of its last transaction.", () => probe.lastTx),
    gauge("jilian_store_response_seconds", "How long it took to say so.", () => probe.durationMs / 1000),
  ];
}

/** Everything that the parts of this process tell of themselves, and the metrics of the process. */
async function exposition(watched: Watched, metrics: MetricRegistry): Promise<string> {
  const { running, clock, paths, version } = watched;
  const { registry = watched.registry } = running;
  const { broker, telemetry, ingest, live, api } = running;
  const labels = { version, cluster: registry.file.cluster.id };
  const rows = [
    gauge("jilian_platform_info", "Which platform this is; always 1.", () => [{ labels, value: 1 }]),
    ...(broker ? brokerMetrics(broker) : []),
    ...storeRows(telemetry && (await probeStore(telemetry))),
    ...diskRows(paths),
    ...(ingest && live ? ingestMetrics(ingest.stats, { live, registry, clock }) : []),
    ...(api ? apiMetrics(api.apiStats) : []),
  ];
  return renderMetrics(rows) + (await metrics.metrics());
}

/** What the ops address of a platform tells. */
export function platformSource(watched: Watched, metrics: MetricRegistry): OpsSource {
  return { health: () => health(watched.running), metrics: () => exposition(watched, metrics) };
}
