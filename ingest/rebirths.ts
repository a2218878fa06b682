import { getOrMake } from "@jilian/domain/get-or-make.ts";
import type { InMetric } from "@jilian/domain/sparkplug/payload.ts";
import { find, type NodeSession } from "./sessions.ts";

/** What makes births wanted: data before a birth (of the node where the device is absent), a metric that no birth declared, missing messages. */
export type Trouble = { device?: string | undefined; metric?: InMetric; seq?: true };

/** Asks nodes for their births. */
export type Rebirths = {
  /** @param isOurs of a node with an outbox: it sends until it is answered, and is asked as often as the interval allows */
  readonly ask: (session: NodeSession, trouble: Trouble, why: string, isOurs: boolean) => void;
  /** A birth came, of the node where the device is "": what it has cured is new when it comes again. */
  readonly born: (session: NodeSession, device: string) => void;
};

type Asked = { trouble: Trouble; atMs: number; waitMs: number };
type Node = { atMs: number; troubles: Map<string, Asked> };

/**
 * A node of other make may count its seq wrongly, never give birth to a device, or know no rebirth at all: then another request helps as
 * little as the last one did, and costs all of its births. But messages get lost, too: so it is asked again, after twice the time each.
 */
const longestMs = 3_600_000;
/** Before its first birth nothing of it can be kept: it is asked more often. */
const longestUnbornMs = 60_000;
/** A trouble that did not show for this many times its wait is a new one. */
const forgotten = 4;
/** Troubles of one node that are told apart; what comes beyond them waits like one. */
const maxTroubles = 100;

function keyOf({ device, metric, seq }: Trouble): string {
  return seq ? "seq" : JSON.stringify([device, metric?.name || metric?.alias?.toString()]);
}

/** Whether a birth of the device has cured it: missing numbers are cured by none that still counts wrongly. */
function isCured(session: NodeSession, born: string, { device = "", metric, seq }: Trouble): boolean {
  if (seq || device !== born) return false;
  return metric === undefined || find(session, device, metric) !== undefined;
}

/**
 * @param intervalMs least time between two requests to a node
 * @param request told of each request
 */
export function rebirthAsker(intervalMs: number, request: (session: NodeSession, why: string) => void): Rebirths {
  const nodes = new Map<string, Node>();
  const nodeOf = ({ group, node }: NodeSession): Node =>
    getOrMake(nodes, `${group}/${node}`, () => ({ atMs: Number.NEGATIVE_INFINITY, troubles: new Map() }));

  function isDue({ troubles }: Node, trouble: Trouble, longest: number, now: number): boolean {
    const own = keyOf(trouble);
    const key = troubles.has(own) || troubles.size < maxTroubles ? own : "";
    const before = troubles.get(key);
    if (before && now - before.atMs < before.waitMs) return false;
    const isAgain = before !== undefined && now - before.atMs < forgotten * before.waitMs;
    const waitMs = isAgain ? Math.min(2 * before.waitMs, longest) : intervalMs;
    troubles.set(key, { trouble, atMs: now, waitMs });
    return true;
  }

  return {
    ask: (session, trouble, why, isOurs) => {
      const now = performance.now();
      const node = nodeOf(session);
      if (now - node.atMs < intervalMs) return;
      if (!isOurs && !isDue(node, trouble, session.alive ? longestMs : longestUnbornMs, now)) return;
      node.atMs = now;
      request(session, why);
    },
    born: (session, device) => {
      const { troubles } = nodeOf(session);
      for (const [key, { trouble }] of troubles) if (isCured(session, device, trouble)) troubles.delete(key);
    },
  };
}
