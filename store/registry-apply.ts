import { dateNumber } from "@jilian/domain/calendar.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { dateStart, dayMs } from "@jilian/domain/periods.ts";
import type { Ledger } from "./ledger.ts";
import type { Registry } from "./registry.ts";
import { type Difference, registryDifferences } from "./registry-difference.ts";
import { type RegistryVersion, registryVersions, sinceEverMs, versionOf } from "./registry-versions.ts";

/** What applying a registry would do. */
export type Application = {
  /** To the version that was applied last; all of it is new to an empty ledger, and then this is empty. */
  readonly differences: readonly Difference[];
  /** Number of the version that was applied last; 0 when there is none. */
  readonly base: number;
  /** The versions in force since `fromMs` or planned for later: it takes their place. */
  readonly replaced: readonly RegistryVersion[];
  /** Days of figures that are computed again: from `fromMs` to now, begun days whole. */
  readonly days: number;
  /** False when the ledger says the same already from that moment on. */
  readonly changesAnything: boolean;
};

/** What applying a registry from a moment on would do. @param fromMs, nowMs UTC ms */
export function planApplication(
  ledger: Pick<Ledger, "registryVersions">,
  { file }: Pick<Registry, "file">,
  fromMs: number,
  nowMs: number,
): Application {
  const stored = ledger.registryVersions();
  const days = Math.max(0, Math.ceil((nowMs - fromMs) / dayMs));
  if (stored.length === 0) return { differences: [], base: 0, replaced: [], days: 0, changesAnything: true };
  const versions = registryVersions(stored);
  const all = versions.all();
  const newest = all.at(-1) as RegistryVersion;
  const differences = registryDifferences(versions.newest().file, file);
  const changesAnything = differences.length > 0 || newest.fromMs > fromMs;
  const replaced = changesAnything ? versions.inForce().filter((version) => version.fromMs >= fromMs) : [];
  return { differences, base: newest.number, replaced, days: changesAnything ? days : 0, changesAnything };
}

/**
 * The moment that a version shall be in force from: `now`, `ever`, a date (midnight in Asia/Shanghai), or a date and time with zone.
 * @returns UTC ms; undefined for any other text
 */
export function readMoment(text: string, nowMs: number): number | undefined {
  if (text === "now") return nowMs;
  if (text === "ever") return sinceEverMs;
  const date = text.slice(0, 10);
  if (dateNumber(date) === undefined) return undefined;
  if (text === date) return dateStart(date);
  if (!/^T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})$/.test(text.slice(10))) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) || ms < sinceEverMs ? undefined : ms;
}

/** Who applies a registry, from where, and why. */
export type Applicant = { readonly by: string; readonly origin: string; readonly note: string };

function moved(base: number, found: number): JilianError {
  return new JilianError(`version ${found} of the registry was applied meanwhile; this was made on version ${base}`, {
    code: "REGISTRY_MOVED",
    action: "apply a registry",
    remedy: "look at the difference again and apply again",
  });
}

/** Differences that an audit entry holds; all of them can be told from the two versions. */
const maxAudited = 1000;

/**
 * Applies a checked registry from a moment on: a new version and its entry in the audit table, in one transaction. Services take it up
 * by themselves.
 * @param plan of the same registry and moment
 * @returns the version's number
 * @throws JilianError REGISTRY_MOVED when another version was applied since the plan was made
 */
export function applyRegistry(
  ledger: Pick<Ledger, "transaction" | "lastRegistryNumber" | "addRegistryVersion" | "addAudit">,
  registry: Registry,
  { base, differences }: Pick<Application, "base" | "differences">,
  { fromMs, nowMs, by, origin, note }: Applicant & { fromMs: number; nowMs: number },
): number {
  return ledger.transaction(() => {
    const last = ledger.lastRegistryNumber();
    if (last !== base) throw moved(base, last);
    const number = ledger.addRegistryVersion(versionOf(registry, { fromMs, appliedMs: nowMs, appliedBy: by, note }));
    const what = { number, version: registry.version, fromMs, note, differences: differences.slice(0, maxAudited) };
    const detail = JSON.stringify({ ...what, differenceCount: differences.length });
    ledger.addAudit({ atMs: nowMs, actor: by, origin, action: "registry.apply", subject: registry.version, detail });
    return number;
  });
}
