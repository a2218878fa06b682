import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpError, InfluxDB } from "@influxdata/influxdb-client";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type Block, parseAnswer } from "./answer.ts";
import type { InfluxSetting } from "./config.ts";
import { quotedName } from "./text.ts";

/** Major version, from the header of `/ping`. */
export type Flavour = 1 | 2 | 3;

/** Lines and characters of one write request: beyond some thousand lines it gets no faster, and 1.x takes 25 MB at most. */
const linesPerRequest = 5_000;
const charactersPerRequest = 4_000_000;
const writesInFlight = 3;
const sockets = 8;
/** Statements of one query request. */
const statementsPerRequest = 200;
const pauseBetweenPingsMs = 250;
const pingTimeoutMs = 5_000;

/** HTTP statuses by which InfluxDB says that the lines are at fault: sent again they would be refused again. */
const refusals = new Set([201, 400, 413, 422]);

export type InfluxClient = {
  readonly flavour: Flavour;
  /** As it tells itself: `1.6.7`. */
  readonly version: string;
  /**
   * Writes lines with times in milliseconds; resolves when InfluxDB has acknowledged all of them. When it rejects, any of them may be
   * stored, or may be still: the outcome of a request without an answer is unknown.
   * @throws JilianError VALUE_MISFIT when lines are at fault; anything else: the store is, and the same lines can be written again
   */
  readonly write: (lines: Iterable<string>) => Promise<void>;
  /** Runs one InfluxQL statement. */
  readonly query: (statement: string) => Promise<Block[]>;
  /** Runs statements that do not depend on each other; the answers in their order. */
  readonly queryAll: (statements: readonly string[]) => Promise<Block[][]>;
  /** Makes the database (1.x). */
  readonly createDatabase: () => Promise<void>;
  readonly close: () => void;
};

type Answer = { status: number; version: string | undefined; body: string };
type Fault = { code: string; remedy: string };

const remedies = {
  unreachable: "check that InfluxDB runs and that url, port and network are right; the same is tried again",
  unauthorised: "check user and password (1.x) or token (2.x, 3.x) and their right to read and write the database",
  missing:
    "make it: CREATE DATABASE (1.x), `influx bucket create --retention 0` (2.x), `influxdb3 create database` (3.x); names must agree",
  failed: "look at the log of InfluxDB; check its disk space and memory",
  fileLimit: "start InfluxDB 3 Core with a higher --query-file-limit: by default a query sees some 72 hours",
};

/** What an HTTP status means for who asked. */
function faultOf(status: number): Fault {
  if (status === 401 || status === 403) return { code: "STORE_UNAUTHORISED", remedy: remedies.unauthorised };
  if (status === 404) return { code: "STORE_DATABASE_MISSING", remedy: remedies.missing };
  return { code: "STORE_FAILED", remedy: remedies.failed };
}

/** What InfluxDB's words instead of an answer mean. */
function faultOfWords(words: string): Fault {
  if (/database not found/i.test(words)) return faultOf(404);
  if (/not authorized/i.test(words)) return faultOf(403);
  return /file limit/i.test(words) ? { code: "STORE_FAILED", remedy: remedies.fileLimit } : faultOf(500);
}

/** The words of an error body: `{"error": ...}` (1.x, 3.x), `{"code", "message"}` (2.x), or the text itself. */
function wordsOf(body: string): string {
  try {
    const told = JSON.parse(body) as { error?: string; message?: string; data?: unknown };
    const lines = told.data === undefined || told.data === null ? "" : ` ${JSON.stringify(told.data)}`;
    return `${told.error ?? told.message ?? body}${lines}`.slice(0, 500);
  } catch {
    return body.slice(0, 500);
  }
}

/** What InfluxDB's refusal of lines means; it names the limit or the line. */
function refused(status: number, body: string, address: string): JilianError {
  const words = wordsOf(body);
  const retention = /retention/i.test(words);
  const limit = /max-(?:series|values)/.test(words);
  return new JilianError(`InfluxDB refused lines (${status}): ${words}`, {
    code: "VALUE_MISFIT",
    action: "write to InfluxDB",
    address,
    remedy: retention
      ? "keep the database without end (retention 0): InfluxDB drops what is older than its retention"
      : limit
        ? "raise the limit that it names in InfluxDB's configuration"
        : "nothing of this batch counts as stored; the message names the line or field at fault",
  });
}

