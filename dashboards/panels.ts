import type { Builder, Dataquery } from "@grafana/grafana-foundation-sdk/cog";
import {
  BarAlignment,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  GraphDrawStyle,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  LineInterpolation,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TableCellDisplayMode,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  type DataTransformerConfig,
  type DynamicConfigValue,
  FieldColorBuilder,
  FieldColorModeId,
  type GridPos,
  MappingType,
  type Panel,
  SpecialValueMatch,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TableBuilder } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TextBuilder } from "@grafana/grafana-foundation-sdk/text";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";
import { dataSource, targetShare } from "./names.ts";
import type { Say, Text } from "./texts.ts";
import type { Format } from "./units.ts";

/** What every panel has. */
export type PanelSetting = {
  /** Ids stay: alert rules and links name them. */
  id: number;
  at: GridPos;
  title: Text;
  /** What the figure is and what makes it absent. */
  about: Text;
  queries: readonly Builder<Dataquery>[];
  format?: Format;
  /** Replaces the dashboard's range. */
  range?: string;
  transformations?: readonly DataTransformerConfig[];
  /** Display of single columns or series, by their name. */
  columns?: Readonly<Record<string, readonly DynamicConfigValue[]>>;
  mappings?: ValueMapping[];
};

/** Absent is not zero: it is said in words. */
export const noDataText: Text = { zh: "无数据", en: "No data" };

/** Colours legible on both themes (the light green is not). */
export const colours = {
  good: "semi-dark-green",
  partial: "semi-dark-orange",
  bad: "semi-dark-red",
  plain: "text",
  line: "semi-dark-blue",
} as const;

/** Marks what lies below the target share. */
const shareSteps: Threshold[] = [
  { value: null, color: colours.bad },
  { value: targetShare, color: colours.good },
];
const plainSteps: Threshold[] = [{ value: null, color: colours.plain }];

const steps = (list: Threshold[]) => new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(list);

/** True and false as words; true in the colour of a warning. */
export function flagWords(say: Say, yes: Text, no: Text): ValueMapping[] {
  const word = (match: SpecialValueMatch, text: Text, color: string): ValueMapping => ({
    type: MappingType.SpecialValue,
    options: { match, result: { text: say(text), color } },
  });
  return [word(SpecialValueMatch.True, yes, colours.partial), word(SpecialValueMatch.False, no, colours.plain)];
}

export const simulatedWords = (say: Say) =>
  flagWords(say, { zh: "模拟数据", en: "Simulated data" }, { zh: "实测数据", en: "Measured data" });

/** Properties of a column: its heading and how it is printed. */
export function column(say: Say, name: Text, format?: Format, mappings?: ValueMapping[]): DynamicConfigValue[] {
  return [
    { id: "displayName", value: say(name) },
    ...(format ? Object.entries(format).map(([id, value]) => ({ id, value })) : []),
    ...(mappings ? [{ id: "mappings", value: mappings }] : []),
  ];
}

/** -1 stands for "it has none" in `completeness` and `estimated_share`. */
export const noneMapping: ValueMapping = { type: MappingType.ValueToText, options: { "-1": { text: "—" } } };

/** The column of a table is coloured against the target share. */
export const markedShare: DynamicConfigValue[] = [
  { id: "thresholds", value: { mode: ThresholdsMode.Absolute, steps: shareSteps } },
  { id: "custom.cellOptions", value: { type: TableCellDisplayMode.ColorText } },
];

type Common = StatBuilder | TableBuilder | TimeseriesBuilder;

function withCommon<B extends Common>(builder: B, say: Say, setting: PanelSetting): B {
  builder
    .id(setting.id)
    .gridPos(setting.at)
    .title(say(setting.title))
    .description(say(setting.about))
    .datasource({ ...dataSource })
    .targets([...setting.queries])
    .noValue(say(noDataText));
  if (setting.format) builder.unit(setting.format.unit).decimals(setting.format.decimals);
  if (setting.range) builder.timeFrom(setting.range).hideTimeOverride(true);
  if (setting.transformations) builder.transformations([...setting.transformations]);
  if (setting.mappings) builder.mappings(setting.mappings);
  for (const [name, properties] of Object.entries(setting.columns ?? {})) {
    builder.overrideByName(name, [...properties]);
  }
  return builder;
}

export type StatSetting = PanelSetting & {
  /** Only this column, which may be text or a flag; absent: every number. */
  field?: string;
  /** Coloured against the target share. */
  marked?: boolean;
  /** Several values with their names. */
  named?: boolean;
};

/** Big figures. */
export function statPanel(say: Say, setting: StatSetting): Panel {
  const reduce = new ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false);
  return withCommon(new StatBuilder(), say, setting)
    .reduceOptions(reduce.fields(setting.field === undefined ? "" : `/^${setting.field}$/`))
    .colorMode(BigValueColorMode.Value)
    .graphMode(BigValueGraphMode.None)
    .justifyMode(BigValueJustifyMode.Center)
    .textMode(setting.named ? BigValueTextMode.ValueAndName : BigValueTextMode.Value)
    .orientation(VizOrientation.Auto)
    .wideLayout(true)
    .thresholds(steps(setting.marked ? shareSteps : plainSteps))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .build();
}

export type GraphSetting = PanelSetting & {
  /** Bars of periods, from their start on; otherwise a line. */
  bars?: boolean;
  stacked?: boolean;
  /** Draws the target share as a line. */
  marked?: boolean;
  /** Narrowest step of the graph: the period of the figures. */
  interval?: string;
  max?: number;
};

/** Lines or bars over time. A gap in the data is a gap in the line. */
export function graphPanel(say: Say, setting: GraphSetting): Panel {
  const legend = new VizLegendOptionsBuilder().showLegend(true).displayMode(LegendDisplayMode.List);
  const builder = withCommon(new TimeseriesBuilder(), say, setting)
    .min(0)
    .drawStyle(setting.bars ? GraphDrawStyle.Bars : GraphDrawStyle.Line)
    .lineInterpolation(LineInterpolation.Linear)
    .lineWidth(setting.bars ? 1 : 2)
    .fillOpacity(setting.bars ? 70 : 10)
    // A single known period between unknown ones has no line: it is a point.
    .showPoints(setting.bars ? VisibilityMode.Never : VisibilityMode.Auto)
    .spanNulls(false)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .thresholds(steps(setting.marked ? shareSteps : plainSteps))
    .legend(legend.placement(LegendPlacement.Bottom).calcs([]))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi));
  if (setting.bars) builder.barAlignment(BarAlignment.After);
  if (setting.stacked) builder.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group("A"));
  if (setting.marked) {
    builder.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed));
  }
  if (setting.interval) builder.interval(setting.interval);
  if (setting.max !== undefined) builder.max(setting.max);
  return builder.build();
}

/** A table. Its columns are named by the queries and headed by `columns`. */
export function tablePanel(say: Say, setting: PanelSetting): Panel {
  return withCommon(new TableBuilder(), say, setting)
    .thresholds(steps(plainSteps))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .build();
}

/** Text in Markdown. */
export function textPanel(say: Say, setting: Pick<PanelSetting, "id" | "at"> & { content: Text }): Panel {
  return new TextBuilder()
    .id(setting.id)
    .gridPos(setting.at)
    .title("")
    .transparent(true)
    .content(say(setting.content))
    .build();
}
