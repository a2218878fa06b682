import { Type } from "typebox";

/** The section `ops` of both programs: an address for supervisors and Prometheus, none when it is left out. */
export const opsSchema = (port: number) =>
  Type.Object(
    {
      host: Type.String({
        default: "127.0.0.1",
        minLength: 1,
        maxLength: 255,
        description: "address to listen on; whoever reaches it can read health and metrics",
      }),
      port: Type.Integer({ default: port, minimum: 0, maximum: 65_535, description: "TCP port; 0 takes a free one" }),
    },
    { additionalProperties: false },
  );
