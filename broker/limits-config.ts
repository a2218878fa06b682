import { type Static, type TSchema, Type } from "typebox";
import { Value } from "typebox/value";

const count = (value: number, most: number, description: string) =>
  Type.Integer({ default: value, minimum: 1, maximum: most, description });
const mebibyte = 1_048_576;

/** A section that may be left out: then every value of it is its default. */
function section<T extends Record<string, TSchema>>(properties: T) {
  const strict = { additionalProperties: false } as const;
  return Type.Object(properties, { ...strict, default: Value.Create(Type.Object(properties)) as object });
}

/**
 * What one client, one enterprise and one address may take of the broker (`broker.limits`). An enterprise is that of the gateways of its
 * factories and of its viewers, by the registry; hosts and operators are of none.
 */
export const limitsSchema = section({
  handshakes: count(256, 10_000, "TLS and WebSocket handshakes under way at once"),
  connectionsPerAddress: count(1000, 100_000, "connections of one network address"),
  connectionsPerAccount: count(100, 100_000, "clients of one account: a host or viewer may have several"),
  topicBytes: count(512, 65_535, "longest topic or filter"),
  topicLevels: Type.Integer({ default: 8, minimum: 7, maximum: 100, description: "levels of a topic or filter" }),
  subscriptions: count(100, 10_000, "filters that one client has at once"),
  client: section({
    connectsPerMinute: count(60, 6000, "connects under one client id; as many at once"),
    messagesPerSecond: count(5000, 1_000_000, "packets taken of one client; beyond it is read more slowly"),
    bytesPerSecond: count(16 * mebibyte, 1024 * mebibyte, "bytes taken of one client; beyond it is read more slowly"),
    queueBytes: count(32 * mebibyte, 1024 * mebibyte, "what may wait for a client that reads slowly; then it is ended"),
  }),
  enterprise: section({
    connections: count(1000, 100_000, "clients of one enterprise"),
    connectsPerMinute: count(2000, 100_000, "connects of one enterprise; as many at once"),
    messagesPerSecond: count(20_000, 1_000_000, "packets taken of one enterprise"),
    bytesPerSecond: count(64 * mebibyte, 1024 * mebibyte, "bytes taken of one enterprise"),
  }),
  queueBytes: count(256 * mebibyte, 65_536 * mebibyte, "what may wait for all clients; then the slowest is ended"),
  birthBytesPerGateway: count(8 * mebibyte, 1024 * mebibyte, "births of one gateway kept for who subscribes later"),
  birthBytes: count(256 * mebibyte, 65_536 * mebibyte, "births kept of all gateways"),
});

export type BrokerLimits = Static<typeof limitsSchema>;