/** The answer of one request, whatever its status. @throws what the network throws */
function exchange(
  { transport }: InfluxDB,
  path: string,
  body: string,
  { method, type, timeoutMs }: { method: "GET" | "POST"; type: string; timeoutMs: number },
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const abort = new AbortController();
  const timer = setTimeout(() => {
    reject(new Error(`no answer within ${timeoutMs} ms`));
    abort.abort();
  }, timeoutMs);
  const chunks: Uint8Array[] = [];
  let status = 0;
  let version: string | undefined;
  transport.send(path, body, { method, headers: { "content-type": type }, signal: abort.signal } as never, {
    responseStarted: (headers, code) => {
      status = code ?? 0;
      version = headers["x-influxdb-version"] as string | undefined;
    },
    next: (chunk) => void chunks.push(chunk),
    complete: () => resolve({ status, version, body: Buffer.concat(chunks).toString("utf8") }),
    error: (error) => {
      if (error instanceof HttpError) resolve({ status: error.statusCode, version, body: error.body ?? "" });
      else reject(error);
    },
  });
  return promise.finally(() => clearTimeout(timer));
}

/** Lines in groups that fit one request, made as they are asked for: some are on their way while the next are built. */
function* requestsOf(lines: Iterable<string>): Generator<string> {
  let group: string[] = [];
  let size = 0;
  for (const line of lines) {
    if (group.length >= linesPerRequest || (group.length > 0 && size + line.length > charactersPerRequest)) {
      yield group.join("\n");
      group = [];
      size = 0;
    }
    group.push(line);
    size += line.length + 1;
  }
  if (group.length > 0) yield group.join("\n");
}

