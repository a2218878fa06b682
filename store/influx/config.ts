import { readFile } from "node:fs/promises";
import { JilianError } from "@jilian/domain/errors.ts";
import { type Static, Type } from "typebox";

/** What the platform is told of its InfluxDB. */
export const influxSchema = Type.Object(
  {
    url: Type.String({
      pattern: "^https?://[^@]+$",
      description: "base URL of InfluxDB 1.x, 2.x or 3.x, without user and password",
    }),
    database: Type.String({
      default: "jilian",
      minLength: 1,
      maxLength: 64,
      pattern: "^[^_/\\u0000-\\u001f][^/\\u0000-\\u001f]*$",
      description: "database (1.x, 3.x) or bucket (2.x); kept without end, and used by nothing else",
    }),
    org: Type.Optional(Type.String({ minLength: 1, description: "organisation of the bucket (2.x)" })),
    username: Type.Optional(Type.String({ minLength: 1, description: "user (1.x)" })),
    passwordFile: Type.Optional(
      Type.String({ minLength: 1, description: "file that holds the user's password (1.x)" }),
    ),
    tokenFile: Type.Optional(Type.String({ minLength: 1, description: "file that holds the token (2.x, 3.x)" })),
    requestTimeoutMs: Type.Integer({
      default: 30_000,
      minimum: 100,
      description: "how long one request may take; beyond it its outcome is unknown, and it is made again",
    }),
    startWaitMs: Type.Integer({
      default: 30_000,
      minimum: 0,
      description: "how long the start waits for an InfluxDB that does not answer yet",
    }),
    recentSamples: Type.Integer({
      default: 1_000_000,
      minimum: 0,
      description:
        "newest samples kept in memory (some 65 bytes each), so that figures of the last minutes need no query",
    }),
  },
  { additionalProperties: false },
);
export type InfluxConfig = Static<typeof influxSchema>;

/** How to reach an InfluxDB, secrets included. */
export type InfluxSetting = Omit<InfluxConfig, "passwordFile" | "tokenFile"> & { password?: string; token?: string };

/** The first line of a file that holds a secret. @throws JilianError SECRET_UNREADABLE */
async function readSecret(path: string): Promise<string> {
  const unreadable = (what: string, cause?: unknown) =>
    new JilianError(`${path}: ${what}`, {
      code: "SECRET_UNREADABLE",
      action: "read a secret of InfluxDB",
      remedy: "put the secret on the file's first line and let the service's user read it",
      address: path,
      cause,
    });
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw unreadable("cannot be read", cause);
  });
  const [secret = ""] = text.split(/\r?\n/, 1);
  if (secret === "") throw unreadable("holds no secret");
  return secret;
}

/** The setting with its secrets, from their files. @throws JilianError SECRET_UNREADABLE */
export async function influxSetting({ passwordFile, tokenFile, ...config }: InfluxConfig): Promise<InfluxSetting> {
  const setting: InfluxSetting = config;
  if (passwordFile !== undefined) setting.password = await readSecret(passwordFile);
  if (tokenFile !== undefined) setting.token = await readSecret(tokenFile);
  return setting;
}
