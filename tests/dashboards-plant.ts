import {
  dayMs,
  type FixedPeriod,
  hourMs,
  minuteMs,
  type Period,
  periodLengthMs,
  periodStart,
} from "@jilian/domain/periods.ts";
import type { Level } from "@jilian/domain/result.ts";

/** Names that a query has to survive: Chinese, a slash, brackets, a space, a bar. */
export const rolling = "铜板带轧制厂/一期(东)";
export const casting = "熔铸厂 [二]|南";
const cluster = "粤北有色金属";

const tag = (value: string) => value.replace(/[ ,=\\]/g, "\\$&");

type Figure = {
  indicator: string;
  level: Level;
  entity: string;
  period: Period;
  value: number | null;
  reason?: string;
  completeness?: number;
  lowerBound?: boolean;
};

/** A figure as the InfluxDB store writes it: `value` is left out where there is none. */
function kpiLine(figure: Figure, startMs: number): string {
  const { indicator, level, entity, period, value, reason = "", completeness = -1, lowerBound = false } = figure;
  const fields = [
    ...(value === null ? [] : [`value=${value}`]),
    `known=${value !== null}`,
    `text="${value ?? ""}"`,
    `reason="${reason}"`,
    `completeness=${completeness}`,
    `estimated_share=${completeness < 0 ? -1 : 0.02}`,
    `lower_bound=${lowerBound}`,
    `simulated=true`,
    `status="provisional"`,
    `revision=0i`,
    `unit="1"`,
  ];
  const tags = `entity=${tag(entity)},indicator=${indicator},level=${level},period=${period}`;
  return `kpi,${tags} ${fields.join(",")} ${startMs}`;
}

const connectionLine = (factory: string, gateway: string, device: string, onlineMs: number, timeMs: number) =>
  `connection,device=${tag(device)},factory=${tag(factory)},gateway=${tag(gateway)} online_ms=${onlineMs}i ${timeMs}`;

const sites = [
  { level: "cluster", entity: cluster, online: 6, registered: 8, factories: 2, kW: 600 },
  { level: "factory", entity: rolling, online: 4, registered: 4, factories: null, kW: 480 },
  { level: "factory", entity: casting, online: 2, registered: 4, factories: null, kW: 120 },
] as const;

function siteLines(site: (typeof sites)[number], period: FixedPeriod, startMs: number): string[] {
  const { level, entity, kW } = site;
  const kWh = (kW * periodLengthMs(period)) / hourMs;
  const completeness = entity === casting ? 0.5 : 0.97;
  const figure = (indicator: string, value: number | null, rest: Partial<Figure> = {}) =>
    kpiLine({ indicator, level, entity, period, value, ...rest }, startMs);
  return [
    figure("devices.online", site.online),
    figure("devices.registered", site.registered),
    figure("devices.ever_connected", site.registered - 1),
    ...(site.factories === null ? [] : [figure("factories.connected", site.factories)]),
    figure("energy.electricity", kWh, { completeness, lowerBound: entity === casting }),
    figure("energy.comprehensive", kWh * 0.1229, { completeness }),
    figure("carbon.electricity", kWh * 0.5306, { completeness }),
    ...(period === "minute" ? [] : [figure("oee", 0.81), figure("quality.fpy", 0.985)]),
    ...(period === "minute" ? [] : [figure("energy.unit_product", 0.25)]),
  ];
}

/**
 * A small cluster's thirty days until a moment, as line protocol in the order of writing: two factories, three gateways. The casting
 * plant's unit energy of today was known and is unknown again; its second gateway has been silent for the last twenty minutes.
 */
export function plantLines(nowMs: number): string[] {
  const lines: string[] = [];
  const lengths = { minute: dayMs, hour: 3 * dayMs, day: 30 * dayMs };
  for (const [period, backMs] of Object.entries(lengths) as [FixedPeriod, number][]) {
    const length = periodLengthMs(period);
    // Minutes are written when they have ended; hours and days from their beginning on.
    const lastMs = periodStart(period, nowMs) - (period === "minute" ? length : 0);
    for (let startMs = lastMs; startMs > lastMs - backMs; startMs -= length) {
      for (const site of sites) lines.push(...siteLines(site, period, startMs));
    }
  }
  const today = periodStart("day", nowMs);
  const unknown = { indicator: "energy.unit_product", level: "factory", entity: casting, period: "day" } as const;
  lines.push(kpiLine({ ...unknown, value: null, reason: "no_production" }, today));
  const lastMinute = periodStart("minute", nowMs) - minuteMs;
  for (let timeMs = lastMinute; timeMs > lastMinute - 6 * hourMs; timeMs -= minuteMs) {
    lines.push(connectionLine(rolling, "网关 1", "总进线电表", 60_000, timeMs));
    lines.push(connectionLine(rolling, "网关 1", "轧机", timeMs > lastMinute - hourMs ? 30_000 : 60_000, timeMs));
    lines.push(connectionLine(casting, "网关 2", "熔炼炉", 60_000, timeMs));
    if (timeMs <= lastMinute - 20 * minuteMs) lines.push(connectionLine(casting, "网关 3", "锯切机", 60_000, timeMs));
  }
  return lines;
}
