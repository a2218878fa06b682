import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { append, greatestOf, leastOf } from "@jilian/domain/lists.ts";
import { dayMs, type Period, watermarkMs } from "@jilian/domain/periods.ts";
import type { Level, Result } from "@jilian/domain/result.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { RegistryVersions } from "@jilian/store/registry-versions.ts";
import { sitesOf } from "@jilian/store/sites.ts";
import { existsAt, isLogged, type Span } from "@jilian/store/spans.ts";
import type { ResultQuery, Telemetry } from "@jilian/store/telemetry.ts";
import type { Moment } from "./compute.ts";
import { siteQuestions } from "./site-questions.ts";

export type WithdrawParts = {
  ledger: Pick<Ledger, "readResults">;
  telemetry: Pick<Telemetry, "readMinuteResults">;
  versions: () => RegistryVersions;
};

/** Periods of one kind that were just computed: those that end, or are cut at `untilMs`, in (afterMs, upToMs]. */
export type Computing = {
  readonly period: Period;
  readonly spans: readonly Span[];
  readonly afterMs: number;
  readonly upToMs: number;
  readonly untilMs: number;
};

type Entity = { readonly level: Level; readonly entity: string };

const idOf = ({ level, entity }: Entity) => `${level}|${entity}`;

/** A figure as it is when its site is not in the registry of its time: nothing is deleted, and everybody is told. */
function withdrawn(result: Result, registry: Registry, { nowMs, watermarkTx }: Moment): Result {
  const { indicator, level, entity, period, startMs, endMs, unit, definitionVersion } = result;
  return {
    ...{ indicator, level, entity, period, startMs, endMs, unit, definitionVersion },
    ...{ value: null, reason: "not_registered", completeness: null, estimatedShare: null, lowerBound: false },
    ...{ status: "provisional", revision: 0, factorTable: null, registryVersion: registry.version },
    ...{ inputWatermark: watermarkTx, asOfMs: nowMs, simulated: registry.demo },
  };
}

/**
 * Finds figures of sites that the registry of their time does not have any more: a version that was dated back has removed or renamed
 * them, or they went while the period ran. Without it such a figure would stand beside that of the site which took over its devices.
 * Where every site that ever was is there, nothing is read.
 */
export function withdrawer({ ledger, telemetry, versions }: WithdrawParts) {
  const sites = new WeakMap<Registry, ReadonlySet<string>>();
  const sitesIn = (registry: Registry) => getOrMake(sites, registry, () => new Set(sitesOf(registry).map(idOf)));
  let of: RegistryVersions | undefined;
  /** Versions whose sites are among those that ever were, by their content. */
  const seen = new Set<string>();
  const ever = new Map<string, Entity>();

  /** Every site of every version that was ever applied: of one that is in force no more, figures may be left. */
  function everySite(): ReadonlyMap<string, Entity> {
    if (of === versions()) return ever;
    of = versions();
    of.visit(
      ({ version }) => !seen.has(version),
      (registry) => {
        seen.add(registry.version);
        for (const { level, entity } of sitesOf(registry)) ever.set(idOf({ level, entity }), { level, entity });
      },
    );
    return ever;
  }

  /** The registry that a figure of a period is of. */
  const registryOf = ({ endMs }: Pick<Span, "endMs">, nowMs: number) => versions().at(Math.min(endMs, nowMs) - 1);

  /** Sites that some registry in force in the stretch, or now, lacks. */
  function gone({ period, afterMs, upToMs, untilMs }: Computing, nowMs: number): Entity[] {
    const lastMs = Math.min(upToMs, untilMs);
    const times = [afterMs, ...versions().changesIn(afterMs, lastMs), nowMs - 1];
    const registries = [...new Set(times.map((at) => versions().at(at)))];
    return [...everySite().values()].filter(
      (site) => existsAt(site.level, period) && registries.some((registry) => !sitesIn(registry).has(idOf(site))),
    );
  }

  async function stored(sought: readonly Entity[], query: Omit<ResultQuery, "level" | "entity">): Promise<Result[]> {
    const found: Result[] = [];
    for (const site of siteQuestions(sought)) {
      const question = { ...query, ...site };
      append(found, isLogged(question) ? ledger.readResults(question) : await telemetry.readMinuteResults(question));
    }
    return found;
  }

  /** @returns the figures of computed periods whose site is not registered, to be published like those that were computed */
  return async (computing: Computing, moment: Moment): Promise<Result[]> => {
    const { period, spans, afterMs, upToMs, untilMs } = computing;
    const isShift = period === "shift";
    if (spans.length === 0 && !isShift) return [];
    const sought = gone(computing, moment.nowMs);
    if (sought.length === 0) return [];
    // The shifts of a factory that is gone are in no calendar any more: they are found by their ends.
    const starts = new Set(spans.map(({ startMs }) => startMs));
    const fromMs = isShift ? Math.max(0, afterMs - dayMs) : leastOf(starts);
    const toMs = isShift ? upToMs : greatestOf(starts) + 1;
    const ended = (endMs: number) => endMs > afterMs && endMs <= upToMs;
    const rows = await stored(sought, { period, fromMs, toMs, limit: Number.MAX_SAFE_INTEGER });
    return rows.flatMap((row) => {
      if (isShift ? !ended(Math.min(row.endMs, untilMs)) : !starts.has(row.startMs)) return [];
      const registry = registryOf(row, moment.nowMs);
      // What was withdrawn while its period ran has still to become final, once the watermark has passed it.
      const isDue = row.status === "provisional" && moment.nowMs >= row.endMs + watermarkMs;
      const isDone = row.reason === "not_registered" && !isDue;
      if (isDone || sitesIn(registry).has(idOf(row))) return [];
      return [withdrawn(row, registry, moment)];
    });
  };
}
