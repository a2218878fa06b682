import type { Level } from "@jilian/domain/result.ts";

/** Sites of a level that are asked for one by one; beyond it all of the level are. */
const oneByOne = 2;

/** What to ask a store for to get the figures of some sites, others of their level included. */
export function siteQuestions(
  sites: readonly { readonly level: Level; readonly entity: string }[],
): { level: Level; entity?: string }[] {
  return [...Map.groupBy(sites, ({ level }) => level)].flatMap(([level, own]) => {
    const entities = [...new Set(own.map(({ entity }) => entity))];
    return entities.length > oneByOne ? [{ level }] : entities.map((entity) => ({ level, entity }));
  });
}
