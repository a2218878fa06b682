import { JilianError } from "@jilian/domain/errors.ts";
import { lineFaults } from "../telemetry.ts";
import { fromTagValue } from "./text.ts";

/** An answer of InfluxDB to any request. */
export type Answer = {
  status: number;
  version: string | undefined;
  /** The header Retry-After as it came. */
  retryAfter: string | undefined;
  body: string;
};

/** Where something was tried, for the error. */
export type Place = { action: string; address: string };
type Fault = { code: string; remedy: string };

/** HTTP statuses by which InfluxDB says that the lines are at fault: sent again they would be refused again. 3.x tells some of them by 201. */
const refusals = new Set([201, 400, 413, 422]);

export const remedies = {
  unreachable: "check that InfluxDB runs and that url, port and network are right; the same is tried again",
  unauthorised: "check user and password (1.x) or token (2.x, 3.x) and their right to read and write the database",
  missing:
    "make it: CREATE DATABASE (1.x), `influx bucket create --retention 0` (2.x), `influxdb3 create database` (3.x); names must agree",
  failed: "look at the log of InfluxDB; check its disk space and memory",
  busy: "it is waited for as it asks; when that is often: more memory and cores for InfluxDB, higher limits in its configuration, or fewer readings",
  fileLimit: "start InfluxDB 3 Core with a higher --query-file-limit: by default a query sees some 72 hours",
  tooLate: "keep the database without end (retention 0): InfluxDB drops what is older than its retention",
  misfit: "nothing of this batch counts as stored; the message names the line or field at fault",
  own: "look who else writes the measurements store_* and series; this database must be the platform's alone",
  retention: "set its retention to infinite: DURATION INF (1.x), --retention 0 (2.x), no retention period (3.x)",
} as const;

/**
 * The setting of InfluxDB 1.x that a partial write says is at its bound. Only as the answer begins: what follows quotes names of metrics,
 * which may read like anything.
 */
const limitReached = /^partial write: (max-(?:series-per-database|values-per-tag)) limit exceeded/;

/** What an HTTP status means for who asked. */
export function faultOf(status: number): Fault {
  if (status === 401 || status === 403) return { code: "STORE_UNAUTHORISED", remedy: remedies.unauthorised };
  if (status === 404) return { code: "STORE_DATABASE_MISSING", remedy: remedies.missing };
  if (status === 429 || status === 503) return { code: "STORE_BUSY_REMOTE", remedy: remedies.busy };
  return { code: "STORE_FAILED", remedy: remedies.failed };
}

/** What InfluxDB's words instead of an answer mean. */
function faultOfWords(words: string): Fault {
  if (/database not found/i.test(words)) return faultOf(404);
  if (/not authorized/i.test(words)) return faultOf(403);
  // 1.x tells these by 500: its cache is written to disk, or its shards were too slow.
  if (/cache-max-memory-size exceeded|^timeout$|write timeout/i.test(words)) return faultOf(503);
  return /file limit/i.test(words) ? { code: "STORE_FAILED", remedy: remedies.fileLimit } : faultOf(500);
}

/** A line that a server tells it refused, as far as it tells. */
type RefusedLine = { line?: unknown; original_line?: unknown; line_number?: unknown; error_message?: unknown };

/** The words of an error body, `{"error": ...}` (1.x, 3.x), `{"code", "message"}` (2.x) or the text itself, and the lines that 3.x names. */
function readBody(body: string): { words: string; lines: RefusedLine[] } {
  try {
    const { error, message, data } = JSON.parse(body) as { error?: string; message?: string; data?: unknown };
    const lines = Array.isArray(data) ? (data as RefusedLine[]) : [];
    const listed = data === undefined || data === null ? "" : ` ${JSON.stringify(data)}`;
    return { words: `${error ?? message ?? body}${listed}`.slice(0, 500), lines };
  } catch {
    return { words: body.slice(0, 500), lines: [] };
  }
}

/** The words of an error body. */
export const wordsOf = (body: string): string => readBody(body).words;

/** `group/node/device/metric` of a sample's line; undefined for any other line, and for one that was cut before its tags end. */
export function seriesOfLine(line: string): string | undefined {
  const [, tagText] = /^sample((?:,(?:\\.|[^\\ ])*)?) /.exec(line) ?? [];
  if (tagText === undefined) return undefined;
  const tags = new Map<string, string>();
  for (const [, name = "", value = ""] of tagText.matchAll(/,([a-z]+)=((?:\\.|[^\\,])*)/g)) {
    tags.set(name, fromTagValue(value.replaceAll(/\\([,= ])/g, "$1")));
  }
  return ["group", "node", "device", "metric"].map((name) => tags.get(name) ?? "").join("/");
}

