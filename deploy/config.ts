import { apiSchema } from "@jilian/api/config.ts";
import { brokerFaults, brokerSchema } from "@jilian/broker/config.ts";
import { type Checked, checkConfig, type SemanticFault } from "@jilian/domain/check-config.ts";
import type { Env } from "@jilian/domain/config-env.ts";
import { logLevels } from "@jilian/domain/log-levels.ts";
import { opsSchema } from "@jilian/domain/ops-schema.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { influxSchema } from "@jilian/store/influx/config.ts";
import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;
const levelSchema = (description: string) =>
  Type.Optional(
    Type.Unsafe<string>(
      Type.Union(
        logLevels.map((level) => Type.Literal(level)),
        { description },
      ),
    ),
  );
const tlsFile = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));

/** How ingest reaches a broker of another process. In the broker's own process it is attached directly and this is not used. */
const remoteBrokerSchema = Type.Object(
  {
    host: Type.String({ default: "127.0.0.1", minLength: 1 }),
    port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: "1883 if absent, with tls 8883" })),
    tls: Type.Optional(
      Type.Object(
        {
          caFile: tlsFile("authority of the broker's certificate, PEM; those that Node.js knows if absent"),
          serverName: Type.Optional(
            Type.String({ minLength: 1, description: "name in the broker's certificate, if not that of host" }),
          ),
          certFile: tlsFile("certificate of this host application, where the broker asks for one"),
          keyFile: tlsFile("its private key, without a pass phrase, readable by this user alone"),
        },
        strict,
      ),
    ),
    username: Type.String({
      minLength: 1,
      description: "name of a host credential, equal to ingest.hostId: jilian credential host NAME",
    }),
    passwordFile: Type.String({
      minLength: 1,
      description: "file that holds the password, readable by this user alone",
    }),
    filters: Type.Optional(
      Type.Array(
        Type.String({
          // Of a node all or nothing: a filter may choose by factory, or share by node, and nothing finer.
          pattern: "^(?:\\$share/[^/+#]+/)?spBv1\\.0/(?:#|[^/+#]+/(?:#|\\+/[^/+#]+/#))$",
          maxLength: 300,
        }),
        {
          minItems: 1,
          maxItems: 1000,
          description: "topic filters of what this ingest hears, such as spBv1.0/FACTORY/#; all nodes if absent",
        },
      ),
    ),
  },
  strict,
);

/** What logs under a name of its own. */
export const loggedServices = ["broker", "store", "ingest", "api"] as const;

/** `platform.yaml`: everything that `jilian run` needs to know. Relative paths start at the file's own folder. */
export const platformSchema = Type.Object(
  {
    dataDir: Type.String({ minLength: 1, description: "folder of the embedded stores; made when it is not there" }),
    registry: Type.String({ minLength: 1, description: "path of cluster.yaml" }),
    logLevel: levelSchema("default info"),
    /** Levels of single services, where they shall differ. */
    logLevels: Type.Optional(
      Type.Object(
        Object.fromEntries(loggedServices.map((service) => [service, levelSchema("")])) as Record<
          (typeof loggedServices)[number],
          ReturnType<typeof levelSchema>
        >,
        strict,
      ),
    ),
    ops: Type.Optional(opsSchema(9464)),
    store: Type.Object(
      {
        memoryLimitMb: Type.Integer({ default: 512, minimum: 64, description: "memory that DuckDB may take" }),
        threads: Type.Integer({ default: 2, minimum: 1, maximum: 64 }),
      },
      { ...strict, default: {}, description: "the embedded telemetry store, DuckDB" },
    ),
    /** Samples, leaves and minute figures in an InfluxDB instead; hours and days are shown there too. The ledger stays where it is. */
    influx: Type.Optional(influxSchema),
    broker: brokerSchema,
    remoteBroker: Type.Optional(remoteBrokerSchema),
    ingest: ingestSchema,
    api: apiSchema,
  },
  strict,
);
export type PlatformConfig = Static<typeof platformSchema>;

export const serviceNames = ["broker", "ingest", "api"] as const;
export type ServiceName = (typeof serviceNames)[number];

function remoteFaults({ remoteBroker, ingest }: PlatformConfig): SemanticFault[] {
  const { hostId } = ingest;
  if (!remoteBroker) {
    const expected = "host, port, username, passwordFile of a broker: ingest runs without one in its process";
    return [{ path: "/remoteBroker", expected, remedy: "add remoteBroker, or run broker and ingest in one process" }];
  }
  const faults: SemanticFault[] = [];
  if (remoteBroker.username !== hostId) {
    // The broker lets a host application tell its own STATE only, and knows it by its user name.
    const expected = `"${hostId}", the Sparkplug host id in ingest.hostId`;
    faults.push({ path: "/remoteBroker/username", expected, remedy: "use one name for both" });
  }
  const { certFile, keyFile } = remoteBroker.tls ?? {};
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const missing = certFile === undefined ? "certFile" : "keyFile";
    const expected = "certFile and keyFile, both or neither";
    faults.push({ path: `/remoteBroker/tls/${missing}`, expected, remedy: `add "${missing}"` });
  }
  return faults;
}

/**
 * Checks `platform.yaml` for the services that shall run. Pure; all faults at once.
 * @param env variables that come in place of the file's values (domain/config-env.ts)
 */
export function readPlatformConfig(
  text: string,
  file: string,
  services: readonly ServiceName[],
  env: Env = {},
): Checked<PlatformConfig> {
  const needsRemote = services.includes("ingest") && !services.includes("broker");
  const semantic = (config: PlatformConfig): SemanticFault[] => [
    ...brokerFaults(config.broker).map((fault) => ({ ...fault, path: `/broker${fault.path}` })),
    ...(needsRemote ? remoteFaults(config) : []),
  ];
  return checkConfig(platformSchema, text, file, semantic, env);
}
