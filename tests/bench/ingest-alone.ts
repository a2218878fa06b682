import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "@jilian/domain/clock.ts";
import { decodeNotice, encodeHeader, outboxUuid } from "@jilian/domain/commit.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { decodePayload, encodePayload, readValue } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, topicOf } from "@jilian/domain/topics.ts";
import type { SparkplugBus } from "@jilian/ingest/bus.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { startIngest } from "@jilian/ingest/start.ts";
import { openTelemetry } from "@jilian/store/duckdb/telemetry.ts";
import { influxSchema } from "@jilian/store/influx/config.ts";
import { startInfluxd } from "@jilian/store/influx/influxd.ts";
import { openInfluxTelemetry } from "@jilian/store/influx/telemetry.ts";
import { createLiveState } from "@jilian/store/live.ts";
import { type Registry, readRegistry } from "@jilian/store/registry.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { SampleRow, Telemetry } from "@jilian/store/telemetry.ts";
import { pino } from "pino";
import { Value } from "typebox/value";

const nodes = 10;
const devicesPerNode = 10;
const metricsPerDevice = 20;
const recordsPerDevice = 500;
/** Samples sent and not yet committed: less than the queue holds, so that nothing is shed. */
const windowSamples = 100_000;
const epoch = "00000000000000aa";
const log = pino({ level: "silent" });
const options = { memoryLimitMb: 512, threads: 2, log };

export type IngestRates = { samples: number; ingestPerS: number; storePerS: number };

type Message = { topic: string; payload: Uint8Array };

/** Births of the nodes, then their records in turn, as the gateways would send them; made before the clock starts. */
function messages(fromMs: number): { births: Message[]; data: Message[]; rows: SampleRow[] } {
  const births: Message[] = [];
  const data: Message[] = [];
  const rows: SampleRow[] = [];
  const seqs = new Map<string, number>();
  const seqOf = (node: string) => {
    const next = ((seqs.get(node) ?? -1) + 1) % 256;
    seqs.set(node, next);
    return next;
  };
  const places = Array.from({ length: nodes }, (_, n) => ({ group: "bench", node: `node-${n}` }));
  for (const { group, node } of places) {
    const declared = { timestampMs: fromMs, declare: true };
    const own = [
      { ...declared, name: bdSeqMetric, datatype: DataType.Int64, value: 0n },
      { ...declared, name: commitMetric, datatype: DataType.String, value: "" },
    ];
    births.push({
      topic: topicOf({ group, type: "NBIRTH", node }),
      payload: encodePayload({ timestampMs: fromMs, seq: seqOf(node), metrics: own }),
    });
    for (let d = 0; d < devicesPerNode; d += 1) {
      const metrics = Array.from({ length: metricsPerDevice }, (_, m) => {
        return {
          ...declared,
          name: `tag-${m}`,
          alias: d * metricsPerDevice + m,
          datatype: DataType.Double,
          value: null,
        };
      });
      births.push({
        topic: topicOf({ group, type: "DBIRTH", node, device: `device-${d}` }),
        payload: encodePayload({ timestampMs: fromMs, seq: seqOf(node), metrics }),
      });
    }
  }
  for (let r = 0; r < recordsPerDevice; r += 1) {
    const atMs = fromMs + r * 1000;
    for (const [n, { group, node }] of places.entries()) {
      for (let d = 0; d < devicesPerNode; d += 1) {
        const metrics = Array.from({ length: metricsPerDevice }, (_, m) => {
          const value = 20 + d + m / 10 + (r % 97) / 100;
          const series = (n * devicesPerNode + d) * metricsPerDevice + m;
          rows.push({ series, sourceTimeMs: atMs, value, status: 0, gatewayTimeMs: atMs, ingestTimeMs: atMs });
          return { alias: d * metricsPerDevice + m, timestampMs: atMs, datatype: DataType.Double, value };
        });
        const body = encodeHeader({ epoch, offset: r * devicesPerNode + d, writtenAtMs: atMs });
        const payload = encodePayload({ timestampMs: atMs, seq: seqOf(node), uuid: outboxUuid, body, metrics });
        data.push({ topic: topicOf({ group, type: "DDATA", node, device: `device-${d}` }), payload });
      }
    }
  }
  return { births, data, rows };
}

