import { type HistoryKind, quarterMs } from "./history-quarter.ts";

/**
 * What a quarter hour of one tag takes in the file, bytes: measured (history-reach.test.ts holds it to that), of states with three codes.
 */
export const rowBytes: Readonly<Record<HistoryKind, number>> = { counter: 48, gauge: 70, state: 76 };

/** The specification asks for more than six months (history.ts names it); no six months have more days. */
export const askedDays = 184;

export type HistoryBounds = { readonly keepDays: number; readonly maxBytes: number };

const quartersPerDay = 86_400_000 / quarterMs;
const mebibyte = 1024 * 1024;

/** Days of quarter hours that the bounds hold: of tags of these kinds, and at most `keepDays`. */
export function daysThatFit(kinds: readonly HistoryKind[], { keepDays, maxBytes }: HistoryBounds): number {
  const dayBytes = kinds.reduce((sum, kind) => sum + quartersPerDay * rowBytes[kind], 0);
  return dayBytes === 0 ? keepDays : Math.min(keepDays, maxBytes / dayBytes);
}

/** Why less than six months fit, and what to do; undefined where they do. */
export function tooShort(
  kinds: readonly HistoryKind[],
  bounds: HistoryBounds,
): { found: string; remedy: string } | undefined {
  const days = daysThatFit(kinds, bounds);
  if (days >= askedDays) return undefined;
  const { keepDays, maxBytes } = bounds;
  const asked = `the ${askedDays} days of six months`;
  if (days === keepDays)
    return { found: `history.keepDays is ${keepDays}, less than ${asked}`, remedy: `raise it to ${askedDays} or more` };
  const needed = Math.ceil((maxBytes * askedDays) / days / mebibyte) * mebibyte;
  return {
    found: `history.maxBytes holds some ${Math.floor(days)} days of ${kinds.length} tags, less than ${asked}`,
    remedy: `raise history.maxBytes from ${maxBytes} to ${needed} or more, on a medium that has room for it (history.path)`,
  };
}
