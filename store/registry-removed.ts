import type { FaultTeller } from "@jilian/domain/fault-teller.ts";
import type { RegistryVersion, RegistryVersions } from "./registry-versions.ts";

/** How long an applied version, or one that comes into force, may stay unnoticed. */
const lookEveryMs = 1000;

/**
 * When a version came into force first, UTC ms; undefined when another one replaced it before: what was planned and taken back was never
 * in force.
 */
function begunMs(version: RegistryVersion, all: readonly RegistryVersion[]): number | undefined {
  const beginsMs = Math.max(version.fromMs, version.appliedMs);
  const replaces = all.find(({ number, fromMs }) => number > version.number && fromMs <= version.fromMs);
  return replaces && replaces.appliedMs <= beginsMs ? undefined : beginsMs;
}

/**
 * Tells of a gateway, `factory/gateway`, whether it was in a registry that was in force and is in none now: taken out, or moved to
 * another factory. Of one that never was registered it says no. Looks for changes once a second at most; each version is read once.
 * @param versions undefined while there is none
 * @param looked told of each look; when the ledger cannot be read, what was known last stays
 */
export function removedGateways(
  versions: () => RegistryVersions | undefined,
  clock: { now: () => number },
  looked: FaultTeller,
  everyMs: number = lookEveryMs,
): (gateway: string) => boolean {
  const settled = new Set<number>();
  const ever = new Set<string>();
  let registered: ReadonlySet<string> = new Set();
  let lookAtMs = Number.NEGATIVE_INFINITY;

  function look(): void {
    const [found, nowMs] = [versions(), clock.now()];
    if (!found) return;
    const begun = found.all().filter((version) => {
      const fromMs = settled.has(version.number) ? undefined : begunMs(version, found.all());
      return fromMs !== undefined && fromMs <= nowMs;
    });
    const fresh = new Set(begun.map(({ number }) => number));
    if (fresh.size > 0)
      found.visitFiles(
        ({ number }) => fresh.has(number),
        ({ enterprises }) => {
          for (const factory of enterprises.flatMap(({ factories }) => factories))
            for (const { id } of factory.gateways) ever.add(`${factory.id}/${id}`);
        },
      );
    for (const number of fresh) settled.add(number);
    registered = found.at(nowMs).gateways;
  }
  return (gateway) => {
    if (performance.now() >= lookAtMs) {
      lookAtMs = performance.now() + everyMs;
      try {
        look();
        looked.well();
      } catch (thrown) {
        looked.failed(thrown);
      }
    }
    return ever.has(gateway) && !registered.has(gateway);
  };
}
