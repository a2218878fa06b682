import { type Static, Type } from "typebox";

const text = (description: string, maxLength = 255) =>
  Type.Optional(Type.String({ minLength: 1, maxLength, description }));

/** Certificates of gateways. Relative paths start at the configuration's folder. */
export const enrolmentSchema = Type.Object(
  {
    brokerHost: Type.String({
      minLength: 1,
      maxLength: 253,
      description: "address of the broker as gateways reach it, told to each that enrols",
    }),
    brokerPort: Type.Integer({ default: 8883, minimum: 1, maximum: 65_535 }),
    brokerCaFile: text("authority of the broker's certificate, given to gateways; the platform's own if absent", 4096),
    publicUrl: Type.Optional(
      Type.String({
        pattern: "^https?://",
        maxLength: 255,
        description: "address of this interface as gateways reach it, as `jilian enrol` prints it",
      }),
    ),
    certificateDays: Type.Integer({
      default: 90,
      minimum: 1,
      maximum: 825,
      description: "life of a gateway's certificate; it renews itself when a third is left",
    }),
    gatewayDir: text("folder that holds configurations for new gateways, FACTORY/GATEWAY.yaml", 4096),
  },
  { additionalProperties: false },
);
export type EnrolmentConfig = Static<typeof enrolmentSchema>;
