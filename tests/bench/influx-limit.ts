import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { DataType } from "@jilian/domain/datatypes.ts";
import { influxSchema } from "@jilian/store/influx/config.ts";
import { hasInfluxd, startInfluxd } from "@jilian/store/influx/influxd.ts";
import { openInfluxTelemetry } from "@jilian/store/influx/telemetry.ts";
import { pino } from "pino";
import { Value } from "typebox/value";

const seriesCount = 10_000;
const firstMs = 1_772_323_200_000;
/** Samples of one call to `write`, as ingest makes them at full load. */
const batchSamples = 20_000;

export type LimitOptions = {
  seconds: number;
  linesPerBatch: number;
  connections: number;
  /** `sample`: the lines that the store writes (a value, status, two times, transaction); `value`: a value alone. */
  fields?: "sample" | "value";
  database?: string;
};

const tagsOf = (series: number) =>
  `device=device-${Math.floor(series / 20) % 50},group=bench,metric=tag-${series % 20},node=node-${Math.floor(series / 1000)}`;
const readingOf = (series: number) => 20 + (series % 97) + (series % 13) / 100;

/** A request of one line for each of some series, and where in it the times stand: each use of it gets another time. */
function prebuilt(lines: number, fields: "sample" | "value"): { body: Buffer; timesAt: number[] } {
  const rest = fields === "value" ? "" : `,status=0i,gateway_ms=${firstMs}i,ingest_ms=${firstMs}i,tx=123456i`;
  const texts = Array.from({ length: lines }, (_, i) => {
    const series = i % seriesCount;
    return `sample,${tagsOf(series)} vd=${readingOf(series)}${rest} ${firstMs + Math.floor(i / seriesCount)}\n`;
  });
  let end = 0;
  const timesAt = texts.map((text) => {
    end += text.length;
    return end - 1 - String(firstMs).length;
  });
  return { body: Buffer.from(texts.join(""), "latin1"), timesAt };
}

async function post(url: URL, body: Buffer | string, agent: Agent): Promise<void> {
  const outgoing = request(url, { method: "POST", agent, headers: { "content-length": Buffer.byteLength(body) } });
  outgoing.end(body);
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  answer.resume();
  await once(answer, "end");
  if (answer.statusCode !== 204 && answer.statusCode !== 200) throw new Error(`InfluxDB answers ${answer.statusCode}`);
}

/** What an InfluxDB 1.x takes at most: batches built beforehand, over plain HTTP, several at once; nothing is read, counted or journaled. */
export async function rawWriteLimit(
  url: string,
  { seconds, linesPerBatch, connections, fields = "sample", database = "limit" }: LimitOptions,
): Promise<{ lines: number; linesPerS: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  await post(new URL(`/query?q=${encodeURIComponent(`CREATE DATABASE "${database}"`)}`, url), "", agent);
  const target = new URL(`/write?db=${database}&precision=ms`, url);
  const batches = Array.from({ length: connections }, () => prebuilt(linesPerBatch, fields));
  let turn = 0;
  const next = ({ body, timesAt }: (typeof batches)[number]) => {
    turn += 1;
    const ms = firstMs + turn * Math.ceil(linesPerBatch / seriesCount) * 1000;
    for (const [i, at] of timesAt.entries()) body.write(String(ms + Math.floor(i / seriesCount)), at, "latin1");
    return body;
  };
  // The first batch makes the series and is not counted.
  for (const batch of batches.slice(0, 1)) await post(target, next(batch), agent);
  const startedMs = performance.now();
  let lines = 0;
  await Promise.all(
    batches.map(async (batch) => {
      while (performance.now() - startedMs < seconds * 1000) {
        await post(target, next(batch), agent);
        lines += linesPerBatch;
      }
    }),
  );
  const linesPerS = lines / ((performance.now() - startedMs) / 1000);
  agent.destroy();
  return { lines, linesPerS };
}

/** Keeps this process on some cores, so that the server has the other to itself. */
function pinTo(cores: string): void {
  execFileSync("taskset", ["-a", "-p", "-c", cores, String(process.pid)], { stdio: "ignore" });
}

async function storeRate(url: string, seconds: number): Promise<number> {
  const log = pino({ level: "silent" });
  const setting = Value.Default(influxSchema, { url, database: "store" }) as Parameters<typeof openInfluxTelemetry>[0];
  const store = await openInfluxTelemetry({ ...setting, log });
  try {
    const names = Array.from({ length: seriesCount }, (_, s) => ({
      group: "bench",
      node: `node-${Math.floor(s / 1000)}`,
      device: `device-${Math.floor(s / 20) % 50}`,
      metric: `tag-${s % 20}`,
      definition: { name: `tag-${s % 20}`, datatype: DataType.Double, simulated: false },
    }));
    const ids = await store.ensureSeries(names);
    const batchOf = (turn: number) => {
      const atMs = firstMs + turn * 1000 * (batchSamples / seriesCount);
      return Array.from({ length: batchSamples }, (_, i) => ({
        series: ids[i % seriesCount] as number,
        sourceTimeMs: atMs + Math.floor(i / seriesCount) * 1000,
        value: readingOf(i % seriesCount),
        status: 0,
        gatewayTimeMs: atMs + 20,
        ingestTimeMs: atMs + 300,
      }));
    };
    await store.write({ samples: batchOf(0), commits: [] });
    const startedMs = performance.now();
    let written = 0;
    for (let turn = 1; performance.now() - startedMs < seconds * 1000; turn += 1) {
      const commits = [{ group: "bench", node: "node-0", epoch: "00000000000000aa", ranges: [[turn, turn] as const] }];
      written += (await store.write({ samples: batchOf(turn), commits })).written;
    }
    return written / ((performance.now() - startedMs) / 1000);
  } finally {
    await store.close();
  }
}

export type InfluxRates = {
  /** Samples a second through the store's `write`. */
  storePerS: number;
  /** Lines a second that the same InfluxDB takes at most, with the fields of a sample, and with a value alone. */
  limitPerS: number;
  valueLimitPerS: number;
};

/**
 * The store's rate beside the raw limit of the same InfluxDB, which has a core to itself. Undefined where InfluxDB is not installed. It
 * leaves this process on the other core.
 */
export async function measureInflux(seconds: number): Promise<InfluxRates | undefined> {
  if (!hasInfluxd()) return undefined;
  pinTo("1");
  const rates: number[] = [];
  const options = { seconds, linesPerBatch: 5_000, connections: 2 };
  // Each has a server of its own, so that none pays for what another has stored.
  for (const measure of [
    (url: string) => storeRate(url, seconds),
    async (url: string) => (await rawWriteLimit(url, options)).linesPerS,
    async (url: string) => (await rawWriteLimit(url, { ...options, fields: "value" })).linesPerS,
  ]) {
    await using server = await startInfluxd({ cpu: 0 });
    rates.push(await measure(server.url));
  }
  const [storePerS = 0, limitPerS = 0, valueLimitPerS = 0] = rates;
  return { storePerS, limitPerS, valueLimitPerS };
}
