import type { Level } from "@jilian/domain/result.ts";
import type { Directory } from "./directory.ts";
import { maxKnownNamed } from "./limits.ts";
import { problem } from "./problems.ts";

const listedAt: Readonly<Record<Level, string>> = {
  device: "/open/v1/devices",
  line: "/open/v1/factories",
  factory: "/open/v1/factories",
  enterprise: "/open/v1/enterprises",
  cluster: "/open/v1/info",
  pilot: "/open/v1/info",
};

function remedyFor(known: readonly string[], where: string): string {
  return known.length > maxKnownNamed
    ? `use one of the ${known.length} listed at ${where}`
    : `use one of those known; ${where} lists them`;
}

/** @throws a 404 that names the entities of the level, when an id is given that is none of them */
export function checkEntity(directory: Directory, level: Level, id: string | undefined): void {
  const entities = directory.entities[level];
  if (id === undefined || entities.has(id)) return;
  const known = [...entities.keys()];
  throw problem({
    code: "ENTITY_UNKNOWN",
    status: 404,
    detail: `the registry has no ${level} "${id}"`,
    remedy: remedyFor(known, listedAt[level]),
    known,
  });
}

/** @throws a 400 that names the indicators of the level, when one is asked for that is none of them */
export function checkIndicator(directory: Directory, level: Level | undefined, id: string | undefined): void {
  const indicator = id === undefined ? undefined : directory.indicators.get(id);
  if (id === undefined || (indicator && (level === undefined || indicator.levels.includes(level)))) return;
  const known = [...directory.indicators.values()].filter((i) => level === undefined || i.levels.includes(level));
  throw problem({
    code: "INDICATOR_UNKNOWN",
    status: 400,
    detail: indicator
      ? `indicator "${id}" is not made at level ${level}, but at ${indicator.levels.join(", ")}`
      : `there is no indicator "${id}"`,
    remedy: "use one of those known; /open/v1/info tells what each means",
    known: known.map((i) => i.id),
  });
}
