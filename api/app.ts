import type { IncomingMessage, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { Clock } from "@jilian/domain/clock.ts";
import type { Indicator } from "@jilian/domain/indicators/definition.ts";
import type { Authority } from "@jilian/store/authority.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { Telemetry } from "@jilian/store/telemetry.ts";
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from "fastify";
import type { Logger } from "pino";
import type { ProblemCode } from "./problem-codes.ts";

/** What the API reads from. Only operators write, versions of the registry and acknowledged alarms, and gateways that enrol, into the ledger. */
export type ApiDeps = {
  telemetry: Telemetry;
  ledger: Ledger;
  /** Live state of this process; where ingest runs elsewhere, an empty one. */
  live: LiveState;
  /** In force now: its fields change when a version is applied, so none is kept beyond an answer. */
  registry: Registry;
  clock: Clock;
  log: Logger;
  /** Indicators that are offered with their definitions; those of this release if absent. */
  catalogue?: readonly Indicator[];
  /** Folder that relative paths of the configuration start at; that of the process if absent. */
  baseDir?: string;
  /** The platform's certificate authority; gateways enrol only where it is there and `api.enrolment` is set. */
  authority?: () => Promise<Authority>;
};

declare module "fastify" {
  interface FastifyContextConfig {
    /** Refusals of a route by their codes, beside those that every route has; for the OpenAPI document. */
    problems?: readonly ProblemCode[];
  }
}

/** The Fastify app, whose routes are typed by their TypeBox schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;
