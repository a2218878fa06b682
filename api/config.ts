import { minVersions } from "@jilian/domain/tls.ts";
import { type Static, Type } from "typebox";
import { enrolmentSchema } from "./enrolment-config.ts";

const strict = { additionalProperties: false } as const;

const file = (description: string) => Type.String({ minLength: 1, description });

/** TLS of the interface: then its port speaks nothing else. Files are PEM; relative paths start at the configuration's folder. */
const tlsSchema = Type.Object(
  {
    certFile: file("certificate, followed by those of its chain; a renewed one is taken up without a restart"),
    keyFile: file("private key, without a pass phrase, readable by this user alone"),
    minVersion: Type.Unsafe<(typeof minVersions)[number]>(
      Type.Union(
        minVersions.map((version) => Type.Literal(version)),
        { default: "TLSv1.2" },
      ),
    ),
  },
  strict,
);

/** The API's part of the platform's configuration. A whole file is checked by the program that reads it (domain/check-config.ts). */
export const apiSchema = Type.Object(
  {
    host: Type.String({
      default: "127.0.0.1",
      minLength: 1,
      maxLength: 255,
      description: "address to listen on; 0.0.0.0 or :: for every network, with tls or behind a proxy that speaks it",
    }),
    port: Type.Integer({ default: 8080, minimum: 0, maximum: 65535, description: "TCP port; 0 takes a free one" }),
    tls: Type.Optional(tlsSchema),
    enrolment: Type.Optional(enrolmentSchema),
    maxStreams: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: "most streams of changes, most displays of the wall, and most waiting questions open at once, each",
    }),
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
