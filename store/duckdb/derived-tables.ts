import { BIGINT, BOOLEAN, DOUBLE, type DuckDBType, HUGEINT, INTEGER, VARCHAR } from "@duckdb/node-api";
import type { Result } from "@jilian/domain/result.ts";
import type { FlatLeaf, FlatState } from "../columns/packing.ts";
import type { ConnectionRow, RollupRow } from "../telemetry.ts";

/** Where each field of a row is stored. 64-bit columns whose field is a number leave as DOUBLE, exact to 2^53. */
export type Table<T> = {
  readonly name: string;
  readonly key: string;
  readonly columns: { readonly [K in keyof T]-?: readonly [column: string, type: DuckDBType] };
};

export const leafTable: Table<FlatLeaf> = {
  name: "leaf",
  key: "series, minute_ms",
  columns: {
    series: ["series", INTEGER],
    minuteMs: ["minute_ms", BIGINT],
    amount: ["amount", HUGEINT],
    left: ["left_part", HUGEINT],
    right: ["right_part", HUGEINT],
    inGap: ["in_gap", BOOLEAN],
    coveredMs: ["covered_ms", INTEGER],
    gapMs: ["gap_ms", INTEGER],
    samples: ["samples", INTEGER],
    resets: ["resets", INTEGER],
  },
};
export const stateTable: Table<FlatState> = {
  name: "state_leaf",
  key: "series, minute_ms",
  columns: {
    series: ["series", INTEGER],
    minuteMs: ["minute_ms", BIGINT],
    ms: ["ms", VARCHAR],
    unknownMs: ["unknown_ms", INTEGER],
    samples: ["samples", INTEGER],
  },
};
export const connectionTable: Table<ConnectionRow> = {
  name: "connection",
  key: "device, minute_ms",
  columns: { device: ["device", VARCHAR], minuteMs: ["minute_ms", BIGINT], onlineMs: ["online_ms", INTEGER] },
};
export const rollupTable: Table<RollupRow> = {
  name: "rollup",
  key: "unit, start_ms, key",
  columns: {
    unit: ["unit", VARCHAR],
    startMs: ["start_ms", BIGINT],
    key: ["key", VARCHAR],
    body: ["body", VARCHAR],
  },
};
export const resultTable: Table<Result> = {
  name: "minute_result",
  key: "indicator, level, entity, period, start_ms",
  columns: {
    indicator: ["indicator", VARCHAR],
    level: ["level", VARCHAR],
    entity: ["entity", VARCHAR],
    period: ["period", VARCHAR],
    startMs: ["start_ms", BIGINT],
    endMs: ["end_ms", BIGINT],
    value: ["value", VARCHAR],
    reason: ["reason", VARCHAR],
    unit: ["unit", VARCHAR],
    completeness: ["completeness", DOUBLE],
    estimatedShare: ["estimated_share", DOUBLE],
    lowerBound: ["lower_bound", BOOLEAN],
    status: ["status", VARCHAR],
    revision: ["revision", INTEGER],
    definitionVersion: ["definition_version", INTEGER],
    factorTable: ["factor_table", VARCHAR],
    registryVersion: ["registry_version", VARCHAR],
    inputWatermark: ["input_watermark", BIGINT],
    asOfMs: ["as_of_ms", BIGINT],
    simulated: ["simulated", BOOLEAN],
  },
};

/** Fields of a table in the order of its columns. */
export function fieldsOf<T>(table: Table<T>): [field: keyof T, column: string, type: DuckDBType][] {
  const entries = Object.entries<readonly [string, DuckDBType]>(table.columns);
  return entries.map(([field, [column, type]]) => [field as keyof T, column, type]);
}

/** Select list of a table's fields. */
export function listOf<T>(table: Table<T>): string {
  return fieldsOf(table)
    .map(([, column, type]) => (type === BIGINT ? `${column}::DOUBLE` : column))
    .join(", ");
}
