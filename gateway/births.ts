import { DataType, type DataTypeNumber, toWire, type Value } from "@jilian/domain/datatypes.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import { definitionProperties, earlierProperties, nodeMetrics, sinceProperties } from "@jilian/domain/sample.ts";
import { type OutMetric, type OutPayload, type Properties, property } from "@jilian/domain/sparkplug/payload.ts";
import { bdSeqMetric, commitMetric, rebirthMetric } from "@jilian/domain/topics.ts";
import type { ClockOffset } from "./clock-offset.ts";
import type { Connection, KnownMetric, OutboxIdentity, OutboxStats, PreviousEpoch, StoredSample } from "./model.ts";

/** Sparkplug's Quality of a metric that has no current value (Sparkplug 3.0, 6.4.22). */
const staleQuality = 500;

/** Name and version as told in NBIRTH. */
export const software = "jilian-gateway 0.1.0";

/**
 * Properties that tell how far a value can be trusted: none when it is good; `StatusCode` with the reason otherwise, and Sparkplug's own
 * `Quality` when it is not usable.
 */
export function statusProperties(status: number): Properties {
  if (status === Status.Good) return {};
  const statusCode = { StatusCode: property.uint32(status >>> 0) };
  return qualityOf(status) === "bad" ? { ...statusCode, Quality: property.int32(0) } : statusCode;
}

/** Whether a datatype holds a value exactly: one that was a double before the metric became a float must not be rounded on its way. */
export function fits(datatype: DataTypeNumber, value: Value): boolean {
  if (value === null) return true;
  if (datatype === DataType.Double) return typeof value === "number";
  if (datatype === DataType.Float) return typeof value === "number" && Math.fround(value) === value;
  try {
    toWire(datatype, value);
    return true;
  } catch {
    return false;
  }
}

/**
 * A metric in its device's birth: everything that is known of it and the last value that the gateway has. Without one it is null with
 * quality STALE, a metric that exists and has not been read; so is a value left over from before its datatype was changed.
 */
export function birthMetric(
  { id, definition, sinceMs, earlier }: KnownMetric,
  last: StoredSample | undefined,
  nowMs: number,
): OutMetric {
  const { name, datatype } = definition;
  const declared = { name, alias: id, datatype, declare: true };
  const properties = {
    ...definitionProperties(definition),
    ...sinceProperties(sinceMs),
    ...earlierProperties(earlier),
  };
  if (last === undefined || !fits(datatype, last.value)) {
    const stale = { ...statusProperties(Status.BadWaitingForInitialData), Quality: property.int32(staleQuality) };
    return { ...declared, timestampMs: nowMs, value: null, properties: { ...properties, ...stale } };
  }
  const { value, status, sourceTimeMs } = last;
  return { ...declared, timestampMs: sourceTimeMs, value, properties: { ...properties, ...statusProperties(status) } };
}

/** What the node tells about itself: which box this is, state of the outbox and of every configured device. */
export type NodeView = {
  identity: OutboxIdentity;
  epoch: string;
  /** Told in NBIRTH alone. */
  previous?: PreviousEpoch | undefined;
  outbox: OutboxStats;
  isWritable: boolean;
  setBacks: number;
  clockOffset?: ClockOffset | undefined;
  devices: ReadonlyMap<string, Connection>;
  nowMs: number;
};

/**
 * The node's own metrics (domain/sample.ts), by name: there are few, and they need no alias.
 * @param longestReason why a device cannot be read is cut to so many characters
 */
export function nodeStateMetrics(view: NodeView, longestReason = Number.POSITIVE_INFINITY): OutMetric[] {
  const { identity, epoch, outbox, isWritable, setBacks, clockOffset, devices, nowMs } = view;
  const count = (name: string, value: number | undefined): OutMetric => ({
    name,
    timestampMs: nowMs,
    datatype: DataType.Int64,
    value: value === undefined ? null : BigInt(value),
  });
  const text = (name: string, value: string): OutMetric => {
    return { name, timestampMs: nowMs, datatype: DataType.String, value };
  };
  const oldestMs = outbox.oldestWrittenAtMs ?? nowMs;
  const metrics: OutMetric[] = [
    // The epoch changes when a process finds itself set back, box and starts when a damaged file was replaced.
    text(nodeMetrics.box, identity.box),
    count(nodeMetrics.starts, identity.starts),
    text(nodeMetrics.epoch, epoch),
    count(nodeMetrics.pendingRecords, outbox.pendingRecords),
    // In whole seconds: an age that is told with every tick would be a change with every tick.
    count(nodeMetrics.oldestPendingMs, Math.max(0, Math.floor((nowMs - oldestMs) / 1000) * 1000)),
    count(nodeMetrics.droppedSamples, outbox.droppedSamples),
    count(nodeMetrics.setAsideRecords, outbox.setAsideRecords),
    { name: nodeMetrics.writable, timestampMs: nowMs, datatype: DataType.Boolean, value: isWritable },
    count(nodeMetrics.setBacks, setBacks),
    count(nodeMetrics.clockOffsetMs, clockOffset?.offsetMs),
    count(nodeMetrics.clockUncertaintyMs, clockOffset?.uncertaintyMs),
  ];
  for (const [device, { connected, status, reason }] of devices) {
    const at = { timestampMs: nowMs };
    const why = connected ? {} : { properties: { StatusCode: property.uint32(status >>> 0) } };
    const name = nodeMetrics.deviceConnected(device);
    metrics.push({ ...at, ...why, name, datatype: DataType.Boolean, value: connected });
    metrics.push(text(nodeMetrics.deviceReason(device), reason.slice(0, longestReason)));
  }
  return metrics;
}

function bdSeqOf(bdSeq: number, nowMs: number): OutMetric {
  return { name: bdSeqMetric, timestampMs: nowMs, datatype: DataType.Int64, declare: true, value: BigInt(bdSeq) };
}

/** What the outbox knew of an earlier epoch when it was opened. */
function previousMetrics({ previous, nowMs }: NodeView): OutMetric[] {
  if (!previous) return [];
  const at = { timestampMs: nowMs, declare: true };
  const { epoch, offset, writtenAtMs } = previous;
  return [
    { ...at, name: nodeMetrics.previousEpoch, datatype: DataType.String, value: epoch },
    { ...at, name: nodeMetrics.previousOffset, datatype: DataType.Int64, value: BigInt(offset) },
    { ...at, name: nodeMetrics.previousWrittenMs, datatype: DataType.Int64, value: BigInt(writtenAtMs) },
  ];
}

/** The metrics of NBIRTH (Sparkplug 3.0, 6.4.4). */
export function nodeBirthMetrics(bdSeq: number, view: NodeView, longestReason?: number): OutMetric[] {
  const at = { timestampMs: view.nowMs, declare: true };
  return [
    bdSeqOf(bdSeq, view.nowMs),
    { ...at, name: rebirthMetric, datatype: DataType.Boolean, value: false },
    { ...at, name: commitMetric, datatype: DataType.String, value: "" },
    { ...at, name: nodeMetrics.software, datatype: DataType.String, value: software },
    ...nodeStateMetrics(view, longestReason).map((metric) => ({ ...metric, declare: true })),
    ...previousMetrics(view),
  ];
}

/** NDEATH, as the will and before an intended disconnect: bdSeq alone and no seq (Sparkplug 3.0, 6.4.5). */
export function deathPayload(bdSeq: number, nowMs: number): OutPayload {
  return { timestampMs: nowMs, metrics: [bdSeqOf(bdSeq, nowMs)] };
}
