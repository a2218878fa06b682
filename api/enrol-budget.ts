import { networkOf } from "@jilian/domain/network.ts";

const atOnce = 10;
const everyMs = 6000;
const mostAddresses = 10_000;

/**
 * Bounds refused enrolments of one address (IPv6: of a /64, within which anyone may choose): ten at once, then ten a minute. What they cost is small; what they may write, log and audit
 * is bounded with it.
 */
export function refusalBudget(nowMs: () => number = () => performance.now()) {
  /** By address when all of it will have come back. */
  const backMs = new Map<string, number>();
  const of = (network: string) => Math.max(backMs.get(network) ?? 0, nowMs());
  return {
    isLeft: (address: string): boolean => of(networkOf(address)) + everyMs - nowMs() <= atOnce * everyMs,
    spend: (address: string): void => {
      const network = networkOf(address);
      const until = of(network) + everyMs;
      // Deleting first moves the address to the end: the one that spent longest ago is forgotten first.
      backMs.delete(network);
      if (backMs.size >= mostAddresses) backMs.delete(backMs.keys().next().value as string);
      backMs.set(network, until);
    },
  };
}
