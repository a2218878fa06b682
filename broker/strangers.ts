import { networkOf } from "@jilian/domain/network.ts";

/** A client that is there takes less to finish; one that says nothing for longer may give way to the next. */
const patienceMs = 2000;

/**
 * Room for what is under way of many networks: handshakes, connections that have not said yet who they are. When it is full, the network
 * that has most of it gives way to others, its oldest first; so nobody who opens connections and says nothing shuts out anybody else.
 * Within one network only what is older than 2 s gives way: a thousand gateways that come back at once must not push out each other.
 */
export function roomFor<T>(give: (thing: T) => void, nowMs: () => number = () => performance.now()) {
  const inside = new Map<T, { network: string; sinceMs: number }>();
  const counts = new Map<string, number>();

  function leave(thing: T): void {
    const entry = inside.get(thing);
    if (!entry) return;
    inside.delete(thing);
    const left = (counts.get(entry.network) ?? 1) - 1;
    if (left > 0) counts.set(entry.network, left);
    else counts.delete(entry.network);
  }
  /** @param isWithin of this network alone, in place of the one that has most */
  function victim(network: string, isWithin: boolean): T | undefined {
    let largest = network;
    if (!isWithin) for (const [name, count] of counts) if (count > (counts.get(largest) ?? 0)) largest = name;
    const isUnfair = (counts.get(largest) ?? 0) > (counts.get(network) ?? 0) + 1;
    for (const [thing, entry] of inside) {
      if (entry.network !== largest) continue;
      return isUnfair || nowMs() - entry.sinceMs > patienceMs ? thing : undefined;
    }
    return undefined;
  }
  return {
    enter: (thing: T, address: string): void => {
      const network = networkOf(address);
      inside.set(thing, { network, sinceMs: nowMs() });
      counts.set(network, (counts.get(network) ?? 0) + 1);
    },
    leave,
    size: (): number => inside.size,
    /** Ends one thing in favour of a newcomer. @returns false when the newcomer has to go */
    makeRoom: (address: string, isWithin = false): boolean => {
      const network = networkOf(address);
      const found = victim(network, isWithin);
      if (found === undefined) return false;
      leave(found);
      give(found);
      return true;
    },
    all: (): Iterable<T> => inside.keys(),
  };
}
