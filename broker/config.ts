import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { minVersions } from "@jilian/domain/tls.ts";
import { type Static, Type } from "typebox";
import { limitsSchema } from "./limits-config.ts";

const file = (description: string) => Type.String({ minLength: 1, description });

/** TLS of the broker: MQTT over TLS on a port of its own. Files are PEM; relative paths start at the configuration's folder. */
const tlsSchema = Type.Object(
  {
    host: Type.Optional(
      Type.String({ minLength: 1, description: "address to listen on; that of the broker if absent" }),
    ),
    port: Type.Integer({ default: 8883, minimum: 0, maximum: 65_535, description: "TCP port; 0 takes any free one" }),
    webSocketPort: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description: "port of MQTT over WebSocket over TLS, path /mqtt; usually 8884; none if absent",
      }),
    ),
    certFile: file("certificate, followed by those of its chain"),
    keyFile: file("private key, without a pass phrase, readable by this user alone"),
    caFile: Type.Optional(
      file("authority of client certificates: then a client needs one, beside its user name and password"),
    ),
    minVersion: Type.Unsafe<(typeof minVersions)[number]>(
      Type.Union(
        minVersions.map((version) => Type.Literal(version)),
        { default: "TLSv1.2" },
      ),
    ),
  },
  { additionalProperties: false },
);

/** Configuration of the broker, section `broker` of the platform's file. */
export const brokerSchema = Type.Object(
  {
    host: Type.String({ default: "127.0.0.1", description: "address to listen on; 0.0.0.0 for all of the machine" }),
    port: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 65_535,
        description: "TCP port without TLS; 0 takes any free one; 1883 if absent, with tls none",
      }),
    ),
    tls: Type.Optional(tlsSchema),
    maxPayloadBytes: Type.Integer({
      default: 1_048_576,
      minimum: 1024,
      maximum: 67_108_864,
      description: "largest payload of a message; a client that sends more is disconnected",
    }),
    maxConnections: Type.Integer({ default: 2000, minimum: 1, maximum: 100_000 }),
    keepaliveMaxMs: Type.Integer({
      default: 120_000,
      minimum: 1000,
      maximum: 3_600_000,
      description:
        "longest keep-alive a client may ask for: a gateway that vanished is told offline after 1.5 times its keep-alive",
    }),
    connectTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 60_000,
      description: "a connection that has not finished its TLS handshake, or has not sent CONNECT, by then is closed",
    }),
    limits: limitsSchema,
  },
  { additionalProperties: false },
);

export type BrokerConfig = Static<typeof brokerSchema>;
export type BrokerTlsConfig = Static<typeof tlsSchema>;

/** The port without TLS, if there is one: a broker that has TLS listens without it only when it is told to. */
export function plainPort({ port, tls }: Pick<BrokerConfig, "port" | "tls">): number | undefined {
  return port ?? (tls ? undefined : 1883);
}

/** True for an address that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host);
}

/** What the schema cannot express. Pure; paths start at the broker's section. */
export function brokerFaults(broker: BrokerConfig): SemanticFault[] {
  const { host, port, tls } = broker;
  if (!tls) return [];
  const faults: SemanticFault[] = [];
  const isOneHost = (tls.host ?? host) === host;
  if (port && port === tls.port && isOneHost)
    faults.push({
      path: "/tls/port",
      expected: "another port than broker.port",
      remedy: "leave broker.port out, or give 8883 here",
    });
  const { webSocketPort } = tls;
  if (webSocketPort && (webSocketPort === tls.port || (isOneHost && webSocketPort === port)))
    faults.push({
      path: "/tls/webSocketPort",
      expected: "another port than those without WebSocket",
      remedy: "give 8884 here",
    });
  return faults;
}
