import { JilianError } from "@jilian/domain/errors.ts";
import type { FaultTeller } from "@jilian/domain/fault-teller.ts";
import { indexRegistry, type Registry } from "./registry.ts";
import type { RegistryFile } from "./registry-schema.ts";

/** One application of a registry: which content, in force from when, by whom. */
export type RegistryVersion = {
  /** Place in the order in which versions were applied, from 1. */
  readonly number: number;
  /** Hash of the content (`Registry.version`), named by figures. The same one again when an earlier content is applied again. */
  readonly version: string;
  /** In force from this moment on, UTC ms. The first version is in force since ever, whatever it says. */
  readonly fromMs: number;
  readonly appliedMs: number;
  readonly appliedBy: string;
  /** Why, in the words of who applied it; may be empty. */
  readonly note: string;
};

/** A version as the ledger keeps it. */
export type StoredRegistryVersion = RegistryVersion & {
  /** The checked `cluster.yaml` as JSON. Text, so that versions which nobody asks for cost no parsing. */
  readonly fileJson: string;
};

/** `fromMs` of a version that is in force since ever. */
export const sinceEverMs = 0;

/**
 * The registry over time. A version is in force from its date on and until one that was applied after it begins: who applies a
 * version that begins in the past replaces what was in force since then, and who applies one now replaces what was planned for later.
 */
export type RegistryVersions = {
  /** The registry in force at a moment, UTC ms. */
  readonly at: (timeMs: number) => Registry;
  /** Which version that is. */
  readonly versionAt: (timeMs: number) => RegistryVersion;
  /** The content of a version by its number, in force or not; undefined when there is none. */
  readonly numbered: (number: number) => Registry | undefined;
  /**
   * Looks at the contents of some versions, in force or not, one after the other. What is in force at no time is not kept in memory:
   * there may be many.
   */
  readonly visit: (isWanted: (version: RegistryVersion) => boolean, look: (registry: Registry) => void) => void;
  /** The same with the files as they are: an index of each costs ten times as much. */
  readonly visitFiles: (isWanted: (version: RegistryVersion) => boolean, look: (file: RegistryFile) => void) => void;
  /** The one that was applied last. It may begin later than now. */
  readonly newest: () => Registry;
  /** Every version that was applied, in that order, also those that are in force at no time any more. */
  readonly all: () => readonly RegistryVersion[];
  /** Those that are in force at some time, in the order of their dates. */
  readonly inForce: () => readonly RegistryVersion[];
  /** The moments after `fromMs` and before `toMs` at which another version comes into force, in order, UTC ms. */
  readonly changesIn: (fromMs: number, toMs: number) => number[];
};

/** The versions that are in force at some time, in the order of their dates; the first one since ever. */
function timeline<T extends RegistryVersion>(applied: readonly T[]): T[] {
  const line: T[] = [];
  for (const next of applied) {
    while (line.length > 0 && (line.at(-1) as T).fromMs >= next.fromMs) line.pop();
    line.push(next);
  }
  return line;
}

function noVersion(): JilianError {
  return new JilianError("the ledger has no version of the registry", {
    code: "REGISTRY_NONE",
    action: "read the registry",
    remedy: "start the services, or apply a file: jilian registry apply cluster.yaml",
  });
}

/**
 * Builds the registry over time. Pure; contents are parsed and indexed when they are first asked for.
 * @param stored at least one, in any order
 * @throws JilianError REGISTRY_NONE when there is none
 */
