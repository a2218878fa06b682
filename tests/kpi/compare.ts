/** Compares every published figure with the oracle's, and shows what differs, term by term. */
import { type Period, periods, watermarkMs } from "@jilian/domain/periods.ts";
import { type Level, levels, type Result } from "@jilian/domain/result.ts";
import type { Oracle } from "./oracle.ts";
import type { OracleFigure } from "./oracle-machines.ts";
import type { OracleSpan } from "./oracle-sites.ts";
import type { Platform } from "./platform.ts";

export type Difference = { figure: string; found: string; expected: string; terms: string };

export type Comparison = {
  /** Figures compared, by period. */
  compared: Map<string, number>;
  wrong: number;
  /** By indicator and period. */
  wrongOf: Map<string, number>;
  /** The first of them. */
  differences: Difference[];
  /** Indicators that the oracle does not know, with the number of their figures: nothing is proved of those. */
  unknown: Map<string, number>;
};

const offsetMs = 8 * 3_600_000;
const shownAtMost = 8;
/** Figures of how samples arrived, which is no matter of the readings: the oracle knows nothing of it. */
const ofArrival: readonly string[] = ["data.delay"];

/** Figures that are kept in the telemetry store: those of minutes, and of lines once their period has ended. */
const inTelemetry = (level: Level, period: Period) => period === "minute" || level === "line";

async function published(platform: Platform, period: Period, fromMs: number, toMs: number): Promise<Result[]> {
  const found: Result[] = [];
  for (const level of levels) {
    if (level === "device") continue;
    const query = { level, period, fromMs, toMs, limit: 1e9 };
    if (inTelemetry(level, period)) found.push(...(await platform.telemetry().readMinuteResults(query)));
    else found.push(...platform.ledger().readResults(query));
  }
  return found;
}

const plain = (_: string, value: unknown) => (typeof value === "bigint" ? `${value}` : value);
const words = (value: unknown): string => JSON.stringify(value, plain);

/** What a figure says, in one line. */
function saying(figure: Omit<OracleFigure, "terms">, isDue: boolean): string {
  const { value, reason, completeness, estimatedShare, lowerBound } = figure;
  return words({ value, reason, completeness, estimatedShare, lowerBound, isDue });
}

function compareSpan(
  comparison: Comparison,
  expected: Map<string, OracleFigure>,
  found: readonly Result[],
  { span: { period, from, to }, asOfMs }: { span: OracleSpan; asOfMs: number },
): void {
  const isDue = asOfMs >= to + watermarkMs;
  const left = new Map(expected);
  const differs = (id: string, says: string, figure: OracleFigure | undefined) => {
    comparison.wrong += 1;
    const [indicator = ""] = id.split("|");
    comparison.wrongOf.set(`${indicator} ${period}`, (comparison.wrongOf.get(`${indicator} ${period}`) ?? 0) + 1);
    if (comparison.differences.length >= shownAtMost) return;
    comparison.differences.push({
      figure: `${id}|${period}|${new Date(from + offsetMs).toISOString().slice(0, 19)}+08:00`,
      found: says,
      expected: figure ? saying(figure, isDue) : "no such figure",
      terms: words(figure?.terms ?? {}),
    });
  };
  let compared = 0;
  for (const result of found) {
    if (ofArrival.includes(result.indicator)) continue;
    const id = `${result.indicator}|${result.level}|${result.entity}`;
    const figure = expected.get(id);
    left.delete(id);
    if (!figure) {
      const own = `${result.indicator} ${result.level} ${period}`;
      comparison.unknown.set(own, (comparison.unknown.get(own) ?? 0) + 1);
      continue;
    }
    compared += 1;
    const says = saying(result, result.status !== "provisional");
    if (says !== saying(figure, isDue) || result.endMs !== to) differs(id, says, figure);
  }
  for (const [id, figure] of left) {
    const [, level] = id.split("|") as [string, Level];
    // What the telemetry store keeps it keeps of periods that have ended.
    if (to > asOfMs && inTelemetry(level, period as Period)) continue;
    differs(id, "not published", figure);
  }
  comparison.compared.set(period, (comparison.compared.get(period) ?? 0) + compared);
}

/**
 * Every figure that is published of the periods that touch [fromMs, asOfMs], and every one that ought to be.
 * @param fromMs when the platform was first started
 * @param only periods of these kinds; all if absent
 */
export async function compareAll(
  platform: Platform,
  oracle: Oracle,
  { fromMs, asOfMs }: { fromMs: number; asOfMs: number },
  only: readonly Period[] = periods,
): Promise<Comparison> {
  const comparison: Comparison = {
    compared: new Map(),
    wrong: 0,
    wrongOf: new Map(),
    differences: [],
    unknown: new Map(),
  };
  for (const period of only) {
    const spans = oracle.spans(period, fromMs, asOfMs);
    const together = period === "minute" ? 60 : 24;
    for (let i = 0; i < spans.length; i += together) {
      const batch = spans.slice(i, i + together);
      const starts = batch.map(({ from }) => from);
      const results = await published(platform, period, Math.min(...starts), Math.max(...starts) + 1);
      for (const span of batch) {
        const inside = results.filter(({ startMs, entity }) => startMs === span.from && isOf(entity, span));
        compareSpan(comparison, oracle.figures(span, asOfMs), inside, { span, asOfMs });
      }
    }
  }
  return comparison;
}

/** Whether an entity is the factory of a shift, or lies in it. */
function isOf(entity: string, { factory }: OracleSpan): boolean {
  return factory === undefined || entity === factory || entity.startsWith(`${factory}/`);
}

/** The differences, for people. */
export function describe({ wrong, wrongOf, differences, unknown }: Comparison): string {
  const lines = differences.map(
    ({ figure, found, expected, terms }) =>
      `${figure}\n  product ${found}\n  oracle  ${expected}\n  of      ${terms.slice(0, 3000)}`,
  );
  const strangers = [...unknown].map(([indicator, figures]) => `${indicator} (${figures})`);
  return [
    `${wrong} figures are wrong`,
    ...[...wrongOf].map(([of, figures]) => `  ${figures} of ${of}`),
    ...lines,
    ...(strangers.length > 0 ? [`not known to the oracle: ${strangers.join(", ")}`] : []),
  ].join("\n");
}
