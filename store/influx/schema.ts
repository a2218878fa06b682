import { codeOf, JilianError } from "@jilian/domain/errors.ts";
import type { InfluxClient } from "./client.ts";
import { isRefusal, retentionError } from "./faults.ts";
import { fixedTimeMs } from "./series.ts";

/** Version of the layout that this program writes: measurements, tags, fields and what they mean. */
export const schemaVersion = 3;

async function readVersion(client: InfluxClient): Promise<number | undefined> {
  const [found] = await client.query(`SELECT "version" FROM "store_schema"`);
  const version = found?.values.at(-1)?.[1];
  return version === undefined || version === null ? undefined : Number(version);
}

function tooNew(version: number, address: string): JilianError {
  return new JilianError(`the InfluxDB database has layout ${version}; this program knows ${schemaVersion}`, {
    code: "STORE_TOO_NEW",
    action: "open the telemetry store",
    address,
    remedy: "install the version of Jilian that wrote it, or a newer one",
  });
}

function unreadable(what: string, address: string, remedy: string): JilianError {
  return new JilianError(what, { code: "STORE_UNREADABLE", action: "open the telemetry store", address, remedy });
}

/** Takes an error of a code for nothing found. */
const unless =
  (code: string) =>
  (error: unknown): undefined => {
    if (codeOf(error) !== code) throw error;
  };

/**
 * Makes the database where it may (1.x), and its layout where it has none. The layout's mark and everything like it has a time in 1970, so
 * a database that does not keep its data without end does not keep the mark either: that is told apart from an empty one.
 * @throws JilianError STORE_TOO_NEW, STORE_UNREADABLE, STORE_RETENTION, STORE_DATABASE_MISSING, STORE_UNAUTHORISED
 */
export async function prepareSchema(client: InfluxClient, address: string): Promise<number> {
  // Without the right to make a database, it may be there already.
  if (client.flavour === 1) await client.createDatabase().catch(unless("STORE_UNAUTHORISED"));
  // 3.x makes a database with the first write.
  const version = await readVersion(client).catch(unless(client.flavour === 3 ? "STORE_DATABASE_MISSING" : ""));
  if (version !== undefined && version > schemaVersion) throw tooNew(version, address);
  const mark = () => client.write([`store_schema version=${schemaVersion}i ${fixedTimeMs}`]);
  // Layout 1 has definitions of series without times, layout 2 the whole figure in the text of one: both are read as they are
  // (store/series-versions.ts, results.ts). A program of before takes the text of layout 3 for a figure without a name or a value.
  if (version !== undefined && version < schemaVersion) await mark();
  if (version !== undefined) return version;
  const [stray] =
    (await client.query(`SELECT "status" FROM "sample" LIMIT 1`).catch(unless("STORE_DATABASE_MISSING"))) ?? [];
  if (stray && stray.values.length > 0) {
    const remedy = "restore the measurements store_*, or give the platform an empty database of its own";
    throw unreadable("the InfluxDB database holds samples but not what tells which are whole", address, remedy);
  }
  const retention = retentionError({ action: "open the telemetry store", address });
  await mark().catch((error: unknown) => {
    if (isRefusal(codeOf(error))) throw retention;
    throw error;
  });
  if ((await readVersion(client)) === undefined) throw retention;
  return schemaVersion;
}
