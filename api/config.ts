import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;

/** The API's part of the platform's configuration. A whole file is checked by the program that reads it (domain/check-config.ts). */
export const apiSchema = Type.Object(
  {
    host: Type.String({
      default: "127.0.0.1",
      minLength: 1,
      maxLength: 255,
      description: "address to listen on; 0.0.0.0 or :: for every network, behind a proxy that speaks TLS",
    }),
    port: Type.Integer({ default: 8080, minimum: 0, maximum: 65535, description: "TCP port; 0 takes a free one" }),
    wall: Type.Object(
      {
        public: Type.Boolean({
          default: false,
          description: "true shows the wall page to everyone who reaches this address; false asks for an API key",
        }),
        title: Type.Optional(
          Type.String({
            minLength: 1,
            maxLength: 40,
            description: "headline of the wall page; else the cluster's name",
          }),
        ),
        operator: Type.Optional(
          Type.String({ minLength: 1, maxLength: 60, description: "who runs this platform, shown at the foot" }),
        ),
      },
      { ...strict, default: {} },
    ),
  },
  { ...strict, default: {} },
);

export type ApiConfig = Static<typeof apiSchema>;
