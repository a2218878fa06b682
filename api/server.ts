import { randomUUID } from "node:crypto";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type FastifyBaseLogger, fastify, LogController } from "fastify";
import type { ApiDeps, App } from "./app.ts";
import { createChangeFeed } from "./change-feed.ts";
import type { ApiConfig } from "./config.ts";
import { createDirectory } from "./directory.ts";
import { addOpenApiRoute, describeRoutes } from "./openapi.ts";
import { answerWithProblems, malformedAnswerer, onBadAddress } from "./problems.ts";
import { addAlarmOperatorRoutes, addAlarmRoutes } from "./routes/alarms.ts";
import { addChangeRoutes } from "./routes/changes.ts";
import { addCompletenessRoutes } from "./routes/completeness.ts";
import { addDefinitionRoutes } from "./routes/definitions.ts";
import { addFindingRoutes } from "./routes/findings.ts";
import { addGatewayRoutes } from "./routes/gateway.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addInfoRoutes } from "./routes/info.ts";
import { addMetricRoutes } from "./routes/metrics.ts";
import { addOperatorRoutes } from "./routes/operator.ts";
import { addReadingRoutes } from "./routes/readings.ts";
import { addRegistryRoutes } from "./routes/registry.ts";
import { addStreamRoutes } from "./routes/stream.ts";
import { addWallRoutes } from "./routes/wall.ts";
import { createKeyCheck } from "./security.ts";
import { addSecurityHeaders } from "./security-headers.ts";
import { type ApiStats, countRequests, createStats, type Stats } from "./stats.ts";
import { type Certificate, readCertificate } from "./tls.ts";

export type Api = {
  /** `http://host:port` or `https://host:port`, with the port that was taken. */
  readonly url: string;
  readonly port: number;
  /** Counters of requests, streams and refused keys. */
  readonly apiStats: () => ApiStats;
  /** Looks at the files of the certificate now instead of within half a minute; nothing without TLS. For a SIGHUP. */
  readonly reloadCertificate: () => void;
  /** Ends within a second, whoever is connected; streams and waiting questions end at once. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

type Built = { app: App; stats: Stats; certificate: Certificate | undefined };

function createApp(config: ApiConfig, deps: ApiDeps, stats: Stats, certificate: Certificate | undefined): App {
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
    clientErrorHandler: malformedAnswerer(stats),
    ...(certificate && { https: certificate.options }),
  }).withTypeProvider<TypeBoxTypeProvider>() as unknown as App;
  addSecurityHeaders(app, config.tls !== undefined);
  countRequests(app, stats);
  answerWithProblems(app);
  return app;
}

/** Registers every route. They come after the generator of the OpenAPI document, or it would not see them. */
function addRoutes(app: App, config: ApiConfig, deps: ApiDeps, stats: Stats): void {
  const keys = createKeyCheck(deps.ledger, stats);
  const directory = createDirectory(deps.registry, deps.catalogue);
  const feed = createChangeFeed(deps.ledger, deps.log);
  // Before the server stops: its close waits for answers, and these would not end by themselves.
  app.addHook("preClose", async () => feed.close());
  describeRoutes(app);
  app.register(
    async (open: App) => {
      open.addHook("onRequest", keys.hook);
      addInfoRoutes(open, deps, directory);
      addRegistryRoutes(open, deps, directory);
      addMetricRoutes(open, deps, directory);
      const log = { ...deps, directory, feed, stats, keys, maxStreams: config.maxStreams };
      addChangeRoutes(open, log);
      addStreamRoutes(open, log);
      addDefinitionRoutes(open, deps, directory);
      addReadingRoutes(open, deps);
      addCompletenessRoutes(open, deps, directory);
      addFindingRoutes(open, deps);
      addAlarmRoutes(open, deps, directory);
    },
    { prefix: "/open/v1" },
  );
  const operators = createKeyCheck(deps.ledger, stats, "operator");
  app.register(
    async (own: App) => {
      own.addHook("onRequest", operators.hook);
      addOperatorRoutes(own, deps, operators);
      addAlarmOperatorRoutes(own, deps, directory, operators);
    },
    { prefix: "/operator/v1" },
  );
  app.register(async (free: App) => {
    addOpenApiRoute(free);
    addHealthRoutes(free, deps);
    addGatewayRoutes(free, config.enrolment, deps, stats);
    addWallRoutes(free, { config, deps, directory, keys, stats, ended: feed.ended });
  });
}

function build(config: ApiConfig, deps: ApiDeps): Built {
  const stats = createStats();
  const certificate = config.tls && readCertificate(config.tls, deps.baseDir ?? ".", deps.log);
  const app = createApp(config, deps, stats, certificate);
  addRoutes(app, config, deps, stats);
  return { app, stats, certificate };
}

/** Builds the app without listening; tests call it and `inject`. @throws what the certificate of `config.tls` has wrong */
export function buildApi(config: ApiConfig, deps: ApiDeps): App {
  return build(config, deps).app;
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
 * Starts the open data interface, which reads, the wall page, and the operator interface, which changes the registry and
 * nothing else, and where gateways get certificates.
 * @throws JilianError API_LISTEN_FAILED, TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH
 */
export async function startApi(config: ApiConfig, deps: ApiDeps): Promise<Api> {
  const { app, stats, certificate } = build(config, deps);
  await listen(app, config);
  const fresh = certificate?.keepFresh(app.server as unknown as Server);
  const { port } = app.server.address() as AddressInfo;
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;
  const url = `${certificate ? "https" : "http"}://${host}:${port}`;
  deps.log.info({ url, wall: config.wall.public ? "public" : "API key" }, "open data interface listens");
  const close = async () => {
    fresh?.close();
    await app.close();
  };
  return {
    url,
    port,
    apiStats: stats.read,
    reloadCertificate: () => fresh?.look(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
