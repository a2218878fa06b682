import { isSupported } from "@jilian/domain/datatypes.ts";
import { dayMs, hourMs } from "@jilian/domain/periods.ts";
import {
  definitionFromBirth,
  type EarlierDefinition,
  earlierFromBirth,
  type MetricDefinition,
  type SeriesKey,
  sinceFromBirth,
} from "@jilian/domain/sample.ts";
import type { InMetric, InPayload } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, nodeControl } from "@jilian/domain/topics.ts";

/** A metric as its birth certificate declared it. Data messages name it by alias alone. */
export type BornMetric = {
  readonly key: SeriesKey;
  readonly definition: MetricDefinition;
  /** Since when it is so, UTC ms: the time of the first birth that said so. */
  readonly sinceMs: number;
  /** From when on what births said before is doubted, at most that time. */
  readonly doubtMs: number;
  /** When its birth was, UTC ms, where `sinceMs` is not that time but told by its gateway. */
  readonly bornMs?: number;
  /** What it was before `sinceMs`, as its gateway tells, earliest first: it may still have readings of then. */
  readonly earlier?: readonly EarlierDefinition[];
  /** Number of its series in the store; looked up when the first sample is written. */
  seriesId: number | undefined;
  /** The store refused its last sample: while that is so, its samples are tried apart from the rest of their records. */
  wasRefused?: boolean;
};

/** A longer heartbeat is taken as this: it bounds how far one sample keeps its device online. */
const longestHeartbeatMs = dayMs;
/** The time of a birth is not believed where it is further than this from ingest's. */
const believedMs = hourMs;
/** Nor the time that it tells of before it: no outbox keeps readings for longer, and a clock may have begun in 1970. */
const longestToldMs = 366 * dayMs;

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
  /** What the births declared, by device; "" holds the node's own. A device that died keeps it, but is not born. */
  readonly declared: Map<string, Declared>;
  readonly born: Set<string>;
};

/** What a name or alias stands for: a series, a metric of the protocol itself, or one whose values cannot be kept. */
export type Meaning = BornMetric | "protocol" | "uncarried";

/** The metrics of one birth, its time, and what of it is not carried, in words. */
type Declared = {
  names: Map<string, Meaning>;
  aliases: Map<number | bigint, Meaning>;
  bornMs: number;
  uncarried: string;
};

/** A longer name would be no name, and every reading's question to the store carries it. */
const longestName = 1000;
/** Of what is not carried, so much is told. */
const mostTold = 20;

export function newSession(group: string, node: string): NodeSession {
  return {
    group,
    node,
    alive: false,
    bdSeq: undefined,
    seq: 0,
    missing: new Set(),
    outbox: false,
    declared: new Map(),
    born: new Set(),
  };
}

/** Metrics of the protocol itself: never a series. They are a node's own; of a device such a name is one like any other. */
function isProtocolMetric(device: string, name: string): boolean {
  if (device !== "") return false;
  return name === bdSeqMetric || name === commitMetric || name.startsWith(nodeControl);
}

/** The bdSeq of an NBIRTH or NDEATH. */
export function bdSeqOf(payload: InPayload): number | undefined {
  const wire = payload.metrics.find((m) => m.name === bdSeqMetric)?.wire;
  return wire?.case === "longValue" || wire?.case === "intValue" ? Number(wire.value) : undefined;
}

/**
 * Starts a session anew: NBIRTH makes everything that was known of the node void.
 * @returns names that cannot be carried
 */
export function beginSession(session: NodeSession, payload: InPayload, nowMs: number): string[] {
  session.alive = true;
  session.bdSeq = bdSeqOf(payload);
  session.seq = payload.seq ?? 0;
  session.missing.clear();
  session.born.clear();
  session.outbox = payload.metrics.some((m) => m.name === commitMetric);
  return declare(session, "", payload, nowMs);
}

/**
 * When a birth was made, UTC ms. Births of a node come in order: where the time of one is absent, wrong by far, or before that of the last
 * one, its clock was set or has none, and ingest's counts.
 */
function bornAt({ timestampMs = Number.NaN }: InPayload, before: Declared | undefined, nowMs: number): number {
  const earliestMs = before?.bornMs ?? Number.NEGATIVE_INFINITY;
  const isBelieved = Math.abs(timestampMs - nowMs) <= believedMs && timestampMs >= earliestMs;
  return isBelieved ? timestampMs : Math.max(nowMs, earliestMs);
}

/**
 * From when on it is not certain that a metric was still what births said before. The value in the birth of a gateway with an outbox may
 * have been read before the gateway was started anew, or after it: what lies between it and the birth belongs to neither.
 */
function doubtedSince({ outbox }: NodeSession, { timestampMs, isNull }: InMetric, bornMs: number): number {
  const isKnown = outbox && !isNull && timestampMs !== undefined && timestampMs > bornMs - believedMs;
  return isKnown ? Math.min(timestampMs, bornMs) : bornMs;
}

/**
 * Since when a metric is what its birth says, where its gateway knows: it wrote that down when its configuration was changed, of which the
 * platform may hear days later. A time far from the birth is of a clock that was set, and not believed.
 */
