import type { FactorySums, SiteSums } from "../period-sums.ts";
import type { NullReason } from "../result.ts";
import type { ToldPart } from "./parts.ts";

/** What a factory made, and the products that it is of. */
export type Output = ToldPart & { readonly products: ReadonlySet<string | undefined> };

/**
 * Good pieces of a site's output machines by product, integers at 6 places. A counter without a product counts pieces of its factory, under
 * `factory:id`. Empty where nothing is told.
 */
export function outputByProduct({ factories }: SiteSums): Map<string, bigint> {
  const found = new Map<string, bigint>();
  for (const { id, devices } of factories)
    for (const { output, machine } of devices)
      for (const { role, product = `factory:${id}`, whole } of (output && machine?.counters) || [])
        if (role === "production.good" && whole.told) found.set(product, (found.get(product) ?? 0n) + whole.amount);
  return found;
}

/**
 * What the output machines of a factory made, pieces as an integer at 6 places, or why it is not known.
 * @param role `production.total` with scrap, `production.good` without
 */
export function outputOf(
  { devices }: FactorySums,
  { elapsedMs }: SiteSums,
  role: "production.total" | "production.good",
): Output | NullReason {
  const machines = devices.flatMap((device) => (device.output && device.machine ? [device.machine] : []));
  if (machines.length === 0) return "no_output";
  const counters = machines.map(({ counters: own, lostMs }) => {
    const mostMs = Math.max(0, elapsedMs - lostMs);
    return own.filter((counter) => counter.role === role).map((counter) => ({ ...counter, mostMs }));
  });
  if (counters.some((own) => own.length === 0)) return "no_register";
  const all = counters.flat();
  const told = all.filter(({ whole }) => whole.told);
  if (told.length === 0) return "no_data";
  return {
    reason: null,
    amount: told.reduce((sum, { whole }) => sum + whole.amount, 0n),
    estimated: told.reduce((sum, { whole }) => sum + whole.estimated, 0n),
    coveredMs: told.reduce((ms, { whole, mostMs }) => ms + Math.min(whole.coveredMs, mostMs), 0),
    dueMs: elapsedMs * all.length,
    lowerBound: told.length < all.length || told.some(({ whole }) => whole.partial),
    products: new Set(told.filter(({ whole }) => whole.amount > 0n).map(({ product }) => product)),
  };
}
