import type { Indicator } from "@jilian/domain/indicators/definition.ts";
import { type DefinitionsInForce, definitionsInForce } from "@jilian/domain/indicators/in-force.ts";
import type { Ledger } from "@jilian/store/ledger.ts";

/**
 * Notes versions of definitions that this release brings to the installation: in force from now on, so that figures of periods that have
 * ended keep theirs. Of an indicator of which nothing is noted, what made the figures that are there is in force since ever: a ledger of
 * before this was noted; where there are none, the release's own.
 */
export function noteDefinitions(
  ledger: Pick<Ledger, "definitionVersions" | "addDefinitionVersion" | "figureVersions" | "transaction">,
  catalogue: readonly Indicator[],
  nowMs: number,
): DefinitionsInForce {
  ledger.transaction(() => {
    const noted = new Map(ledger.definitionVersions().map(({ indicator, version }) => [indicator, version]));
    const isNoted = catalogue.every(({ id }) => noted.has(id));
    const made = new Map(isNoted ? [] : ledger.figureVersions().map(({ indicator, version }) => [indicator, version]));
    for (const { id: indicator, version } of catalogue) {
      let last = noted.get(indicator);
      if (last === undefined) {
        last = made.get(indicator) ?? version;
        ledger.addDefinitionVersion({ indicator, version: last, fromMs: 0 });
      }
      if (last !== version) ledger.addDefinitionVersion({ indicator, version, fromMs: nowMs });
    }
  });
  return definitionsInForce(catalogue, ledger.definitionVersions());
}
