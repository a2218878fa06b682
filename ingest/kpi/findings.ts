import { findingChecks } from "@jilian/domain/findings/catalogue.ts";
import type { SiteSums } from "@jilian/domain/period-sums.ts";
import type { Ledger } from "@jilian/store/ledger.ts";

/**
 * Makes the checks of a period that has become final, of its factories, and notes what they find.
 * @param sites the sums of every site of the period; a check is of one factory
 */
export function noteFindings(ledger: Pick<Ledger, "noteFinding">, sites: readonly SiteSums[], nowMs: number): void {
  for (const site of sites) {
    if (site.level !== "factory") continue;
    for (const { code, periods, check } of findingChecks)
      if (periods.includes(site.period)) for (const found of check(site)) ledger.noteFinding({ code, ...found }, nowMs);
  }
}
