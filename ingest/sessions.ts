import { isSupported } from "@jilian/domain/datatypes.ts";
import { definitionFromBirth, type MetricDefinition, type SeriesKey } from "@jilian/domain/sample.ts";
import type { InMetric, InPayload } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, rebirthMetric } from "@jilian/domain/topics.ts";

/** A metric as its birth certificate declared it. Data messages name it by alias alone. */
export type BornMetric = {
  readonly key: SeriesKey;
  readonly definition: MetricDefinition;
  /** Number of its series in the store; looked up when the first sample is written. */
  seriesId: number | undefined;
};

/** What a host application must remember of an edge node (Sparkplug 3.0, 6.4.20 and check list 12 of the facts). */
export type NodeSession = {
  readonly group: string;
  readonly node: string;
  alive: boolean;
  bdSeq: number | undefined;
  /** seq of the last message in order. */
  seq: number;
  /** seq numbers that are overdue: they may still come, reordered. */
  readonly missing: Set<number>;
  /** True when the node keeps an outbox and understands commit notices. */
  outbox: boolean;
  readonly aliases: Map<number, BornMetric>;
  /** Metrics by device and name; "" holds the node's own. A device that died keeps them, but is not born. */
  readonly names: Map<string, Map<string, BornMetric>>;
  readonly born: Set<string>;
};

export function newSession(group: string, node: string): NodeSession {
  return {
    group,
    node,
    alive: false,
    bdSeq: undefined,
    seq: 0,
    missing: new Set(),
    outbox: false,
    aliases: new Map(),
    names: new Map(),
    born: new Set(),
  };
}

/** Metrics of the protocol itself: never a series. */
export function isProtocolMetric(name: string): boolean {
  return name === bdSeqMetric || name === commitMetric || name === rebirthMetric || name.startsWith("Node Control/");
}

/** The bdSeq of an NBIRTH or NDEATH. */
export function bdSeqOf(payload: InPayload): number | undefined {
  const wire = payload.metrics.find((m) => m.name === bdSeqMetric)?.wire;
  return wire?.case === "longValue" || wire?.case === "intValue" ? Number(wire.value) : undefined;
}

/** Starts a session anew: NBIRTH makes everything that was known of the node void. */
export function beginSession(session: NodeSession, payload: InPayload): void {
  session.alive = true;
  session.bdSeq = bdSeqOf(payload);
  session.seq = payload.seq ?? 0;
  session.missing.clear();
  session.aliases.clear();
  session.born.clear();
  session.outbox = payload.metrics.some((m) => m.name === commitMetric);
  declare(session, "", payload.metrics);
}

/**
 * Takes the metrics of a birth into the session. A metric that was known with the same definition keeps its series number.
 * @returns names that cannot be carried (arrays, templates, no datatype): the rest of the birth holds
 */
export function declare(session: NodeSession, device: string, metrics: readonly InMetric[]): string[] {
  const before = session.names.get(device);
  const now = new Map<string, BornMetric>();
  const refused: string[] = [];
  for (const metric of metrics) {
    const { name, datatype, alias } = metric;
    if (name === undefined || isProtocolMetric(name)) continue;
    if (datatype === undefined || !isSupported(datatype)) {
      refused.push(name);
      continue;
    }
    const definition = definitionFromBirth(name, datatype, metric.properties);
    const known = before?.get(name);
    const same = known !== undefined && JSON.stringify(known.definition) === JSON.stringify(definition);
    const born: BornMetric = same
      ? known
      : { key: { group: session.group, node: session.node, device, metric: name }, definition, seriesId: undefined };
    now.set(name, born);
    if (alias !== undefined) session.aliases.set(alias, born);
  }
  session.names.set(device, now);
  return refused;
}

/** The metric that a data message means: by alias, else by name. */
export function find(session: NodeSession, device: string, metric: InMetric): BornMetric | undefined {
  const born =
    metric.alias === undefined ? session.names.get(device)?.get(metric.name ?? "") : session.aliases.get(metric.alias);
  return born?.key.device === device ? born : undefined;
}

/**
 * Follows the sequence of a node's messages (Sparkplug 3.0, 6.4.21): +1 each, 255 -> 0.
 * @returns true when a number is newly missing, so that a timer has to watch whether it still comes
 */
export function followSeq(session: NodeSession, seq: number): boolean {
  if (session.missing.delete(seq)) return false;
  const expected = (session.seq + 1) % 256;
  session.seq = seq;
  if (seq === expected) return false;
  for (let n = expected, guard = 0; n !== seq && guard < 255; n = (n + 1) % 256, guard += 1) session.missing.add(n);
  return true;
}
