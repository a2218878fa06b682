import { apiSchema } from "@jilian/api/config.ts";
import { brokerSchema } from "@jilian/broker/config.ts";
import { type Checked, checkConfig, type SemanticFault } from "@jilian/domain/check-config.ts";
import { ingestSchema } from "@jilian/ingest/config.ts";
import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;

/** How ingest reaches a broker of another process. In the broker's own process it is attached directly and this is not used. */
const remoteBrokerSchema = Type.Object(
  {
    host: Type.String({ default: "127.0.0.1", minLength: 1 }),
    port: Type.Integer({ default: 1883, minimum: 1, maximum: 65535 }),
    username: Type.String({
      minLength: 1,
      description: "name of a host credential, equal to ingest.hostId: jilian credential host NAME",
    }),
    passwordFile: Type.String({
      minLength: 1,
      description: "file that holds the password, readable by this user alone",
    }),
  },
  strict,
);

/** `platform.yaml`: everything that `jilian run` needs to know. Relative paths start at the file's own folder. */
export const platformSchema = Type.Object(
  {
    dataDir: Type.String({ minLength: 1, description: "folder of the embedded stores; made when it is not there" }),
    registry: Type.String({ minLength: 1, description: "path of cluster.yaml" }),
    logLevel: Type.Optional(
      Type.Union(
        ["trace", "debug", "info", "warn", "error"].map((level) => Type.Literal(level)),
        { description: "default info" },
      ),
    ),
    store: Type.Object(
      {
        memoryLimitMb: Type.Integer({ default: 512, minimum: 64, description: "memory that DuckDB may take" }),
        threads: Type.Integer({ default: 2, minimum: 1, maximum: 64 }),
      },
      { ...strict, default: {} },
    ),
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

/** Checks `platform.yaml` for the services that shall run. Pure; all faults at once. */
export function readPlatformConfig(
  text: string,
  file: string,
  services: readonly ServiceName[],
): Checked<PlatformConfig> {
  const needsRemote = services.includes("ingest") && !services.includes("broker");
  return checkConfig(platformSchema, text, file, (config): SemanticFault[] => {
    if (!needsRemote) return [];
    const { hostId } = config.ingest;
    if (!config.remoteBroker) {
      const expected = "host, port, username, passwordFile of a broker: ingest runs without one in its process";
      return [{ path: "/remoteBroker", expected, remedy: "add remoteBroker, or run broker and ingest in one process" }];
    }
    if (config.remoteBroker.username === hostId) return [];
    // The broker lets a host application tell its own STATE only, and knows it by its user name.
    const expected = `"${hostId}", the Sparkplug host id in ingest.hostId`;
    return [{ path: "/remoteBroker/username", expected, remedy: "use one name for both" }];
  });
}