/** A bus without a network: what remains is ingest itself. Counts the samples of the records that notices free. */
function countingBus(): { bus: SparkplugBus; send: (message: Message) => void; committedSamples: () => number } {
  let handler: (topic: string, payload: Uint8Array) => void = () => undefined;
  let committed = 0;
  const bus: SparkplugBus = {
    onMessage: (wanted) => {
      handler = wanted;
      return () => undefined;
    },
    publish: async (_, payload) => {
      for (const metric of decodePayload(payload).metrics) {
        if (metric.name !== commitMetric) continue;
        const notice = decodeNotice(String(readValue(metric, DataType.String)));
        for (const [first, last] of notice.ranges) committed += (last - first + 1) * metricsPerDevice;
      }
    },
  };
  return { bus, send: ({ topic, payload }) => handler(topic, payload), committedSamples: () => committed };
}

function demoRegistry(): Registry {
  const text = readFileSync(new URL("../../deploy/demo/cluster.yaml", import.meta.url), "utf8");
  const checked = readRegistry(text, "cluster.yaml");
  if (!checked.ok) throw new Error("the demonstration's registry has faults");
  return checked.value;
}

/** Ends with the store closed. */
async function throughIngest(
  telemetry: Telemetry,
  dir: string,
  { births, data }: { births: readonly Message[]; data: readonly Message[] },
): Promise<number> {
  const ledgerPath = join(dir, "ledger.sqlite");
  const ledger = openLedger({ path: ledgerPath, log });
  const { bus, send, committedSamples } = countingBus();
  const parts = {
    telemetry,
    ledger,
    ledgerPath,
    live: createLiveState(),
    registry: demoRegistry(),
    clock: systemClock,
    clockSetting: undefined,
    log,
  };
  const ingest = await startIngest(Value.Default(ingestSchema, {}) as Parameters<typeof startIngest>[0], {
    bus,
    ...parts,
  });
  for (const birth of births) send(birth);
  const total = data.length * metricsPerDevice;
  const started = performance.now();
  let sent = 0;
  while (committedSamples() < total) {
    for (
      let burst = 0;
      burst < 200 && sent < data.length && sent * metricsPerDevice - committedSamples() < windowSamples;
      burst += 1
    ) {
      send(data[sent] as Message);
      sent += 1;
    }
    await turn();
  }
  const elapsedS = (performance.now() - started) / 1000;
  await ingest.close();
  ledger.close();
  await telemetry.close();
  return total / elapsedS;
}

/** The limit: the same samples written straight to the store, in batches as ingest makes them. */
async function throughStore(dir: string, rows: readonly SampleRow[]): Promise<number> {
  const telemetry = await openTelemetry({ path: join(dir, "store.duckdb"), ...options });
  const definition = { name: "", datatype: DataType.Double, simulated: false };
  const wanted = Array.from({ length: nodes * devicesPerNode * metricsPerDevice }, (_, s) => {
    const metric = `tag-${s % metricsPerDevice}`;
    const device = `device-${Math.floor(s / metricsPerDevice) % devicesPerNode}`;
    return {
      group: "bench",
      node: `node-${Math.floor(s / metricsPerDevice / devicesPerNode)}`,
      device,
      metric,
      definition: { ...definition, name: metric },
    };
  });
  const ids = await telemetry.ensureSeries(wanted);
  const numbered = rows.map((row) => ({ ...row, series: ids[row.series] as number }));
  const started = performance.now();
  for (let i = 0; i < numbered.length; i += 20_000)
    await telemetry.write({ samples: numbered.slice(i, i + 20_000), commits: [] });
  const elapsedS = (performance.now() - started) / 1000;
  await telemetry.close();
  return rows.length / elapsedS;
}

/** Samples a second through ingest alone (payload in, commit notice out), and through the store it writes to, in one run. */
export async function measureIngest(): Promise<IngestRates> {
  const dir = mkdtempSync(join(tmpdir(), "jilian-bench-"));
  try {
    const { births, data, rows } = messages(Date.now() - 3_600_000);
    const storePerS = await throughStore(dir, rows);
    const store = await openTelemetry({ path: join(dir, "ingest.duckdb"), ...options });
    const ingestPerS = await throughIngest(store, dir, { births, data });
    return { samples: rows.length, ingestPerS, storePerS };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Samples a second through ingest alone, into an InfluxDB that has one core to itself. */
export async function measureInfluxIngest(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "jilian-bench-"));
  await using server = await startInfluxd({ cpu: 0 });
  try {
    const setting = Value.Default(influxSchema, { url: server.url }) as Parameters<typeof openInfluxTelemetry>[0];
    const store = await openInfluxTelemetry({ ...setting, log });
    return await throughIngest(store, dir, messages(Date.now() - 3_600_000));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
