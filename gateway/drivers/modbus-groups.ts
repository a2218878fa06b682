import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { Type } from "typebox";
import type { Groups } from "./rates.ts";
import { dayMs, faultsBelow, strict } from "./tag-config.ts";

/** Tags of a device that are read more seldom than the others: settings, nameplates, temperatures of a hall. */
export const groupsSchema = Type.Optional(
  Type.Record(
    Type.String({ pattern: idPattern }),
    Type.Object(
      {
        // No default: it would not be filled in below a name that the configuration chooses.
        pollIntervalMs: Type.Optional(
          Type.Integer({
            minimum: 10,
            maximum: dayMs,
            description: "a multiple of that of the device; a day where it is left out",
          }),
        ),
      },
      strict,
    ),
    {
      description:
        "groups of tags by name, each with a rate of its own; all are read at each connect and when asked for",
    },
  ),
);
type Grouped = {
  readonly pollIntervalMs: number;
  readonly groups?: Groups;
  readonly tags: readonly { readonly group?: string }[];
};

/** Faults of groups: unknown, unused, faster than their device or out of step with it. */
export function groupFaults({ pollIntervalMs, groups = {}, tags }: Grouped, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  for (const [i, { group }] of tags.entries()) {
    const known = group === undefined || Object.hasOwn(groups, group);
    check(known, `/tags/${i}/group`, "a group of this device", `write it in "groups", or correct the name`);
  }
  for (const [name, { pollIntervalMs: ownMs = dayMs }] of Object.entries(groups)) {
    const inStep = ownMs % pollIntervalMs === 0;
    const multiple = `a multiple of pollIntervalMs of the device (${pollIntervalMs})`;
    check(inStep, `/groups/${name}/pollIntervalMs`, multiple, "the device is polled as often as its fastest tags need");
    const isUsed = tags.some(({ group }) => group === name);
    check(isUsed, `/groups/${name}`, "a group that a tag is in", "remove it, or name it at its tags");
  }
  return faults;
}
