import type { Builder, Dataquery } from "@grafana/grafana-foundation-sdk/cog";
import type { Period } from "@jilian/domain/periods.ts";
import type { Level } from "@jilian/domain/result.ts";
import { dataSource } from "./names.ts";
import { indicator } from "./units.ts";

/** A query of Grafana's InfluxDB data source in InfluxQL, as it stands in a dashboard. The Foundation SDK has no type for it. */
export type InfluxTarget = {
  datasource: { type: string; uid: string };
  refId: string;
  query: string;
  /** The query is text, not the parts of the visual editor. */
  rawQuery: true;
  resultFormat: "time_series" | "table";
  /** Name of each series: `$tag_<key>`, `$col`. */
  alias?: string;
};

export type TargetSetting = { refId?: string; query: string; alias?: string; table?: boolean };

export function influxTarget({ refId = "A", query, alias, table = false }: TargetSetting): InfluxTarget {
  const format = table ? "table" : "time_series";
  const target = { datasource: { ...dataSource }, refId, query, rawQuery: true, resultFormat: format } as const;
  return alias === undefined ? target : { ...target, alias };
}

/** The query as the Foundation SDK's builders take it. Its marker is a function, which JSON leaves out. */
export function influxQuery(setting: TargetSetting): Builder<Dataquery> {
  const target = { ...influxTarget(setting), _implementsDataqueryVariant: () => {} };
  return { build: () => target };
}

export type KpiQuery = {
  /** The selection: `"value"`, `last("value") AS "online"`. */
  select: string;
  indicator: string;
  level: Level;
  period: Period;
  /** Only the factories chosen in the dashboard's variable. */
  chosen?: boolean;
  /** Replaces `"known" = true`. That filter is what makes `value` safe to read: a rewritten point keeps the fields of the one before. */
  only?: string;
  /** Replaces the panel's range. */
  range?: string;
  /** Absent: a series for each entity. Null: one list of points. */
  groupBy?: string | null;
};

/**
 * Figures of one indicator from the measurement `kpi`, at their own period: a ratio is never averaged, a sum never re-added.
 * @throws Error when the catalogue does not compute the indicator at that level and period: the panel would be empty for ever
 */
export function kpiQuery(query: KpiQuery): string {
  const { levels, periods } = indicator(query.indicator);
  if (!levels.includes(query.level) || !periods.includes(query.period)) {
    throw new Error(`${query.indicator} is not computed for a ${query.level} and a ${query.period}`);
  }
  const { select, level, period, chosen = false, only = `"known" = true`, range = "$timeFilter" } = query;
  const conditions = [
    `"indicator" = '${query.indicator}'`,
    `"level" = '${level}'`,
    `"period" = '${period}'`,
    ...(chosen ? [chosenEntity] : []),
    only,
    range,
  ];
  const { groupBy = `"entity"` } = query;
  const grouped = groupBy === null ? "" : ` GROUP BY ${groupBy}`;
  return `SELECT ${select} FROM "kpi" WHERE ${conditions.join(" AND ")}${grouped}`;
}

/** The dashboard variable with the chosen factories. */
export const factoryVariable = "factory";
const chosenPattern = `=~ /^\${${factoryVariable}:regex}$/`;
export const chosenEntity = `"entity" ${chosenPattern}`;
export const chosenFactory = `"factory" ${chosenPattern}`;

/** The factories that have figures; the choice of the variable. */
export const factoriesQuery = `SHOW TAG VALUES FROM "kpi" WITH KEY = "entity" WHERE "level" = 'factory'`;

/**
 * The last five minutes of the panel's range, whatever its length: what is asked of now must not answer with this morning's figure.
 * A minute's figure is written when the minute has ended.
 */
export const lastMinutes = `time > \${__to}ms - 5m AND time <= \${__to}ms`;
