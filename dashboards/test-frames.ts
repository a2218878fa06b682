import type { DataFrame, DataTransformerConfig, FieldConfigPropertyItem, FieldType } from "@grafana/data";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import type { InfluxTarget } from "./influxql.ts";
import { grafana } from "./test-grafana.ts";

/** What InfluxDB answers to one statement (`epoch=ms`). */
export type InfluxSeries = {
  name: string;
  tags?: Record<string, string>;
  columns: string[];
  values: (string | number | boolean | null)[][];
};

const types = grafana.FieldType;

function typeOf(values: readonly unknown[]): FieldType {
  const value = values.find((v) => v !== null);
  if (typeof value === "string") return types.string;
  return typeof value === "boolean" ? types.boolean : types.number;
}

/** Series as Grafana's InfluxDB data source makes them frames (`influxql/buffered/response_parser.go`). */
export function toFrames(series: readonly InfluxSeries[], target: InfluxTarget): DataFrame[] {
  const { refId, resultFormat, alias } = target;
  const columnOf = (one: InfluxSeries, index: number) => one.values.map((row) => row[index] ?? null);
  if (resultFormat === "table") {
    const first = series[0];
    if (!first) return [];
    const rows = series.flatMap((one) => one.values);
    const fields = [
      { name: "Time", type: types.time, values: rows.map((row) => row[0]) as unknown[], config: {} },
      ...Object.keys(first.tags ?? {}).map((tag) => ({
        name: tag,
        type: types.string,
        values: series.flatMap((one) => one.values.map(() => one.tags?.[tag])) as unknown[],
        config: { displayNameFromDS: tag },
      })),
      ...first.columns.slice(1).map((name, n) => {
        const values = rows.map((row) => row[n + 1] ?? null);
        return { name, type: typeOf(values), values: values as unknown[], config: { displayNameFromDS: name } };
      }),
    ];
    return [{ refId, fields, length: rows.length }];
  }
  return series.flatMap((one) =>
    one.columns.slice(1).map((column, n): DataFrame => {
      const values = columnOf(one, n + 1);
      const name =
        alias?.replace(/\$(\w+)/g, (whole, key: string) => {
          if (key === "col") return column;
          return (key.startsWith("tag_") ? one.tags?.[key.slice(4)] : undefined) ?? whole;
        }) ?? column;
      return {
        refId,
        name,
        length: values.length,
        fields: [
          { name: "Time", type: types.time, values: columnOf(one, 0), config: {} },
          { name: "Value", type: typeOf(values), values, config: { displayNameFromDS: name }, labels: one.tags ?? {} },
        ],
      };
    }),
  );
}

const theme = grafana.createTheme();
const timeZone = "Asia/Shanghai";

/** The properties that our overrides set; Grafana's own registry comes with its interface. */
const registry = new grafana.FieldConfigOptionsRegistry(() =>
  ["unit", "decimals", "displayName", "mappings", "thresholds", "noValue", "custom.cellOptions"].map((id) => {
    const item = {
      id,
      path: id.replace(/^custom\./, ""),
      name: id,
      isCustom: id.startsWith("custom."),
      process: (value: unknown) => value,
      shouldApply: () => true,
    };
    return item as unknown as FieldConfigPropertyItem;
  }),
);
// One of them stands there under an old name too.
grafana.standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(grafana.standardTransformers).map((one) => [one.id, one])).values()].map(
    (transformation) => ({
      id: transformation.id,
      name: transformation.name,
      transformation: () => Promise.resolve(transformation),
      editor: () => null,
      imageDark: "",
      imageLight: "",
    }),
  ),
);

/** Frames after a panel's transformations and field settings, through Grafana's own code. */
export async function asShown(panel: Panel, frames: DataFrame[]): Promise<DataFrame[]> {
  const steps = (panel.transformations ?? []) as unknown as DataTransformerConfig[];
  const transformed = await new Promise<DataFrame[]>((resolve, reject) => {
    grafana.transformDataFrame(steps, frames).subscribe({ next: resolve, error: reject });
  });
  return grafana.applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig as never,
    fieldConfigRegistry: registry,
    replaceVariables: (text) => text,
    theme,
    timeZone,
  });
}

/** What a stat panel prints: name and text of each value. */
export function statTexts(panel: Panel, frames: DataFrame[]): { name: string; text: string; color: string }[] {
  return grafana
    .getFieldDisplayValues({
      fieldConfig: panel.fieldConfig as never,
      reduceOptions: panel.options.reduceOptions,
      replaceVariables: (text) => text,
      theme,
      timeZone,
      data: frames,
    })
    .map(({ display }) => ({
      name: display.title ?? "",
      text: grafana.formattedValueToString(display),
      color: display.color ?? "",
    }));
}

/** What a table prints: one record for each row, by column heading. */
export function tableTexts(frames: DataFrame[]): Record<string, string>[] {
  const frame = frames[0];
  if (!frame) return [];
  return Array.from({ length: frame.length }, (_, row) =>
    Object.fromEntries(
      frame.fields.map((field) => {
        const display = field.display?.(field.values[row]);
        return [
          grafana.getFieldDisplayName(field, frame, frames),
          display ? grafana.formattedValueToString(display) : "?",
        ];
      }),
    ),
  );
}