function toldSince({ outbox }: NodeSession, { name, properties }: InMetric & { name: string }, bornMs: number) {
  const sinceMs = outbox ? sinceFromBirth(properties) : undefined;
  if (sinceMs === undefined || sinceMs > bornMs + believedMs || sinceMs < bornMs - longestToldMs) return undefined;
  const earlier = toldEarlier(earlierFromBirth(name, properties), sinceMs, bornMs);
  return { sinceMs, doubtMs: sinceMs, bornMs, ...(earlier.length > 0 && { earlier }) };
}

/** What it was before that. A time that is not believed is none, so that of those before it nothing is left. */
function toldEarlier(told: readonly EarlierDefinition[], untilMs: number, bornMs: number): EarlierDefinition[] {
  const before = told.filter(({ sinceMs }) => sinceMs < untilMs);
  const first = before.findLastIndex(({ sinceMs }) => sinceMs < bornMs - longestToldMs);
  return before.slice(Math.max(first, 0)).map(({ sinceMs, definition }, i) => {
    return { sinceMs: i === 0 && first >= 0 ? 0 : sinceMs, definition: withBoundedHeartbeat(definition) };
  });
}

/** What a birth says of one metric. */
function meaningOf(
  session: NodeSession,
  device: string,
  metric: InMetric & { name: string },
  before: Declared | undefined,
  bornMs: number,
): Meaning {
  const { name, datatype, properties } = metric;
  if (isProtocolMetric(device, name)) return "protocol";
  if (datatype === undefined || !isSupported(datatype) || name.length > longestName) return "uncarried";
  const key = { group: session.group, node: session.node, device, metric: name };
  const told = toldSince(session, metric, bornMs);
  const times = told ?? { sinceMs: bornMs, doubtMs: doubtedSince(session, metric, bornMs) };
  return bornMetric(key, definitionFromBirth(name, datatype, properties), times, before?.names.get(name));
}

/**
 * Takes the metrics of a birth into the session. A metric that was known with the same definition keeps its series number;
 * what the device was born with before is void, its aliases too.
 * @returns what cannot be carried, unless the birth before said the same: metrics of a type without a series (templates), without
 *   a name, with one too long, and aliases that stand for two; the rest of the birth holds
 */
export function declare(session: NodeSession, device: string, payload: InPayload, nowMs: number): string[] {
  const before = session.declared.get(device);
  const bornMs = bornAt(payload, before, nowMs);
  const now: Declared = { names: new Map(), aliases: new Map(), bornMs, uncarried: "" };
  const refused: string[] = [];
  for (const metric of payload.metrics) {
    const { name, alias } = metric;
    const born = name ? meaningOf(session, device, { ...metric, name }, before, bornMs) : "uncarried";
    if (born === "uncarried") refused.push(name ? name.slice(0, 100) : "(no name)");
    if (name) now.names.set(name, born);
    if (alias === undefined) continue;
    // Who writes 0 for every alias names its metrics in data too: then the names count.
    const isTaken = now.aliases.has(alias);
    if (isTaken) refused.push(`alias ${alias}, given twice`);
    now.aliases.set(alias, isTaken ? "uncarried" : born);
  }
  now.uncarried = [...refused.slice(0, mostTold), refused.length].join("\n");
  session.declared.set(device, now);
  return now.uncarried === before?.uncarried ? [] : refused.slice(0, mostTold);
}

function bornMetric(
  key: SeriesKey,
  found: MetricDefinition,
  times: Pick<BornMetric, "sinceMs" | "doubtMs" | "bornMs" | "earlier">,
  known: Meaning | undefined,
): BornMetric {
  const definition = withBoundedHeartbeat(found);
  const same = typeof known === "object" && JSON.stringify(known.definition) === JSON.stringify(definition);
  // What was changed and changed back is the same now, and was not in between.
  const { earlier } = times;
  const tellsMore = same && earlier !== undefined && JSON.stringify(known.earlier) !== JSON.stringify(earlier);
  return same && !tellsMore ? known : { key, definition, ...times, seriesId: undefined };
}

function withBoundedHeartbeat(definition: MetricDefinition): MetricDefinition {
  const { heartbeatMs } = definition;
  if (heartbeatMs === undefined) return definition;
  return { ...definition, heartbeatMs: Math.min(heartbeatMs, longestHeartbeatMs) };
}

/** The metrics that a device was born with. */
export function metricsOf(session: NodeSession, device: string): BornMetric[] {
  return [...(session.declared.get(device)?.names.values() ?? [])].filter((born) => typeof born === "object");
}

/**
 * What a metric of a data message means, by its name where it says one, else by its alias (Sparkplug 3.0, 6.4.6: data has the alias alone, but
 * nodes that take none seriously write both); undefined when it was not declared.
 */
export function find(session: NodeSession, device: string, { name, alias }: InMetric): Meaning | undefined {
  const declared = session.declared.get(device);
  if (name) return isProtocolMetric(device, name) ? "protocol" : declared?.names.get(name);
  return alias === undefined ? "uncarried" : declared?.aliases.get(alias);
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
