import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpError, InfluxDB } from "@influxdata/influxdb-client";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { answerReader, type Block } from "./answer.ts";
import type { InfluxSetting } from "./config.ts";
import {
  type Answer,
  faultOf,
  isRefusal,
  queryFault,
  queryWordsFault,
  remedies,
  wordsOf,
  writeFault,
} from "./faults.ts";
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
/** Rows of one series in a piece of an answer. */
const rowsPerPiece = 100_000;
const pauseBetweenPingsMs = 250;
const pingTimeoutMs = 5_000;

export type InfluxClient = {
  readonly flavour: Flavour;
  /** As it tells itself: `1.6.7`. */
  readonly version: string;
  /**
   * Writes lines with times in milliseconds; resolves when InfluxDB has acknowledged all of them. When it rejects, any of them may be
   * stored, or may be still: the outcome of a request without an answer is unknown.
   * @throws JilianError VALUE_MISFIT, SAMPLE_TOO_LATE when lines are at fault; anything else: the store is, and the same lines can be
   * written again, for STORE_BUSY_REMOTE after `retryAfterMs`, for STORE_LIMIT once the limit is raised
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

/** Takes bytes of an answer as they come, in place of its body, where the status is 200. */
type Take = (chunk: Buffer) => void;

/** The answer of one request, whatever its status. @throws what the network throws */
function exchange(
  { transport }: InfluxDB,
  path: string,
  body: string,
  {
    method,
    type,
    timeoutMs,
    take,
  }: { method: "GET" | "POST"; type: string; timeoutMs: number; take?: Take | undefined },
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
  let retryAfter: string | undefined;
  transport.send(path, body, { method, headers: { "content-type": type }, signal: abort.signal } as never, {
    responseStarted: (headers, code) => {
      status = code ?? 0;
      version = headers["x-influxdb-version"] as string | undefined;
      retryAfter = headers["retry-after"] as string | undefined;
    },
    next: (chunk) => {
      if (take && status === 200) take(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      else chunks.push(chunk);
    },
    complete: () => resolve({ status, version, retryAfter, body: Buffer.concat(chunks).toString("utf8") }),
    error: (error) => {
      if (!(error instanceof HttpError)) reject(error);
      else resolve({ status: error.statusCode, version, retryAfter, body: error.body ?? "" });
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
  if (errors.length > 0) throw errors.find((error) => isRefusal(codeOf(error))) ?? errors[0];
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
  take?: Take;
}) => Promise<Answer>;

/** Asks, whatever the answer's status. @throws JilianError STORE_UNREACHABLE: whether the request was served is unknown */
function createAsk(influx: InfluxDB, { url, requestTimeoutMs }: InfluxSetting): Ask {
  return async ({ path, body = "", action, method = "POST", timeoutMs = requestTimeoutMs, take }) => {
    const type = path.startsWith("/query") ? "application/x-www-form-urlencoded" : "text/plain; charset=utf-8";
    return await exchange(influx, path, body, { method, type, timeoutMs, take }).catch((cause: unknown) => {
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
  const place = { action: "write to InfluxDB", address: `${url}, database ${database}` };
  return async (lines) => {
    await eachOf(requestsOf(lines), writesInFlight, async (body) => {
      const answer = await ask({ path, body, action: place.action });
      // 3.x may answer 201 when it took only some of the lines; only 204 says all.
      if (answer.status !== 204) throw writeFault(answer, place);
    });
  };
}

type Query = (text: string, statements: number) => Promise<Block[][]>;

/**
 * One query request of some statements, divided by semicolons. Asked for an answer in one piece, 1.x and 2.x either cut it (max-row-limit) or
 * say of a series of more than 10,000 rows that it is cut when it is not; in pieces each says truly whether more follows.
 */
function createQuery(ask: Ask, flavour: Flavour, { url, database }: InfluxSetting): Query {
  const pieces = flavour === 3 ? "" : `&chunked=true&chunk_size=${rowsPerPiece}`;
  const path = `/query?db=${encodeURIComponent(database)}&epoch=ms${pieces}`;
  const place = { action: "query InfluxDB", address: `${url}, database ${database}` };
  return async (text, statements) => {
    const { take, end } = answerReader(statements);
    const answer = await ask({ path, body: new URLSearchParams({ q: text }).toString(), ...place, take });
    if (answer.status !== 200) throw queryFault(answer, place);
    const { blocks, error } = end();
    if (error === undefined) return blocks;
    throw queryWordsFault(error, place);
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
  const query = createQuery(ask, found.flavour, setting);
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
