import {
  LegendDisplayMode,
  LegendPlacement,
  TimelineValueAlignment,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  type Panel,
  type ValueMapping,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { PanelBuilder as StateTimelineBuilder } from "@grafana/grafana-foundation-sdk/statetimeline";
import {
  countsPanel,
  devicesPanel,
  factoriesPanel,
  onlineSharePanel,
  simulatedPanel,
  trustPanel,
} from "./common-panels.ts";
import { chosenFactory, influxQuery } from "./influxql.ts";
import { completenessText, nameOf } from "./labels.ts";
import { dataSource } from "./names.ts";
import { colours, column, markedShare, noDataText, tablePanel } from "./panels.ts";
import type { Say } from "./texts.ts";
import { rowPerSeries } from "./transforms.ts";
import { shareFormat } from "./units.ts";

/** Online, for a part, offline; no data is none of them and stays empty. */
function states(say: Say): ValueMapping[] {
  const range = (from: number, to: number, text: string, color: string): ValueMapping => ({
    type: MappingType.RangeToText,
    options: { from, to, result: { text, color } },
  });
  return [
    range(0, 0, say({ zh: "离线", en: "Offline" }), colours.bad),
    range(0.0001, 0.9999, say({ zh: "部分在线", en: "Partly online" }), colours.partial),
    range(1, 1, say({ zh: "在线", en: "Online" }), colours.good),
  ];
}

/** What each device was at every time: online, partly, offline, or nothing known. */
function timeline(say: Say): Panel {
  const query =
    `SELECT mean("online_ms") / 60000 FROM "connection" WHERE ${chosenFactory} AND $timeFilter ` +
    `GROUP BY time($__interval), "factory", "gateway", "device" fill(null)`;
  const legend = new VizLegendOptionsBuilder().showLegend(true).displayMode(LegendDisplayMode.List);
  return new StateTimelineBuilder()
    .id(6)
    .gridPos({ x: 0, y: 12, w: 24, h: 10 })
    .title(say({ zh: "设备在线状态", en: "Devices: online or not" }))
    .description(
      say({
        zh: "绿色在线，橙色部分时间在线，红色离线；空白表示该时段没有任何数据。/ Empty: no data.",
        en: "Green online, orange for part of the time, red offline; empty: no data at all for that time.",
      }),
    )
    .datasource({ ...dataSource })
    .targets([influxQuery({ query, alias: "$tag_factory / $tag_gateway / $tag_device" })])
    .noValue(say(noDataText))
    .interval("1m")
    .mappings(states(say))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .spanNulls(false)
    .mergeValues(true)
    .perPage(25)
    .showValue(VisibilityMode.Never)
    .alignValue(TimelineValueAlignment.Left)
    .legend(legend.placement(LegendPlacement.Bottom).calcs([]))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Single))
    .build();
}

/** 在线率 of each device: its online time over the whole range. */
function devicesTable(say: Say): Panel {
  const onlineRate = nameOf("devices.online_rate");
  const query =
    `SELECT sum("online_ms") / \${__range_ms} FROM "connection" WHERE ${chosenFactory} AND $timeFilter ` +
    `GROUP BY "factory", "gateway", "device"`;
  return tablePanel(say, {
    id: 7,
    at: { x: 0, y: 22, w: 12, h: 9 },
    title: { zh: `各设备${onlineRate.zh}`, en: `${onlineRate.en} of each device` },
    about: {
      zh: "在线时间 ÷ 所选时间范围。最后一两分钟尚未结算。范围内从未上报的设备不在表中。/ Online time over the range.",
      en: "Online time over the chosen range. The last minute or two are not settled yet. A device that never reported in the range is not listed.",
    },
    queries: [influxQuery({ query })],
    transformations: rowPerSeries(["factory", "gateway", "device"]),
    format: shareFormat,
    columns: {
      factory: column(say, { zh: "工厂", en: "Factory" }),
      gateway: column(say, { zh: "网关", en: "Gateway" }),
      device: column(say, { zh: "设备", en: "Device" }),
      Last: [...column(say, onlineRate, shareFormat), ...markedShare],
    },
  });
}

/** Who is connected, since when, and how much of what they should send arrives. */
export function connectivityPanels(say: Say): Panel[] {
  const [online, electricity] = [nameOf("devices.online"), nameOf("energy.electricity")];
  return [
    simulatedPanel(say, { id: 1, at: { x: 0, y: 0, w: 4, h: 4 } }),
    factoriesPanel(say, { id: 2, at: { x: 4, y: 0, w: 4, h: 4 } }),
    devicesPanel(say, { id: 3, at: { x: 8, y: 0, w: 11, h: 4 } }),
    onlineSharePanel(say, { id: 4, at: { x: 19, y: 0, w: 5, h: 4 } }),
    countsPanel(say, {
      id: 5,
      at: { x: 0, y: 4, w: 12, h: 8 },
      title: { zh: `各工厂${online.zh}`, en: `${online.en} by factory` },
      about: {
        zh: "每分钟。零表示全部离线；断线表示平台没有数字。/ Zero: all offline; a gap: no figures.",
        en: "By minute. Zero means that all are offline; a gap that the platform has no figures.",
      },
      of: ["devices.online"],
      level: "factory",
      chosen: true,
    }),
    countsPanel(say, {
      id: 9,
      at: { x: 12, y: 4, w: 12, h: 8 },
      title: nameOf("factories.connected"),
      about: {
        zh: "每分钟至少有一台设备在线的工厂数。/ Factories with a device online.",
        en: "Factories with at least one device online, by minute.",
      },
      of: ["factories.connected"],
      level: "cluster",
    }),
    timeline(say),
    devicesTable(say),
    trustPanel(say, {
      id: 8,
      at: { x: 12, y: 22, w: 12, h: 9 },
      field: "completeness",
      title: {
        zh: `${electricity.zh}${completenessText.zh}（每小时）`,
        en: `${electricity.en}: ${completenessText.en.toLowerCase()} by hour`,
      },
      about: {
        zh: "进线电表读数覆盖的时间占比，补传后会上升。虚线为 90 %。/ Dashed: 90 %.",
        en: "Part of the hour that readings of the incoming meters cover; it rises when late data arrives. Dashed: 90 %.",
      },
      range: "24h",
    }),
  ];
}