export function registryVersions(stored: readonly StoredRegistryVersion[]): RegistryVersions {
  const applied = [...stored].sort((a, b) => a.number - b.number);
  const last = applied.at(-1);
  if (!last) throw noVersion();
  const line = timeline(applied);
  const indexed = new Map<number, Registry>();

  function registryOf({ number, fileJson }: StoredRegistryVersion): Registry {
    const known = indexed.get(number);
    if (known) return known;
    const registry = indexRegistry(JSON.parse(fileJson) as RegistryFile);
    indexed.set(number, registry);
    return registry;
  }

  const shown = ({ fileJson: _, ...version }: StoredRegistryVersion): RegistryVersion => version;
  const [all, inForce] = [applied.map(shown), line.map(shown)];
  const storedAt = (timeMs: number) =>
    line.findLast(({ fromMs }) => fromMs <= timeMs) ?? (line[0] as StoredRegistryVersion);
  return {
    at: (timeMs) => registryOf(storedAt(timeMs)),
    versionAt: (timeMs) => shown(storedAt(timeMs)),
    numbered: (number) => {
      const found = applied.find((version) => version.number === number);
      return found && registryOf(found);
    },
    visit: (isWanted, look) => {
      for (const version of applied)
        if (isWanted(shown(version)))
          look(indexed.get(version.number) ?? indexRegistry(JSON.parse(version.fileJson) as RegistryFile));
    },
    visitFiles: (isWanted, look) => {
      for (const version of applied) if (isWanted(shown(version))) look(JSON.parse(version.fileJson) as RegistryFile);
    },
    newest: () => registryOf(last),
    all: () => all,
    inForce: () => inForce,
    changesIn: (fromMs, toMs) =>
      line
        .slice(1)
        .map((version) => version.fromMs)
        .filter((ms) => ms > fromMs && ms < toMs),
  };
}

/** A registry file as a version to be stored; it is in force since ever unless something else is said. */
export function versionOf(
  { version, file }: Pick<Registry, "version" | "file">,
  applied: Partial<Omit<RegistryVersion, "version" | "number">> = {},
): Omit<StoredRegistryVersion, "number"> {
  const { fromMs = sinceEverMs, appliedMs = 0, appliedBy = "", note = "" } = applied;
  return { version, fromMs, appliedMs, appliedBy, note, fileJson: JSON.stringify(file) };
}

/** One registry that is in force since ever. */
export function onlyVersion(registry: Registry): RegistryVersions {
  return registryVersions([{ number: 1, ...versionOf(registry) }]);
}

/** Where versions are kept: the ledger. */
export type RegistryLedger = {
  /** Every version that was applied, in that order. */
  readonly registryVersions: () => StoredRegistryVersion[];
  /** Number of the version that was applied last, 0 when there is none: one look-up, to be asked often. */
  readonly lastRegistryNumber: () => number;
  /** Adds a version after all others. @returns its number */
  readonly addRegistryVersion: (version: Omit<StoredRegistryVersion, "number">) => number;
};

/**
 * The registry over time as the ledger has it now. Each call looks whether a version was applied since the last one, and gives the
 * same object when none was. @throws JilianError REGISTRY_NONE while the ledger has no version
 */
export function followVersions(
  ledger: Pick<RegistryLedger, "registryVersions" | "lastRegistryNumber">,
): () => RegistryVersions {
  let seen = 0;
  let versions: RegistryVersions | undefined;
  return () => {
    const last = ledger.lastRegistryNumber();
    if (versions && last === seen) return versions;
    versions = registryVersions(ledger.registryVersions());
    seen = last;
    return versions;
  };
}

/** How long a version that was applied by another process may stay unnoticed. */
const lookEveryMs = 1000;

/**
 * The registry in force now, as one object whose fields are those of the version in force when they are read: services hold it, and take
 * up an applied version within a second, without a restart. Who needs one version over several steps takes `versions().at(nowMs)`.
 * @param looked told of each look, at most once a second; when the ledger cannot be read the last known version stays
 * @throws JilianError REGISTRY_NONE when the ledger has no version yet
 */
export function registryNow(
  versions: () => RegistryVersions,
  clock: { now: () => number },
  looked: FaultTeller,
): Registry {
  let known = versions().at(clock.now());
  let lookAtMs = performance.now() + lookEveryMs;
  const current = (): Registry => {
    if (performance.now() < lookAtMs) return known;
    lookAtMs = performance.now() + lookEveryMs;
    try {
      known = versions().at(clock.now());
      looked.well();
    } catch (thrown) {
      looked.failed(thrown);
    }
    return known;
  };
  const fields = Object.keys(known) as (keyof Registry)[];
  const getters = fields.map((field) => [field, { enumerable: true, get: () => current()[field] }] as const);
  return Object.defineProperties({}, Object.fromEntries(getters)) as Registry;
}
