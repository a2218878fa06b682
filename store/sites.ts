import type { Level } from "@jilian/domain/result.ts";
import type { Registry } from "./registry.ts";
import type { Site } from "./site-sums.ts";

/** The lines, factories, enterprises, the cluster and the pilot, each with its registered devices by factory. */
export function sitesOf(registry: Registry): Site[] {
  const devices = new Map<string, string[]>([...registry.factories.keys()].map((id) => [id, []]));
  for (const [key, { factoryId }] of registry.devices) devices.get(factoryId)?.push(key);
  const all = [...registry.factories.values()];
  const siteOf = (level: Level, entity: string, ids: readonly string[]): Site => ({
    level,
    entity,
    factories: new Map(ids.map((id) => [id, devices.get(id) ?? []])),
  });
  const enterprises = Map.groupBy(all, (factory) => factory.enterpriseId);
  const everywhere = all.map(({ id }) => id);
  return [
    ...[...registry.lines.values()].map(
      ({ key, factoryId, devices: own }): Site => ({
        level: "line",
        entity: key,
        factories: new Map([[factoryId, own]]),
      }),
    ),
    ...all.map(({ id }) => siteOf("factory", id, [id])),
    ...[...enterprises].map(([id, own]) =>
      siteOf(
        "enterprise",
        id,
        own.map((factory) => factory.id),
      ),
    ),
    siteOf("cluster", registry.file.cluster.id, everywhere),
    siteOf("pilot", registry.file.pilot.id, everywhere),
  ];
}
