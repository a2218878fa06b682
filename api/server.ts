import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type FastifyBaseLogger, fastify, LogController } from "fastify";
import type { ApiDeps, App } from "./app.ts";
import type { ApiConfig } from "./config.ts";
import { createDirectory } from "./directory.ts";
import { answerWithProblems, onBadAddress, onMalformedRequest } from "./problems.ts";
import { addFindingRoutes } from "./routes/findings.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addInfoRoutes } from "./routes/info.ts";
import { addMetricRoutes } from "./routes/metrics.ts";
import { addReadingRoutes } from "./routes/readings.ts";
import { addRegistryRoutes } from "./routes/registry.ts";
import { addWallRoutes } from "./routes/wall.ts";
import { addSecurityHeaders, createKeyCheck } from "./security.ts";

export type Api = {
  /** `http://host:port`, with the port that was taken. */
  readonly url: string;
  readonly port: number;
  /** Ends within a second, whoever is connected. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** Builds the app without listening; tests call it and `inject`. */
export function buildApi(config: ApiConfig, deps: ApiDeps): App {
  const app = fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    // Every request at info level would be the larger part of a plant's log; failures and refusals are logged where they happen.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    forceCloseConnections: true,
    bodyLimit: 1024,
    requestTimeout: 10_000,
    connectionTimeout: 60_000,
    routerOptions: { maxParamLength: 200 },
    ajv: {
      // Unknown parameters are faults, not noise, and all faults are told at once. Defaults are the routes' own: they may come of a cursor.
      customOptions: { allErrors: true, verbose: true, removeAdditional: false, useDefaults: false, coerceTypes: true },
    },
    frameworkErrors: onBadAddress,
    clientErrorHandler: onMalformedRequest,
  }).withTypeProvider<TypeBoxTypeProvider>();
  addSecurityHeaders(app);
  answerWithProblems(app);
  const checkKey = createKeyCheck(deps.ledger);
  const directory = createDirectory(deps.registry);
  app.register(
    async (open: App) => {
      open.addHook("onRequest", checkKey);
      addInfoRoutes(open, deps, directory);
      addRegistryRoutes(open, deps, directory);
      addMetricRoutes(open, deps, directory);
      addReadingRoutes(open, deps);
      addFindingRoutes(open, deps);
    },
    { prefix: "/open/v1" },
  );
  addHealthRoutes(app, deps);
  addWallRoutes(app, config, deps, directory, checkKey);
  return app;
}

async function listen(app: App, { host, port }: ApiConfig): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    throw new JilianError(`the open data interface cannot listen on ${host}:${port}: ${messageOf(cause)}`, {
      code: "API_LISTEN_FAILED",
      action: "start the open data interface",
      remedy: "stop what uses this port, or change api.host or api.port",
      address: `${host}:${port}`,
      cause,
    });
  }
}

/**
 * Starts the open data interface and the wall page. Read-only: there is no route that writes.
 * @throws JilianError API_LISTEN_FAILED
 */
export async function startApi(config: ApiConfig, deps: ApiDeps): Promise<Api> {
  const app = buildApi(config, deps);
  await listen(app, config);
  const { port } = app.server.address() as AddressInfo;
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;
  const url = `http://${host}:${port}`;
  deps.log.info({ url, wall: config.wall.public ? "public" : "API key" }, "open data interface listens");
  const close = async () => {
    await app.close();
  };
  return { url, port, close, [Symbol.asyncDispose]: close };
}
