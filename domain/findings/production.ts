import type { FactorySums, SiteSums } from "../period-sums.ts";
import { isJudged } from "./definition.ts";

/**
 * Pieces that the machines of a factory counted, at 6 places; undefined where no machine counts, or one of them was not read enough to say
 * that it made none.
 */
export function piecesOf({ devices }: FactorySums, site: SiteSums): bigint | undefined {
  const counters = devices.flatMap(({ machine }) =>
    (machine?.counters ?? []).filter(({ role }) => role === "production.total").map(({ whole }) => whole),
  );
  if (counters.length === 0) return undefined;
  const pieces = counters.reduce((sum, whole) => sum + whole.amount, 0n);
  const known = counters.every(({ told, partial, coveredMs }) => told && !partial && isJudged(coveredMs, site));
  return pieces > 0n || known ? pieces : undefined;
}
