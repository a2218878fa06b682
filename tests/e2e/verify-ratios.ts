import { increases, sums, written } from "./oracle.ts";

/** A counter of a machine or an incoming meter, unrolled. */
export type Line = {
  factory: string;
  device: string;
  role: string;
  line: readonly { atMs: number; total: bigint }[];
};

/** A figure that must be, or null where a term is missing. */
export type Expected = { indicator: string; periods: readonly string[]; value: string | null };

const every = ["minute", "hour", "day"];
/** Ratios of a minute would be noise: they are not published. */
const ended = ["hour", "day"];

const round = (numerator: bigint, denominator: bigint, places: number) => {
  const scaled = numerator * 10n ** BigInt(places);
  return written((2n * scaled + denominator) / (2n * denominator), places);
};

/** Half up at six places: the ratio of two sums over the machines that have both. */
function ratio(parts: readonly (bigint | null)[], wholes: readonly (bigint | null)[]): string | null {
  let [part, whole] = [0n, 0n];
  for (const [i, own] of parts.entries()) {
    const of = wholes[i] ?? null;
    if (own === null || of === null) continue;
    part += own;
    whole += of;
  }
  return whole > 0n ? round(part, whole, 6) : null;
}

type Amounts = { factory: string; amounts: readonly (bigint | null)[] };

/** kWh x 0.1229 kgce over good pieces, of the plants of which both are known; null where more than one has made something. */
function unitProduct(meters: readonly Amounts[], outputs: readonly Amounts[], n: number): string | null {
  const both = outputs.flatMap(({ factory, amounts }) => {
    const kWh = meters.find((meter) => meter.factory === factory)?.amounts[n] ?? null;
    const pieces = amounts[n] ?? null;
    return kWh === null || pieces === null ? [] : [{ kWh, pieces }];
  });
  const pieces = both.reduce((sum, own) => sum + own.pieces, 0n);
  if (pieces === 0n || both.filter((own) => own.pieces > 0n).length > 1) return null;
  return round(both.reduce((sum, own) => sum + own.kWh, 0n) * 1229n, pieces * 10_000n, 9);
}

/**
 * Quality, carbon and unit-product figures of a site, period by period, in the words of the standards: passed / inspected, scrap / produced,
 * kWh x 0.4042 kgCO2 (southern grid), and kWh x 0.1229 kgce over the good pieces of the line's last machine; each plant makes something else,
 * so that pieces of several do not add up.
 */
export function expectedRatios(lines: readonly Line[], edges: readonly number[]): Expected[][] {
  const perPeriod = (role: string, only: (line: Line) => boolean = () => true) =>
    lines.filter((l) => l.role === role && only(l)).map((l) => ({ ...l, amounts: increases(l.line, edges) }));
  const meters = perPeriod("energy.import", (l) => l.device === "incoming-meter");
  const energy = sums(meters.map((l) => l.amounts));
  const outputs = perPeriod("production.good", (l) => l.device === "machine-3");
  const pairs = [
    ["quality.fpy", "inspection.passed", "inspection.inspected"],
    ["quality.scrap_ratio", "production.scrap", "production.total"],
  ] as const;
  const ratios = pairs.map(([indicator, part, whole]) => {
    const [parts, wholes] = [perPeriod(part), perPeriod(whole)];
    const of = (p: (typeof parts)[number]) => wholes.find((w) => w.factory === p.factory && w.device === p.device);
    return { indicator, pairs: parts.map((p) => [p.amounts, of(p)?.amounts ?? []] as const) };
  });
  return edges.slice(1).map((_, n) => {
    const kWh = energy[n] ?? null;
    return [
      { indicator: "carbon.electricity", periods: every, value: kWh === null ? null : written(kWh * 4042n, 10) },
      { indicator: "energy.unit_product", periods: ended, value: unitProduct(meters, outputs, n) },
      ...ratios.map(({ indicator, pairs: found }) => ({
        indicator,
        periods: ended,
        value: ratio(
          found.map(([part]) => part[n] ?? null),
          found.map(([, whole]) => whole[n] ?? null),
        ),
      })),
    ];
  });
}
