import type { GridPos, Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import type { Level } from "@jilian/domain/result.ts";
import { influxQuery, kpiQuery } from "./influxql.ts";
import { completenessText, estimatedShareText, meanPowerText, nameOf, todayOf } from "./labels.ts";
import { column, graphPanel, noneMapping, type StatSetting, simulatedWords, statPanel } from "./panels.ts";
import type { Say, Text } from "./texts.ts";
import { joinByEntity, shareOf } from "./transforms.ts";
import { countFormat, formatOf, powerFormat, shareFormat } from "./units.ts";

type Place = { id: number; at: GridPos };

/** Range of a panel that speaks of now: an older figure is not shown as if it were new. */
export const nowRange = "5m";
/**
 * Range of a panel that speaks of today. The last 24 hours hold the start of exactly one day, today's, whatever zone the browser thinks
 * in; "now/d" would depend on it.
 */
export const todayRange = "24h";

/** Says whether the figures come from simulators. It stands on every dashboard. */
export function simulatedPanel(say: Say, { id, at }: Place): Panel {
  return statPanel(say, {
    id,
    at,
    title: { zh: "数据性质", en: "Kind of data" },
    about: {
      zh: "试点标记为演示时显示“模拟数据”。/ Simulated data is marked.",
      en: "Shows “Simulated data” when the pilot is marked as a demonstration.",
    },
    queries: [
      influxQuery({
        query: kpiQuery({
          select: `last("simulated") AS "simulated"`,
          indicator: "devices.registered",
          level: "cluster",
          period: "minute",
        }),
        table: true,
      }),
    ],
    field: "simulated",
    range: todayRange,
    mappings: simulatedWords(say),
  });
}

/** Distinct factories with a device online, now. */
export function factoriesPanel(say: Say, { id, at }: Place): Panel {
  const query = kpiQuery({
    select: `last("value")`,
    indicator: "factories.connected",
    level: "cluster",
    period: "minute",
  });
  return statPanel(say, {
    id,
    at,
    title: nameOf("factories.connected"),
    about: {
      zh: "最近一分钟至少有一台设备在线的工厂数；五分钟内没有数字则显示“无数据”。/ Connected factories.",
      en: "Factories with at least one device online in the last minute; “No data” when no figure is younger than five minutes.",
    },
    queries: [influxQuery({ query, alias: "$tag_entity" })],
    format: { unit: say({ zh: "suffix:家", en: "locale" }), decimals: 0 },
    range: nowRange,
  });
}

/** 设备联网数: the three counts beside each other. */
export function devicesPanel(say: Say, { id, at }: Place): Panel {
  const ids = ["devices.online", "devices.ever_connected", "devices.registered"];
  const named = ids.map((of) => [say(nameOf(of)), of] as const);
  return statPanel(say, {
    id,
    at,
    title: { zh: "设备联网数", en: "Connected devices" },
    about: {
      zh: "在线、累计联网与登记的设备数，最近一分钟。/ Devices online, ever connected and registered.",
      en: "Devices online, ever connected and registered, in the last minute.",
    },
    queries: named.map(([alias, of], n) =>
      influxQuery({
        refId: "ABC".charAt(n),
        query: kpiQuery({ select: `last("value")`, indicator: of, level: "cluster", period: "minute" }),
        alias,
      }),
    ),
    format: countFormat,
    range: nowRange,
    named: true,
  });
}

/** 在线率: minutes of devices online over minutes of devices registered, today's both as sums. */
export function onlineSharePanel(say: Say, { id, at }: Place): Panel {
  const rate = nameOf("devices.online_rate");
  const sumOf = (refId: string, name: string, of: string) =>
    influxQuery({
      refId,
      query: kpiQuery({ select: `sum("value") AS "${name}"`, indicator: of, level: "cluster", period: "minute" }),
      table: true,
    });
  return statPanel(say, {
    id,
    at,
    title: { zh: `${rate.zh}（24小时）`, en: `${rate.en} (24 h)` },
    about: {
      zh: "最近24小时：各分钟在线设备数之和 ÷ 登记设备数之和。/ Sum of devices online over sum of devices registered.",
      en: "Last 24 hours: devices online summed over the minutes, divided by devices registered summed likewise. Terms are summed; ratios are never averaged.",
    },
    queries: [sumOf("A", "online", "devices.online"), sumOf("B", "registered", "devices.registered")],
    transformations: [...joinByEntity(["online", "registered"]), shareOf("online", "registered", "share", true)],
    format: shareFormat,
    range: todayRange,
    marked: true,
  });
}

/** Today's figure of the cluster, with how complete its input was where that can be told. */
export function todayPanel(
  say: Say,
  { id, at, of, complete = false, about }: Place & { of: string; complete?: boolean; about: Text },
): Panel {
  const select = `last("value") AS "value"${complete ? `, "completeness", "estimated_share"` : ""}`;
  const setting: StatSetting = {
    id,
    at,
    title: todayOf(of),
    about,
    queries: [
      influxQuery({
        query: kpiQuery({ select, indicator: of, level: "cluster", period: "day" }),
        alias: "$col",
      }),
    ],
    format: formatOf(of),
    range: todayRange,
    named: complete,
  };
  if (!complete) return statPanel(say, setting);
  return statPanel(say, {
    ...setting,
    columns: {
      value: column(say, nameOf(of)),
      completeness: column(say, completenessText, shareFormat, [noneMapping]),
      estimated_share: column(say, estimatedShareText, shareFormat, [noneMapping]),
    },
  });
}

/** Average power: the energy of a minute x 60. Where a step of the graph holds several minutes, the mean of those that are known. */
export function powerPanel(
  say: Say,
  { id, at, level, range, chosen = false }: Place & { level: Level; range?: string; chosen?: boolean },
): Panel {
  const query = kpiQuery({
    select: `mean("value") * 60`,
    indicator: "energy.electricity",
    level,
    period: "minute",
    chosen,
    groupBy: `time($__interval), "entity" fill(null)`,
  });
  return graphPanel(say, {
    id,
    at,
    title:
      level === "cluster"
        ? meanPowerText
        : { zh: `各工厂${meanPowerText.zh}`, en: `${meanPowerText.en} of the factories` },
    about: {
      zh: `每分钟${nameOf("energy.electricity").zh} × 60。断线表示该时段无数据，不是零。/ Energy of a minute x 60.`,
      en: "Electricity of each minute x 60. A gap means no data, not zero.",
    },
    queries: [influxQuery({ query, alias: "$tag_entity" })],
    format: powerFormat,
    interval: "1m",
    ...(range === undefined ? {} : { range }),
  });
}

/**
 * A share that says how far the hours' figures of electricity can be trusted: `completeness` or `estimated_share`. Figures that have
 * none say -1 and are left out; unknown figures are in, for theirs is 0.
 */
export function trustPanel(
  say: Say,
  setting: Place & { field: "completeness" | "estimated_share"; title: Text; about: Text; range?: string },
): Panel {
  const { field, ...rest } = setting;
  const query = kpiQuery({
    select: `"${field}"`,
    indicator: "energy.electricity",
    level: "factory",
    period: "hour",
    chosen: true,
    only: `"${field}" >= 0`,
  });
  return graphPanel(say, {
    ...rest,
    queries: [influxQuery({ query, alias: "$tag_entity" })],
    format: shareFormat,
    marked: field === "completeness",
    max: 1,
    interval: "1h",
  });
}

/** Counts of each minute over time. A step of several minutes shows its last one: a count stays a count. */
export function countsPanel(
  say: Say,
  setting: Place & { title: Text; about: Text; of: readonly string[]; level: Level; chosen?: boolean },
): Panel {
  const { of, level, chosen = false, ...rest } = setting;
  const queries = of.map((id, n) =>
    influxQuery({
      refId: String.fromCharCode(65 + n),
      query: kpiQuery({
        select: `last("value")`,
        indicator: id,
        level,
        period: "minute",
        chosen,
        groupBy: `time($__interval), "entity" fill(null)`,
      }),
      alias: of.length > 1 ? say(nameOf(id)) : "$tag_entity",
    }),
  );
  return graphPanel(say, { ...rest, queries, format: countFormat, interval: "1m" });
}
