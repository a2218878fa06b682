import type { Level } from "@jilian/domain/result.ts";
import type { Registry } from "@jilian/store/registry.ts";

/** An entity of the tree with what lies under it. */
export type Site = {
  readonly level: Level;
  readonly entity: string;
  /** Registered devices, `factory/gateway/device`. */
  readonly devices: readonly string[];
  /** Its factories by id, each with its own devices. */
  readonly factories: ReadonlyMap<string, readonly string[]>;
};

/** The factories, the enterprises and the cluster, each with its registered devices. */
export function sitesOf(registry: Registry): Site[] {
  const devices = new Map<string, string[]>([...registry.factories.keys()].map((id) => [id, []]));
  for (const [key, { factoryId }] of registry.devices) devices.get(factoryId)?.push(key);
  const siteOf = (level: Level, entity: string, ids: readonly string[]): Site => {
    const factories = new Map(ids.map((id) => [id, devices.get(id) ?? []] as const));
    return { level, entity, devices: [...factories.values()].flat(), factories };
  };
  const all = [...registry.factories.values()];
  const enterprises = Map.groupBy(all, (factory) => factory.enterpriseId);
  return [
    ...all.map(({ id }) => siteOf("factory", id, [id])),
    ...[...enterprises].map(([id, own]) =>
      siteOf(
        "enterprise",
        id,
        own.map((factory) => factory.id),
      ),
    ),
    siteOf(
      "cluster",
      registry.file.cluster.id,
      all.map((factory) => factory.id),
    ),
  ];
}
