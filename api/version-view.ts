import { isoTime } from "@jilian/domain/periods.ts";
import { type RegistryVersion, type RegistryVersions, sinceEverMs } from "@jilian/store/registry-versions.ts";
import { type Static, Type } from "typebox";
import { nullable, timeSchema } from "./figures.ts";

export const versionSchema = Type.Object({
  number: Type.Integer({ description: "place in the order in which versions were applied" }),
  version: Type.String({ description: "hash of the content, as figures name it in `registryVersion`" }),
  from: nullable(Type.String({ description: "in force from then on; null: since ever" })),
  until: nullable(Type.String({ description: "another one is in force from then on; null: none is known" })),
  inForce: Type.Boolean({
    description: "false for one that is in force at no time any more: later ones took its place",
  }),
  appliedTime: timeSchema,
});
export type VersionView = Static<typeof versionSchema>;

/** A version with its place in time, as both interfaces show it. */
export function viewVersion(
  { number, version, fromMs, appliedMs }: RegistryVersion,
  all: RegistryVersions,
): VersionView {
  const line = all.inForce();
  const at = line.findIndex((other) => other.number === number);
  const next = at < 0 ? undefined : line[at + 1];
  return {
    ...{ number, version, inForce: at >= 0 },
    // The first version holds for what was before it, whatever it says.
    from: fromMs === sinceEverMs || at === 0 ? null : isoTime(fromMs),
    until: next ? isoTime(next.fromMs) : null,
    appliedTime: isoTime(appliedMs),
  };
}
