import { type Static, Type } from "typebox";

/** What ingest may be told; every default suits one machine. */
export const ingestSchema = Type.Object(
  {
    hostId: Type.String({
      default: "jilian",
      minLength: 1,
      maxLength: 60,
      description: "Sparkplug host id, topic spBv1.0/STATE/{id}",
    }),
    queueSamples: Type.Integer({
      default: 200_000,
      minimum: 1000,
      description: "samples waiting for the store; beyond it data is shed",
    }),
    batchSamples: Type.Integer({ default: 20_000, minimum: 1, description: "most samples in one store transaction" }),
    lingerMs: Type.Integer({
      default: 100,
      minimum: 0,
      maximum: 5000,
      description: "how long a batch waits for company",
    }),
    reorderMs: Type.Integer({
      default: 2000,
      minimum: 0,
      description: "how long a missing seq may come late before a rebirth is asked for",
    }),
    rebirthIntervalMs: Type.Integer({
      default: 5000,
      minimum: 100,
      description: "least time between two rebirth requests to a node",
    }),
    kpiIntervalMs: Type.Integer({
      default: 1000,
      minimum: 50,
      description: "how often leaves and minute results are brought up to date",
    }),
    provisionalIntervalMs: Type.Integer({
      default: 10_000,
      minimum: 50,
      description: "how often provisional hours and days are",
    }),
  },
  { additionalProperties: false, default: {} },
);
export type IngestConfig = Static<typeof ingestSchema>;