/** The series of the first line that a refusal names: 3.x lists lines, 1.x and 2.x quote the one they cannot parse. */
function seriesRefused({ words, lines }: { words: string; lines: readonly RefusedLine[] }): string | undefined {
  for (const { original_line: told } of lines) {
    const series = typeof told === "string" ? seriesOfLine(told) : undefined;
    if (series !== undefined) return series;
  }
  return seriesOfLine(/unable to parse '(.*)/s.exec(words)?.[1] ?? "");
}

/**
 * What the header Retry-After asks for, in milliseconds: seconds, or a date (RFC 9110, 10.2.3); undefined where it says neither.
 * @param nowMs of this machine, UTC: the date is of the server's clock, so a difference of the clocks shows here
 */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const atMs = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isFinite(atMs) ? Math.max(0, atMs - nowMs) : undefined;
}

function faultError(message: string, fault: Fault, { retryAfter }: Answer, place: Place): JilianError {
  const waitMs = fault.code === "STORE_BUSY_REMOTE" ? retryAfterMs(retryAfter, Date.now()) : undefined;
  return new JilianError(message, { ...fault, ...place, ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }) });
}

/**
 * The error of a write that InfluxDB did not take, told apart by whose fault it is: VALUE_MISFIT or SAMPLE_TOO_LATE, the lines', with the
 * series where the answer names one; STORE_LIMIT, the server's, which takes no new series before its configuration allows more;
 * STORE_BUSY_REMOTE with `retryAfterMs` where it asks for time; STORE_UNAUTHORISED, STORE_DATABASE_MISSING, STORE_FAILED.
 */
export function writeFault(answer: Answer, place: Place): JilianError {
  const { status, body } = answer;
  const told = readBody(body);
  if (!refusals.has(status)) {
    const fault = status === 500 ? faultOfWords(told.words) : faultOf(status);
    return faultError(`InfluxDB answers a write with ${status}: ${told.words}`, fault, answer, place);
  }
  const setting = limitReached.exec(told.words)?.[1];
  if (setting !== undefined) {
    const remedy = `raise ${setting} in section [data] of InfluxDB's configuration (0: no bound) and restart it; what waits is then stored`;
    return new JilianError(`InfluxDB takes no new series (${status}): ${told.words}`, {
      ...{ code: "STORE_LIMIT", remedy },
      ...place,
    });
  }
  const isLate = /retention/i.test(told.words);
  const series = seriesRefused(told);
  return new JilianError(`InfluxDB refused lines (${status}): ${told.words}`, {
    code: isLate ? "SAMPLE_TOO_LATE" : "VALUE_MISFIT",
    remedy: isLate ? remedies.tooLate : remedies.misfit,
    ...(series === undefined ? {} : { device: series }),
    ...place,
  });
}

/** The error of a query that was answered by another status than 200. */
export function queryFault(answer: Answer, place: Place): JilianError {
  const words = wordsOf(answer.body);
  const isPlain = [401, 403, 404, 429, 503].includes(answer.status);
  const fault = isPlain ? faultOf(answer.status) : faultOfWords(words);
  return faultError(`InfluxDB answers a query with ${answer.status}: ${words}`, fault, answer, place);
}

/** The error of a query that was answered by words instead of rows. */
export function queryWordsFault(words: string, place: Place): JilianError {
  return new JilianError(`InfluxDB answers a query with: ${words}`, { ...faultOfWords(words), ...place });
}

/** True for an error by which InfluxDB says that lines are at fault. */
export function isRefusal(code: string): boolean {
  return lineFaults.has(code);
}

/** The database forgets: what this store keeps of itself, at times in 1970, is then refused. */
export function retentionError(place: Place, cause?: unknown): JilianError {
  return new JilianError("the InfluxDB database does not keep its data without end", {
    code: "STORE_RETENTION",
    remedy: remedies.retention,
    ...place,
    cause,
  });
}

/**
 * Writing of what the store keeps of itself. When InfluxDB refuses it, no sample is at fault, and none may be put aside for it: the store
 * is, until somebody has repaired it.
 * @param isOfBatch a refusal that a batch is at fault for after all
 */
export function ownWrite(
  write: (lines: Iterable<string>) => Promise<void>,
  address: string,
  isOfBatch: (error: JilianError) => boolean = () => false,
): (lines: Iterable<string>) => Promise<void> {
  const place = { action: "write the store's own records to InfluxDB", address };
  return (lines) =>
    write(lines).catch((error: unknown) => {
      if (!(error instanceof JilianError) || !isRefusal(error.code)) throw error;
      if (error.code === "SAMPLE_TOO_LATE") throw retentionError(place, error);
      if (isOfBatch(error)) throw error;
      throw new JilianError(error.message, { code: "STORE_FAILED", remedy: remedies.own, ...place, cause: error });
    });
}
