import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { type AddressInfo, isIP } from "node:net";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type OpsSource, opsAnswers } from "@jilian/domain/ops.ts";
import type { Logger } from "pino";

export type Ops = { readonly port: number; readonly close: () => Promise<void> };

const limits = { connections: 32, headersTimeoutMs: 5000, requestTimeoutMs: 5000, keepAliveTimeoutMs: 5000 };

/** 127.0.0.0/8 and ::1, also as a socket of both families tells the former; no address is none: its socket has ended. */
const isLoopback = (address = ""): boolean => address === "::1" || /^(::ffff:)?127\./.test(address);

const isLoopbackName = (name: string): boolean => name === "localhost" || (isIP(name) !== 0 && isLoopback(name));
/** What proxies say for whom they ask. */
const passedOnBy = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/**
 * Why a request that comes over loopback is not of this machine all the same, as far as it tells: a proxy on the machine has passed it on,
 * or a browser on it was told that the name of a web page is at 127.0.0.1 (DNS rebinding).
 */
function foreignSign(headers: IncomingHttpHeaders): string | undefined {
  const header = passedOnBy.find((name) => headers[name] !== undefined);
  if (header !== undefined) return `a proxy has passed this request on (${header})`;
  const { host } = headers;
  const name = host && /^\[?(.*?)\]?(?::\d*)?$/.exec(host)?.[1];
  return name === undefined || isLoopbackName(name.toLowerCase())
    ? undefined
    : "the Host of this request is not 127.0.0.1, localhost or [::1]";
}

/**
 * Serves health and metrics (domain/ops.ts) for supervisors and Prometheus: few connections, no bodies, nothing that writes. Whoever
 * reaches its address needs no key, so that what a program has for its own machine is answered to loopback alone, and where the address is
 * loopback, metrics too: a request that only seems to come from this machine has neither. Both programs use it.
 * @throws JilianError OPS_LISTEN_FAILED
 */
export async function startOps(
  { host, port }: { host: string; port: number },
  { source, log }: { source: OpsSource; log: Logger },
): Promise<Ops> {
  const answer = opsAnswers(source);
  const { headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs } = limits;
  const server = createServer(
    { headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveTimeoutMs },
    async (request, response) => {
      const isFromLoopback = isLoopback(request.socket.remoteAddress);
      const sign = isFromLoopback ? foreignSign(request.headers) : undefined;
      const { status, headers, body } = await answer(request.method ?? "", request.url ?? "", {
        isLocal: isFromLoopback && sign === undefined,
        foreign: isLoopbackName(host) ? sign : undefined,
      });
      // A body was not asked for: what is left of it ends with the connection.
      const rest = request.headers["content-length"] ?? request.headers["transfer-encoding"];
      response.writeHead(status, rest === undefined ? headers : { ...headers, connection: "close" });
      response.end(request.method === "HEAD" ? undefined : body);
    },
  );
  server.maxConnections = limits.connections;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new JilianError(`health and metrics cannot listen on ${host}:${port}: ${messageOf(cause)}`, {
      code: "OPS_LISTEN_FAILED",
      action: "serve health and metrics",
      remedy: "stop what uses this port, or change ops.host or ops.port",
      address: `${host}:${port}`,
      cause,
    });
  }
  const taken = (server.address() as AddressInfo).port;
  log.info({ host, port: taken }, "health and metrics listen");
  return {
    port: taken,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
