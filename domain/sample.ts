import { type DataTypeNumber, isSupported, type Value } from "./datatypes.ts";
import { numberProperty, type Properties, type Property, property, textProperty } from "./sparkplug/payload.ts";

/** Where a series lives: Sparkplug group (factory), edge node (gateway), device, metric. `device` is "" for a metric of the node. */
export type SeriesKey = {
  readonly group: string;
  readonly node: string;
  readonly device: string;
  readonly metric: string;
};

/** One reading. (series, sourceTimeMs) is its identity: equal key means equal content (CONTRACTS 3). */
export type Sample = {
  value: Value;
  /** OPC UA StatusCode; see quality.ts. */
  status: number;
  /** When the value was true at its source, UTC ms; strictly increasing per series. */
  sourceTimeMs: number;
  /** When the gateway had it, UTC ms. */
  gatewayTimeMs: number;
};

/** What a birth certificate says of a metric; all of it travels as properties of the metric (CONTRACTS 1). */
export type MetricDefinition = {
  name: string;
  datatype: DataTypeNumber;
  /** A role of roles.ts, or a foreign one that is kept but not understood. */
  role?: string;
  carrier?: string;
  product?: string;
  /** Engineering unit of the published value. */
  unit?: string;
  /** Change below which a value is not reported, in the unit; 0 reports every change. */
  deadband?: number;
  /** A value is reported at least this often, changed or not. */
  heartbeatMs?: number;
  /** Value at which a counter starts again from 0, in the unit, as a decimal string. */
  modulus?: string;
  /** What one count of the register stands for, in the unit, as a decimal string. */
  resolution?: string;
  /** True when a simulator stands in for the plant (CONTRACTS 6). */
  simulated: boolean;
};

/** Staleness window of a metric that declares no heartbeat. */
export const defaultHeartbeatMs = 10_000;

/**
 * A value is stale when nothing was observed for this long: three heartbeats (facts, KPI definitions). Whole milliseconds: a birth of
 * another make may say a fraction, and times of readings and leaves are integers everywhere.
 */
export function stalenessWindowMs(heartbeatMs: number | undefined): number {
  return Math.ceil(3 * (heartbeatMs ?? defaultHeartbeatMs));
}

/** The properties of a metric in a birth. `engUnit` is the name that Sparkplug tools in the field use. */
export function definitionProperties(definition: MetricDefinition): Properties {
  const found: Record<string, Property> = {};
  if (definition.unit !== undefined) found.engUnit = property.text(definition.unit);
  for (const key of ["role", "carrier", "product", "modulus", "resolution"] as const) {
    const text = definition[key];
    if (text !== undefined) found[key] = property.text(text);
  }
  if (definition.deadband !== undefined) found.deadband = property.double(definition.deadband);
  if (definition.heartbeatMs !== undefined) found.heartbeatMs = property.uint32(definition.heartbeatMs);
  if (definition.simulated) found.simulated = property.flag(true);
  return found;
}

/** Since when a metric is what its birth says, of source times, UTC ms: told where a gateway knows that it was something else before. */
const definedSince = "definedSince";

/** @param sinceMs 0 where nothing is known */
export function sinceProperties(sinceMs: number): Properties {
  return sinceMs > 0 ? { [definedSince]: property.double(sinceMs) } : {};
}

/** Reads it back from a birth. */
export function sinceFromBirth(properties: Properties): number | undefined {
  const sinceMs = numberProperty(properties, definedSince);
  return Number.isSafeInteger(sinceMs) && (sinceMs as number) > 0 ? sinceMs : undefined;
}

/** What a metric was before, from a source time on, UTC ms, until that of the next one; 0 where nothing tells since when. */
export type EarlierDefinition = { readonly sinceMs: number; readonly definition: MetricDefinition };

/** Earlier definitions that a birth tells of a metric at most. */
export const maxEarlierDefinitions = 16;
/** Characters of all of them that are read at most. */
const longestEarlier = 32_768;

/**
 * What a metric was before, where its gateway may still have readings of then: a JSON text, a list of objects, earliest first. Each has the
 * properties of the birth as they were, its datatype and since when it was so.
 */
const earlierDefinitions = "earlierDefinitions";

const valuesOf = (properties: Properties) =>
  Object.fromEntries(Object.entries(properties).map(([key, { value }]) => [key, value]));

/** @param earlier earliest first; a birth of a metric that has none says nothing of it */
export function earlierProperties(earlier: readonly EarlierDefinition[]): Properties {
  if (earlier.length === 0) return {};
  const told = earlier.map(({ sinceMs, definition }) => ({
    datatype: definition.datatype,
    ...valuesOf({ ...definitionProperties(definition), ...sinceProperties(sinceMs) }),
  }));
  const text = JSON.stringify(told);
  return text.length > longestEarlier
    ? earlierProperties(earlier.slice(1))
    : { [earlierDefinitions]: property.text(text) };
}