/** Does work for each item, a few at a time. All that was begun has ended when it settles; it rejects with the first error. */
async function eachOf<T>(items: Iterable<T>, atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const errors: unknown[] = [];
  const run = async () => {
    for (let next = iterator.next(); !next.done && errors.length === 0; next = iterator.next()) {
      await work(next.value).catch((error: unknown) => errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, run));
  // A refusal says more than a request that was cut short beside it.
  if (errors.length > 0) throw errors.find((error) => codeOf(error) === "VALUE_MISFIT") ?? errors[0];
}

function connect({ url, username, password, token }: InfluxSetting) {
  const agent = url.startsWith("https:")
    ? new HttpsAgent({ keepAlive: true, maxSockets: sockets })
    : new HttpAgent({ keepAlive: true, maxSockets: sockets });
  const basic = username === undefined ? undefined : Buffer.from(`${username}:${password ?? ""}`).toString("base64");
  const influx = new InfluxDB({
    url,
    // The deadline of each request is ours; the client's counts silence only and leaves the socket open.
    timeout: 0,
    transportOptions: { agent },
    ...(token === undefined ? {} : { token }),
    ...(token !== undefined || basic === undefined ? {} : { headers: { Authorization: `Basic ${basic}` } }),
  });
  return { influx, agent };
}

/** Where lines go. 2.x needs the organisation on its own path; without one its 1.x path does. */
function writePath(flavour: Flavour, { database, org }: InfluxSetting): string {
  const name = encodeURIComponent(database);
  if (flavour === 1 || (flavour === 2 && org === undefined)) return `/write?db=${name}&precision=ms`;
  const whose = org === undefined ? "" : `org=${encodeURIComponent(org)}&`;
  return `/api/v2/write?${whose}bucket=${name}&precision=ms`;
}

/** The version that InfluxDB tells in the header of `/ping`. @throws JilianError STORE_UNAUTHORISED, STORE_UNSUPPORTED */
function flavourOf({ status, version, body }: Answer, address: string): { flavour: Flavour; version: string } {
  const action = "look which InfluxDB answers";
  if (status === 401 || status === 403) {
    throw new JilianError(`InfluxDB answers ${status}: ${wordsOf(body)}`, { ...faultOf(status), action, address });
  }
  const major = /^v?([123])\./.exec(version ?? "")?.[1];
  if (major === undefined) {
    throw new JilianError(
      `what answers is no InfluxDB 1.x, 2.x or 3.x (status ${status}, version "${version ?? ""}")`,
      {
        code: "STORE_UNSUPPORTED",
        action,
        address,
        remedy:
          "give the base URL of InfluxDB; a proxy before it must let /ping, /query, /write and the header X-Influxdb-Version pass",
      },
    );
  }
  return { flavour: Number(major) as Flavour, version: (version as string).replace(/^v/, "") };
}

type Ask = (request: {
  path: string;
  body?: string;
  action: string;
  method?: "GET" | "POST";
  timeoutMs?: number;
}) => Promise<Answer>;

/** Asks, whatever the answer's status. @throws JilianError STORE_UNREACHABLE: whether the request was served is unknown */
function createAsk(influx: InfluxDB, { url, requestTimeoutMs }: InfluxSetting): Ask {
  return async ({ path, body = "", action, method = "POST", timeoutMs = requestTimeoutMs }) => {
    const type = path.startsWith("/query") ? "application/x-www-form-urlencoded" : "text/plain; charset=utf-8";
    return await exchange(influx, path, body, { method, type, timeoutMs }).catch((cause: unknown) => {
      const detail = { code: "STORE_UNREACHABLE", action, address: url, remedy: remedies.unreachable, cause };
      throw new JilianError(`InfluxDB does not answer: ${messageOf(cause)}`, detail);
    });
  };
}

/** The answer to a ping, waiting for one that says more than that the server is still starting. */
async function ping(ask: Ask, startWaitMs: number): Promise<Answer> {
  const request = { path: "/ping", action: "connect to InfluxDB", method: "GET", timeoutMs: pingTimeoutMs } as const;
  for (const endMs = performance.now() + startWaitMs; ; await sleep(pauseBetweenPingsMs)) {
    const isLast = performance.now() >= endMs;
    const answer = await ask(request).catch((error: unknown) => {
      if (isLast) throw error;
    });
    if (answer && (answer.status < 500 || isLast)) return answer;
  }
}

/** Writing over a path. */
function createWrite(ask: Ask, path: string, { url, database }: InfluxSetting): InfluxClient["write"] {
  const action = "write to InfluxDB";
  return async (lines) => {
    await eachOf(requestsOf(lines), writesInFlight, async (body) => {
      const answer = await ask({ path, body, action });
      // 3.x may answer 201 when it took only some of the lines; only 204 says all.
      if (answer.status === 204) return;
      if (refusals.has(answer.status)) throw refused(answer.status, answer.body, url);
      throw new JilianError(`InfluxDB answers a write with ${answer.status}: ${wordsOf(answer.body)}`, {
        ...faultOf(answer.status),
        action,
        address: `${url}, database ${database}`,
      });
    });
  };
}

type Query = (text: string, statements: number) => Promise<Block[][]>;

/** One query request of some statements, divided by semicolons. */
function createQuery(ask: Ask, { url, database }: InfluxSetting): Query {
  const path = `/query?db=${encodeURIComponent(database)}&epoch=ms`;
  const detail = { action: "query InfluxDB", address: `${url}, database ${database}` };
  return async (text, statements) => {
    const { status, body } = await ask({ path, body: new URLSearchParams({ q: text }).toString(), ...detail });
    if (status !== 200) {
      const words = wordsOf(body);
      const fault = [401, 403, 404].includes(status) ? faultOf(status) : faultOfWords(words);
      throw new JilianError(`InfluxDB answers a query with ${status}: ${words}`, { ...fault, ...detail });
    }
    const { blocks, error } = parseAnswer(body, statements);
    if (error === undefined) return blocks;
    throw new JilianError(`InfluxDB answers a query with: ${error}`, { ...faultOfWords(error), ...detail });
  };
}

/**
 * Finds out which InfluxDB answers, waiting `startWaitMs` for one that does not yet, and connects to it through its client library.
 * @throws JilianError STORE_UNREACHABLE, STORE_UNAUTHORISED, STORE_UNSUPPORTED
 */
export async function connectInflux(setting: InfluxSetting): Promise<InfluxClient> {
  const { influx, agent } = connect(setting);
  const ask = createAsk(influx, setting);
  let found: { flavour: Flavour; version: string };
  try {
    found = flavourOf(await ping(ask, setting.startWaitMs), setting.url);
  } catch (error) {
    agent.destroy();
    throw error;
  }
  const query = createQuery(ask, setting);
  // 3.x takes one statement in a request.
  const [perRequest, atOnce] = found.flavour === 3 ? [1, 4] : [statementsPerRequest, 2];
  return {
    ...found,
    write: createWrite(ask, writePath(found.flavour, setting), setting),
    query: async (statement) => (await query(statement, 1))[0] as Block[],
    queryAll: async (statements) => {
      const answers: Block[][] = [];
      const starts = Array.from({ length: Math.ceil(statements.length / perRequest) }, (_, i) => i * perRequest);
      await eachOf(starts, atOnce, async (start) => {
        const some = statements.slice(start, start + perRequest);
        for (const [i, blocks] of (await query(some.join(";"), some.length)).entries()) answers[start + i] = blocks;
      });
      return answers;
    },
    createDatabase: async () => void (await query(`CREATE DATABASE ${quotedName(setting.database)}`, 1)),
    close: () => agent.destroy(),
  };
}
