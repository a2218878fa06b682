/**
 * The oracle: every figure by brute force, from all readings at once and the definitions alone (facts, KPI definitions; docs/contracts.md;
 * docs/indicators.md). Slow, plain and exact. Of the product it knows types and ids.
 */
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import type { Book } from "./book.ts";
import { alarmFigures } from "./oracle-alarms.ts";
import { type DeviceAsked, devicesOf } from "./oracle-devices.ts";
import { energyOf } from "./oracle-energy.ts";
import { machineAsker, type OracleFigure, type OracleMachine, type Span } from "./oracle-machines.ts";
import { throughput, unitProduct } from "./oracle-output.ts";
import { hour } from "./oracle-readings.ts";
import { isTold, type OracleSite, type OracleSpan, planOf, sitesOf, spansOf } from "./oracle-sites.ts";

export type Oracle = {
  /** Every figure of a period as of a time, by `indicator|level|entity`. */
  readonly figures: (span: OracleSpan, asOfMs: number) => Map<string, OracleFigure>;
  /** The periods of a kind that have begun by a time and end after another. */
  readonly spans: (period: string, fromMs: number, untilMs: number) => OracleSpan[];
  readonly sites: readonly OracleSite[];
};

/** Of what has passed of a span, the time that samples which never came stand for, by hour, each rounded up. */
function lostIn(accounts: DeviceAsked["accounts"], { period, from, to }: OracleSpan, asOf: number) {
  const until = Math.min(to, asOf);
  const known = new Map<string, number>();
  return (device: string): number => {
    if (period === "minute") return 0;
    let lost = known.get(device);
    if (lost !== undefined) return lost;
    lost = 0;
    for (const [at, { queued, kept }] of accounts.get(device) ?? []) {
      const passed = Math.min(at + hour, until) - Math.max(at, from);
      if (passed > 0 && kept < queued) lost += Math.ceil((passed * (queued - kept)) / queued);
    }
    known.set(device, lost);
    return lost;
  };
}

/**
 * @param book every reading, complete before the first question; it may grow between questions
 * @param accountedFromMs hours before it have no account
 */
export function oracleOf(file: RegistryFile, book: Book, accountedFromMs: number): Oracle {
  const sites = sitesOf(file);
  const machines = new Map<string, OracleMachine>();
  for (const { key, registered, calendar } of sites.at(-1)?.places.flatMap(({ devices }) => devices) ?? []) {
    if (registered.kind !== "machine") continue;
    machines.set(key, { key, registered, planned: planOf(calendar), columns: book.columns.get(key) ?? [] });
  }
  const accounts = new Map(
    [...book.queued].map(([key, hours]) => [key, new Map([...hours].filter(([at]) => at >= accountedFromMs))] as const),
  );

  return {
    sites,
    spans: (period, fromMs, untilMs) => spansOf(file, period, fromMs, untilMs),
    figures: (span, asOf) => {
      const { period, from, to, factory } = span;
      const time: Span = { from, to, asOf, lost: lostIn(accounts, span, asOf) };
      const columns = (key: string) => book.columns.get(key) ?? [];
      const region = file.cluster.gridRegion ?? "national";
      const kept = { amounts: new Map(), online: new Map(), bands: new Map(), gauges: new Map() };
      const asked: DeviceAsked = { span: time, columns, region, births: book.births, accounts, ...kept };
      const ratios = machineAsker(time);
      const found = new Map<string, OracleFigure>();
      for (const site of sites) {
        if (!isTold(site.level, period)) continue;
        if (factory !== undefined && site.places[0]?.id !== factory) continue;
        const own = [...devicesOf(asked, site, period, file.pilot.thresholds), ...energyOf(asked, site, period)];
        own.push(...alarmFigures(asked, site, file.alarms ?? []));
        const inside = site.places.flatMap(({ devices }) => devices.flatMap(({ key }) => machines.get(key) ?? []));
        if (period !== "minute" && period !== "quarter_hour") {
          own.push(
            ["energy.unit_product", unitProduct(asked, site)],
            ["production.throughput", throughput(asked, site)],
          );
          own.push(...ratios(inside));
        }
        for (const [indicator, figure] of own) found.set(`${indicator}|${site.level}|${site.entity}`, figure);
      }
      return found;
    },
  };
}
