import type { Rule } from "@grafana/grafana-foundation-sdk/alerting";
import type { TableCellOptions } from "@grafana/grafana-foundation-sdk/common";
import type {
  FieldConfig,
  Dashboard as Model,
  Panel as PanelModel,
  ThresholdsConfig,
  ValueMapping,
  VariableModel,
} from "@grafana/grafana-foundation-sdk/dashboard";
import type { Options as StatOptions } from "@grafana/grafana-foundation-sdk/stat";
import type {
  FieldConfig as StateTimelineFields,
  Options as StateTimelineOptions,
} from "@grafana/grafana-foundation-sdk/statetimeline";
import type { FieldConfig as TableFields, Options as TableOptions } from "@grafana/grafana-foundation-sdk/table";
import type { Options as TextOptions } from "@grafana/grafana-foundation-sdk/text";
import type {
  FieldConfig as TimeseriesFields,
  Options as TimeseriesOptions,
} from "@grafana/grafana-foundation-sdk/timeseries";
import type { ProvisionedRule } from "./alerts.ts";
import type { InfluxTarget } from "./influxql.ts";

/**
 * What our dashboards may say: the Foundation SDK's types, made into a JSON schema by `test-schema.ts`. The SDK leaves a panel's options,
 * custom field settings, overrides and transformations open; here they are those of its type, and what we use of the rest.
 */
type Typed<Type extends string, Options, Custom> = Omit<
  PanelModel,
  "type" | "options" | "fieldConfig" | "targets" | "id" | "gridPos" | "transformations"
> & {
  type: Type;
  id: number;
  gridPos: NonNullable<PanelModel["gridPos"]>;
  options: Partial<Options>;
  targets?: InfluxTarget[];
  transformations?: Transformation[];
  fieldConfig?: {
    defaults: Omit<FieldConfig, "custom"> & { custom?: Partial<Custom> };
    overrides: { matcher: { id: "byName"; options: string }; properties: Override[] }[];
  };
};

type Override =
  | { id: "displayName" | "unit"; value: string }
  | { id: "decimals"; value: number }
  | { id: "mappings"; value: ValueMapping[] }
  | { id: "thresholds"; value: ThresholdsConfig }
  | { id: "custom.cellOptions"; value: TableCellOptions };

type ByName = { matcher: { id: "byName"; options: string } };

type Transformation =
  | { id: "filterFieldsByName"; options: { include: { names: string[] } } }
  | { id: "joinByField"; options: { byField: string; mode: "outer" | "inner" } }
  | { id: "organize"; options: { excludeByName: Record<string, boolean>; indexByName: Record<string, number> } }
  | { id: "reduce"; options: { mode: "seriesToRows"; labelsToFields: boolean; reducers: ("last" | "lastNotNull")[] } }
  | {
      id: "calculateField";
      options: {
        mode: "binary";
        alias: string;
        binary: { left: ByName; operator: "/" | "*" | "+" | "-"; right: ByName };
        replaceFields: boolean;
      };
    };

type None = Record<string, never>;

export type CheckedPanel =
  | Typed<"stat", StatOptions, None>
  | Typed<"table", TableOptions, TableFields>
  | Typed<"text", TextOptions, None>
  | Typed<"timeseries", TimeseriesOptions, TimeseriesFields>
  | Typed<"state-timeline", StateTimelineOptions, StateTimelineFields>;

export type CheckedDashboard = Omit<Model, "panels" | "templating" | "schemaVersion"> & {
  uid: string;
  title: string;
  schemaVersion: 42;
  panels: CheckedPanel[];
  templating: { list?: VariableModel[] };
};

/** A rule, and beside it the states as the SDK knows them. */
export type CheckedRule = ProvisionedRule & Pick<Rule, "noDataState" | "execErrState">;

export type Checked = { dashboard: CheckedDashboard; rule: CheckedRule };
