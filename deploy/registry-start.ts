import type { Clock } from "@jilian/domain/clock.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type FaultTeller, faultTeller } from "@jilian/domain/fault-teller.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { applyRegistry, planApplication } from "@jilian/store/registry-apply.ts";
import { followVersions, registryNow, sinceEverMs } from "@jilian/store/registry-versions.ts";
import type { Logger } from "pino";

type Parts = { ledger: Ledger; clock: Clock; log: Logger };

/** Tells that the configured file is not what is in force: nothing of it is taken up silently. */
function tellNotApplied(count: number, { ledger, clock, log }: Parts): void {
  const detail =
    `the configured registry differs from the one that was applied last in ${count} places, and is not in force; ` +
    "look with: jilian registry diff newest FILE, then: jilian registry apply FILE";
  log.warn({ code: "REGISTRY_NOT_APPLIED", differences: count, remedy: "jilian registry apply FILE" }, detail);
  ledger.noteFinding({ code: "REGISTRY_NOT_APPLIED", subject: "cluster.yaml", detail }, clock.now());
}

/** Tells that the registry cannot be read, which is tried each second: when that begins, seldom while it lasts, and when it is over. */
export function tellUnreadable(log: Logger, what: string): FaultTeller {
  const code = "REGISTRY_UNREADABLE";
  return faultTeller({
    tell: (thrown, heldBack) => log.warn({ code, err: messageOf(thrown), heldBack }, what),
    over: () => log.info({ code }, "the registry can be read again"),
  });
}

/**
 * The registry that the services of this process work with: the ledger's, as it is in force at each moment. An empty ledger takes the
 * configured file as its first version, in force since ever; later, a file that differs is told and not taken.
 * @throws JilianError CLOCK_NOT_REAL when the clock runs faster and the pilot in force is not marked demo
 */
export function openRegistry(configured: Registry, parts: Parts): Registry {
  const { ledger, clock, log } = parts;
  ledger.transaction(() => {
    const plan = planApplication(ledger, configured, sinceEverMs, clock.now());
    if (plan.base === 0) {
      const first = { by: "jilian run", origin: "start", note: "first start" };
      applyRegistry(ledger, configured, plan, { ...first, fromMs: sinceEverMs, nowMs: clock.now() });
      log.info({ registry: configured.version }, "the configured registry is the first version");
    } else if (plan.differences.length > 0) tellNotApplied(plan.differences.length, parts);
  });
  const looked = tellUnreadable(log, "the registry's versions cannot be read; the last known one stays");
  const registry = registryNow(followVersions(ledger), clock, looked);
  if (clock.rate !== 1 && !registry.demo)
    throw new JilianError("JILIAN_CLOCK is set, but the pilot in force is not marked demo", {
      code: "CLOCK_NOT_REAL",
      action: "start the services",
      remedy: "unset JILIAN_CLOCK: a pilot's figures are made on real time only",
    });
  return registry;
}
