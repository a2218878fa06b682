import type { Indicator, IndicatorVersion } from "./definition.ts";

/**
 * A version of a definition that came into force at an installation: when a release that has it was first started there. Noted for good, in
 * order; a later one takes its place from its own time on.
 */
export type DefinitionSince = { readonly indicator: string; readonly version: number; readonly fromMs: number };

/** A stretch of time in which a version is in force; the first begins since ever, with 0. */
export type DefinitionSpan = {
  readonly version: number;
  readonly fromMs: number;
  readonly untilMs: number | undefined;
};

/** Which version of each definition is in force when. */
export type DefinitionsInForce = {
  /** The catalogue at a time, each indicator by its version in force then. */
  readonly at: (timeMs: number) => readonly IndicatorVersion[];
  /** The stretches of an indicator, in order; undefined of none of the catalogue. */
  readonly spansOf: (id: string) => readonly DefinitionSpan[] | undefined;
};

/** The versions that a release keeps, newest first. */
export function versionsOf(indicator: Indicator): readonly IndicatorVersion[] {
  return [indicator, ...(indicator.earlier ?? [])].sort((a, b) => b.version - a.version);
}

/** The kept version that stands for another one: itself, the next older one, or the oldest that is kept. */
function keptVersion(indicator: Indicator, version: number): IndicatorVersion {
  const kept = versionsOf(indicator);
  return kept.find((one) => one.version <= version) ?? (kept.at(-1) as IndicatorVersion);
}

function spansIn({ version }: Indicator, rows: readonly DefinitionSince[]): DefinitionSpan[] {
  const line: { version: number; fromMs: number }[] = [];
  for (const { version: own, fromMs } of rows) {
    while ((line.at(-1)?.fromMs ?? Number.NEGATIVE_INFINITY) >= fromMs) line.pop();
    if (line.at(-1)?.version !== own) line.push({ version: own, fromMs });
  }
  // Where nothing is noted no figure was ever made here.
  const [first = { version, fromMs: 0 }, ...later] = line;
  const all = [{ ...first, fromMs: 0 }, ...later];
  return all.map((one, i) => ({ ...one, untilMs: all[i + 1]?.fromMs }));
}

/**
 * Tells which versions are in force when. Pure.
 * @param since what is noted at the installation, in the order in which it was noted
 */
export function definitionsInForce(
  catalogue: readonly Indicator[],
  since: readonly DefinitionSince[],
): DefinitionsInForce {
  const rows = Map.groupBy(since, ({ indicator }) => indicator);
  const spans = new Map(catalogue.map((one) => [one.id, spansIn(one, rows.get(one.id) ?? [])]));
  const changes = [...new Set([...spans.values()].flat().map(({ fromMs }) => fromMs))].sort((a, b) => a - b);
  const known = new Map<number, readonly IndicatorVersion[]>();
  return {
    at: (timeMs) => {
      const place = Math.max(
        0,
        changes.findLastIndex((fromMs) => fromMs <= timeMs),
      );
      const found =
        known.get(place) ??
        catalogue.map((indicator) => {
          const own = spans.get(indicator.id)?.findLast(({ fromMs }) => fromMs <= (changes[place] ?? 0));
          return keptVersion(indicator, own?.version ?? indicator.version);
        });
      known.set(place, found);
      return found;
    },
    spansOf: (id) => spans.get(id),
  };
}
