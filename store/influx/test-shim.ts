import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Shim = {
  readonly url: string;
  /** Paths that were asked for, without their parameters, in order. */
  readonly paths: string[];
  /** How 3.x tells of lines that it left out: 400, or 201 in some versions. */
  partialStatus: 400 | 201;
  readonly close: () => Promise<void>;
};

export const shimToken = "the-token-of-the-shim";
export const shimOrg = "acme";

type Reply = { status: number; body?: object | string; headers?: Record<string, string> };

/** What the documentation of 2.x and 3.x says of versions, errors and paths. */
const dialects = {
  2: {
    ping: { status: 204, headers: { "X-Influxdb-Version": "v2.7.11", "X-Influxdb-Build": "OSS" } },
    unauthorised: { status: 401, body: { code: "unauthorized", message: "unauthorized access" } },
    refused: (error: string) => ({
      status: 422,
      body: { code: "unprocessable entity", message: `failure writing points to database: ${error}` },
    }),
  },
  3: {
    ping: {
      status: 200,
      headers: { "X-Influxdb-Version": "3.2.1", "X-Influxdb-Build": "Core" },
      body: { version: "3.2.1", revision: "1ca3168bee" },
    },
    unauthorised: { status: 401, body: { error: "the request was not authenticated" } },
    refused: (error: string) => ({
      status: 400,
      body: {
        error: "partial write of line protocol occurred",
        data: [{ original_line: "sample,device=press-1", line_number: 2, error_message: error }],
      },
    }),
  },
} as const;

/** Statements of a query, told apart by semicolons outside of quotes. */
function statementsOf(query: string): number {
  return query.replaceAll(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, "").split(";").length;
}

/**
 * Answers as InfluxDB 2.x or 3.x does by its documentation, on the storage of a real 1.x: paths, authorisation, versions, error bodies,
 * and what they do not take. No 2.x or 3.x was at hand when this was written.
 */
export async function startShim(target: string, version: 2 | 3, databases: readonly string[]): Promise<Shim> {
  const dialect = dialects[version];
  const known = new Set(databases);
  const shim = { paths: [] as string[], partialStatus: 400 as 400 | 201 };

  async function forward(path: string, body: string, type: string): Promise<Reply> {
    const answer = await fetch(`${target}${path}`, { method: "POST", body, headers: { "content-type": type } });
    return { status: answer.status, body: await answer.text() };
  }

  async function write(parameters: URLSearchParams, body: string): Promise<Reply> {
    const bucket = parameters.get("bucket") ?? "";
    if (version === 2 && parameters.get("org") !== shimOrg) {
      return {
        status: 404,
        body: { code: "not found", message: `organization name "${parameters.get("org")}" not found` },
      };
    }
    if (version === 2 && !known.has(bucket)) {
      return { status: 404, body: { code: "not found", message: `bucket "${bucket}" not found` } };
    }
    if (!known.has(bucket)) {
      await forward("/query", new URLSearchParams({ q: `CREATE DATABASE "${bucket}"` }).toString(), form);
      known.add(bucket);
    }
    const path = `/write?db=${encodeURIComponent(bucket)}&precision=${parameters.get("precision")}`;
    const reply = await forward(path, body, "text/plain");
    if (reply.status === 204) return { status: 204 };
    const refused = dialect.refused(String(reply.body));
    return version === 3 ? { ...refused, status: shim.partialStatus } : refused;
  }

  async function query(parameters: URLSearchParams, body: string): Promise<Reply> {
    const text = new URLSearchParams(body).get("q") ?? "";
    const database = parameters.get("db") ?? "";
    if (/CREATE DATABASE/i.test(text)) return { status: 400, body: { error: "not implemented: CREATE DATABASE" } };
    if (version === 3 && statementsOf(text) > 1) {
      return { status: 400, body: { error: "must provide only one InfluxQl statement per query" } };
    }
    if (!known.has(database)) return { status: 404, body: { error: `database not found: ${database}` } };
    return await forward(`/query?${parameters}`, body, form);
  }

  async function reply(incoming: IncomingMessage): Promise<Reply> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString("utf8");
    const url = new URL(incoming.url ?? "/", target);
    shim.paths.push(url.pathname);
    const open = version === 2 && url.pathname === "/ping";
    if (!open && incoming.headers.authorization !== `Token ${shimToken}`) return dialect.unauthorised;
    if (url.pathname === "/ping") return dialect.ping;
    if (url.pathname === "/api/v2/write") return await write(url.searchParams, body);
    if (url.pathname === "/query") return await query(url.searchParams, body);
    return { status: 404, body: { error: "not found" } };
  }

  const server = createServer((incoming: IncomingMessage, outgoing: ServerResponse) => {
    reply(incoming).then(
      ({ status, body = "", headers = {} }) => {
        const text = typeof body === "string" ? body : JSON.stringify(body);
        outgoing.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
      },
      () => incoming.socket.destroy(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(shim, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  });
}

const form = "application/x-www-form-urlencoded";
