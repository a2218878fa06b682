import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type OpsSource, opsAnswers } from "@jilian/domain/ops.ts";
import type { Logger } from "pino";

export type Ops = { readonly port: number; readonly close: () => Promise<void> };

const limits = { connections: 32, headersTimeoutMs: 5000, requestTimeoutMs: 5000, keepAliveTimeoutMs: 5000 };

/** 127.0.0.0/8 and ::1, also as a socket of both families tells the former; no address is none: its socket has ended. */
const isLoopback = (address = ""): boolean => address === "::1" || /^(::ffff:)?127\./.test(address);

/**
 * Serves health and metrics (domain/ops.ts) for supervisors and Prometheus: few connections, no bodies, nothing that writes. Whoever
 * reaches its address needs no key, so that what a program has for its own machine is answered to loopback alone. Both programs use it.
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
      const { status, headers, body } = await answer(request.method ?? "", request.url ?? "", {
        isLocal: isLoopback(request.socket.remoteAddress),
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
