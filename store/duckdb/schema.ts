import type { DuckDBConnection } from "@duckdb/node-api";
import { JilianError } from "@jilian/domain/errors.ts";
import { transaction } from "./database.ts";

/**
 * Steps from one version of the file to the next; step n leads to version n + 1. A step that was released is never edited.
 * No keys, no indexes, no ALTER on large tables: they cost the appender its speed, and the log's replay has had faults around them.
 * What is unique is kept so by the writer. A sample's value is in the column of its type; in none when it is null.
 */
export const migrations: readonly (readonly string[])[] = [
  [
    "CREATE TABLE series(id INTEGER, grp VARCHAR, node VARCHAR, device VARCHAR, metric VARCHAR, definition VARCHAR)",
    `CREATE TABLE sample(series INTEGER, source_ms BIGINT, vb BOOLEAN, vi BIGINT, vd DOUBLE, vt VARCHAR, status UINTEGER,
      gateway_ms BIGINT, ingest_ms BIGINT, tx BIGINT)`,
    // The newest sample and the newest usable one of each series as of transaction latest_tx: spares a scan of the whole history at the start.
    "CREATE TABLE latest AS FROM sample",
    "CREATE TABLE latest_tx(tx BIGINT)",
    "INSERT INTO latest_tx VALUES (0)",
    `CREATE TABLE commit_range(grp VARCHAR, node VARCHAR, epoch VARCHAR, first_offset BIGINT, last_offset BIGINT, tx BIGINT)`,
    // Scaled integers of any size; the row with the greatest version of a key counts.
    `CREATE TABLE leaf(series INTEGER, minute_ms BIGINT, amount HUGEINT, left_part HUGEINT, right_part HUGEINT, in_gap BOOLEAN,
      covered_ms INTEGER, gap_ms INTEGER, samples INTEGER, resets INTEGER, version BIGINT)`,
    "CREATE TABLE connection(device VARCHAR, minute_ms BIGINT, online_ms INTEGER, version BIGINT)",
    `CREATE TABLE minute_result(indicator VARCHAR, level VARCHAR, entity VARCHAR, period VARCHAR, start_ms BIGINT, end_ms BIGINT,
      value VARCHAR, reason VARCHAR, unit VARCHAR, completeness DOUBLE, estimated_share DOUBLE, lower_bound BOOLEAN, status VARCHAR,
      revision INTEGER, definition_version INTEGER, factor_table VARCHAR, registry_version VARCHAR, input_watermark BIGINT,
      as_of_ms BIGINT, simulated BOOLEAN, version BIGINT)`,
  ],
  // Milliseconds by state as JSON, because the codes are the plant's.
  [
    "CREATE TABLE state_leaf(series INTEGER, minute_ms BIGINT, ms VARCHAR, unknown_ms INTEGER, samples INTEGER, version BIGINT)",
  ],
  // Merged leaves of hours, days and months. Can be dropped: what is missing is made again from the leaves.
  ["CREATE TABLE rollup(unit VARCHAR, start_ms BIGINT, key VARCHAR, body VARCHAR, version BIGINT)"],
  // From here on series.definition may hold definitions with their times (series-versions.ts); one without a time holds since ever.
  [],
];

async function storedVersion(connection: DuckDBConnection): Promise<number> {
  await connection.run("CREATE TABLE IF NOT EXISTS schema_version(version INTEGER)");
  const rows = await (await connection.run("SELECT max(version) FROM schema_version")).getRows();
  return Number(rows[0]?.[0] ?? 0);
}

/**
 * Brings the file to the newest version, one transaction a step.
 * @returns the version found
 * @throws JilianError STORE_TOO_NEW when a newer release has written it
 */
export async function migrate(connection: DuckDBConnection, steps = migrations): Promise<number> {
  const found = await storedVersion(connection);
  if (found > steps.length) {
    throw new JilianError(`the telemetry store has schema version ${found}, this release knows ${steps.length}`, {
      code: "STORE_TOO_NEW",
      action: "open the telemetry store",
      remedy: "start the release that wrote it, or restore a backup made by this one",
    });
  }
  for (const [n, step] of steps.entries()) {
    if (n < found) continue;
    await transaction(connection, async () => {
      for (const statement of step) await connection.run(statement);
      await connection.run(`INSERT INTO schema_version VALUES (${n + 1})`);
    });
  }
  return found;
}