function readEarlier(name: string, told: unknown): EarlierDefinition | undefined {
  if (typeof told !== "object" || told === null) return undefined;
  const found: Record<string, Property> = {};
  for (const [key, value] of Object.entries(told))
    if (["string", "number", "boolean"].includes(typeof value)) found[key] = { datatype: 0, value: value as Value };
  const datatype = numberProperty(found, "datatype");
  if (datatype === undefined || !isSupported(datatype)) return undefined;
  return { sinceMs: sinceFromBirth(found) ?? 0, definition: definitionFromBirth(name, datatype, found) };
}

/** Reads them back from a birth: all of them, in their order, or none where one of them cannot be read or is out of order. */
export function earlierFromBirth(name: string, properties: Properties): readonly EarlierDefinition[] {
  const text = textProperty(properties, earlierDefinitions);
  if (text === undefined || text.length > longestEarlier) return [];
  try {
    const told: unknown = JSON.parse(text);
    if (!Array.isArray(told) || told.length > maxEarlierDefinitions) return [];
    const found = told.map((one) => readEarlier(name, one)).filter((one) => one !== undefined);
    const isInOrder = found.every(({ sinceMs }, i) => i === 0 || sinceMs > (found[i - 1] as EarlierDefinition).sinceMs);
    return isInOrder && found.length === told.length ? found : [];
  } catch {
    return [];
  }
}

/** Reads a metric's definition back from its birth. Absent properties stay absent; nothing is guessed. */
export function definitionFromBirth(name: string, datatype: DataTypeNumber, properties: Properties): MetricDefinition {
  const unit = textProperty(properties, "engUnit");
  const deadband = numberProperty(properties, "deadband");
  const heartbeatMs = numberProperty(properties, "heartbeatMs");
  const definition: MetricDefinition = { name, datatype, simulated: properties.simulated?.value === true };
  if (unit !== undefined) definition.unit = unit;
  if (deadband !== undefined) definition.deadband = deadband;
  if (heartbeatMs !== undefined && heartbeatMs > 0) definition.heartbeatMs = heartbeatMs;
  for (const key of ["role", "carrier", "product", "modulus", "resolution"] as const) {
    const text = textProperty(properties, key);
    if (text !== undefined) definition[key] = text;
  }
  return definition;
}

/**
 * Node-level metrics of our gateways, sent in NBIRTH and, transient, in NDATA: they describe the present and are never stored.
 * `Devices/{id}/Connected` carries in `StatusCode` and `Reason` why a PLC cannot be read.
 */
export const nodeMetrics = {
  software: "Properties/Software",
  /** Random name of the outbox file, made with it: another one is another box, or a box whose disk was replaced. */
  box: "Properties/Box",
  /** Epochs that the file has begun, durable: a number that was seen with another epoch comes from a copy of the file. */
  starts: "Properties/Starts",
  /** The epoch in use. */
  epoch: "Properties/Epoch",
  /** An earlier epoch of the file, and its last record as far as the file can know: what the platform has beyond shows an image of it. */
  previousEpoch: "Properties/PreviousEpoch",
  previousOffset: "Properties/PreviousOffset",
  previousWrittenMs: "Properties/PreviousWrittenMs",
  pendingRecords: "Outbox/PendingRecords",
  oldestPendingMs: "Outbox/OldestPendingMs",
  droppedSamples: "Outbox/DroppedSamples",
  setAsideRecords: "Outbox/SetAsideRecords",
  /** False while the medium cannot be written and readings wait in memory alone, or are dropped. */
  writable: "Outbox/Writable",
  /** How often this process found itself set back to an earlier moment, and took a new epoch. */
  setBacks: "Outbox/SetBacks",
  /** By how much the gateway's clock is before the platform's, as commit notices tell it; null until there was one. */
  clockOffsetMs: "Clock/OffsetMs",
  /** How far from that it may be at most. */
  clockUncertaintyMs: "Clock/UncertaintyMs",
  deviceConnected: (device: string) => `Devices/${device}/Connected`,
  deviceReason: (device: string) => `Devices/${device}/Reason`,
} as const;

/** Reads `Devices/{id}/Connected` or `Devices/{id}/Reason`; undefined for any other metric. */
export function parseDeviceMetric(name: string): { device: string; field: "Connected" | "Reason" } | undefined {
  const match = /^Devices\/([^/]+)\/(Connected|Reason)$/.exec(name);
  return match ? { device: match[1] as string, field: match[2] as "Connected" | "Reason" } : undefined;
}
