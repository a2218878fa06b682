import { type Static, Type } from "typebox";

/** Configuration of the broker, section `broker` of the platform's file. */
export const brokerSchema = Type.Object(
  {
    host: Type.String({ default: "127.0.0.1", description: "address to listen on; 0.0.0.0 for all of the machine" }),
    port: Type.Integer({ default: 1883, minimum: 0, maximum: 65_535, description: "TCP port; 0 takes any free one" }),
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
      description: "a connection that has not sent CONNECT by then is closed",
    }),
  },
  { additionalProperties: false },
);

export type BrokerConfig = Static<typeof brokerSchema>;
