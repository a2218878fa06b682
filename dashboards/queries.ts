import { alertRules } from "./alerts.ts";
import { makeDashboard } from "./dashboards.ts";
import type { InfluxTarget } from "./influxql.ts";
import { dashboardNames } from "./names.ts";

/** A query that Grafana will send, still with its macros (`expandQuery`), and where it stands. */
export type PanelQuery = {
  /** uid of the dashboard or of the alert rule. */
  dashboard: string;
  panel: string;
  refId: string;
  query: string;
  /** The range that it asks for, in ms before now. */
  fromAgoMs: number;
  toAgoMs: number;
};

const unitMs: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a range as our dashboards write it: `24h`, `now-7d`. */
function rangeMs(range: string): number {
  const found = /^(?:now-)?(\d+)([mhd])$/.exec(range);
  if (!found) throw new Error(`not a range of ours: ${range}`);
  return Number(found[1]) * (unitMs[found[2] as string] as number);
}

/** Every query of the Chinese dashboards: panels and variables. The English ones ask the same. */
export function panelQueries(): PanelQuery[] {
  return dashboardNames.flatMap((name) => {
    const { uid = "", panels = [], templating, time } = makeDashboard(name, "zh");
    const boardMs = rangeMs(time?.from ?? "");
    const ofPanels = panels.flatMap((panel) => {
      if (!("targets" in panel)) return [];
      const fromAgoMs = panel.timeFrom === undefined ? boardMs : rangeMs(panel.timeFrom);
      return (panel.targets ?? []).map((target) => {
        const { refId, query } = target as unknown as InfluxTarget;
        return { dashboard: uid, panel: panel.title ?? "", refId, query, fromAgoMs, toAgoMs: 0 };
      });
    });
    const ofVariables = (templating.list ?? []).map((variable) => {
      const { query, refId } = variable.query as { query: string; refId: string };
      return { dashboard: uid, panel: `variable ${variable.name}`, refId, query, fromAgoMs: boardMs, toAgoMs: 0 };
    });
    return [...ofPanels, ...ofVariables];
  });
}

/** Every query of the alert rules; expressions are not queries. */
export function alertQueries(): PanelQuery[] {
  return alertRules().flatMap(({ uid, title, data }) =>
    data.flatMap(({ refId, relativeTimeRange: { from, to }, model }) => {
      if (!("query" in model)) return [];
      const range = { fromAgoMs: from * 1000, toAgoMs: to * 1000 };
      return [{ dashboard: uid, panel: title, refId, query: model.query, ...range }];
    }),
  );
}
