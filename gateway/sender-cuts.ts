import { type InFlight, keyOf } from "./sender-flight.ts";

/** A link that ends this soon after a record was sent may have ended because of it. */
const momentsMs = 5000;
/** That happens to any record once; so many links in a row speak against those that were just sent each time. */
const linksInARow = 3;
/** Most that one end speaks against: a broker reads in order, so that the one it does not take is among the oldest. */
const maxAccused = 64;

/** What was sent moments before a link ended and is not committed, in the order of sending. */
export function justSent(flight: Iterable<InFlight>, nowMs: number): InFlight[] {
  return [...flight].filter(({ sentMs }) => nowMs - sentMs <= momentsMs);
}

/**
 * Finds records at which the other side ends the connection, as brokers do with a message beyond a limit of theirs that nobody told us:
 * such a record goes first again with each new connection, and nothing behind it would ever arrive.
 */
export function cutLog() {
  let links = new Map<string, number>();
  return {
    /** A link was lost. @returns those just sent on it, and on two or more before it in a row */
    lost: (sent: readonly InFlight[]): InFlight[] => {
      // A link on which nothing was sent says nothing.
      if (sent.length === 0) return [];
      links = new Map(sent.map((entry) => [keyOf(entry), (links.get(keyOf(entry)) ?? 0) + 1]));
      return sent.filter((entry) => (links.get(keyOf(entry)) ?? 0) >= linksInARow).slice(0, maxAccused);
    },
  };
}
