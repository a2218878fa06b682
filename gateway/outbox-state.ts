import { randomBytes, randomInt } from "node:crypto";
import type { MetricDefinition, Sample } from "@jilian/domain/sample.ts";
import type { KnownMetric, OutboxIdentity, OutboxStats, StoredSample } from "./model.ts";
import { readJumps } from "./outbox-clock.ts";
import { type Counter, outboxCounts } from "./outbox-counts.ts";
import { deviceTable } from "./outbox-devices.ts";
import type { DeviceRow, FreedRow, LoadedOutbox, OutboxTables } from "./outbox-tables.ts";

/** Room that a record takes in the file besides its bytes: keys, lengths, its share of a page. */
export const recordOverheadBytes = 32;

type Metric = KnownMetric & { declared: boolean };
type Epoch = { epoch: string; base: number };
type Oldest = { position: number; writtenAtMs: number } | undefined;

type Text = "closed" | "bootId" | "clockJumps";

const plain = ({ id, device, definition }: Metric): KnownMetric => ({ id, device, definition });
const newEpoch = (): string => randomBytes(8).toString("hex");
const epochPattern = /^[0-9a-f]{16}$/;

export type StateOptions = {
  /** By how much the devices' source times are raised, for what a power cut may have taken; 0 otherwise. */
  raiseMs: number;
  /** False in memory: there is no file to name. */
  isFile: boolean;
};

/**
 * What an outbox keeps in memory: every question but "give me records" is answered from here. Changes are made here first and marked;
 * `flush` writes what is marked inside the caller's transaction, `flushed` clears the marks once that has committed. So a full disk
 * delays housekeeping and loses none of it.
 */
export function outboxState(loaded: LoadedOutbox, { raiseMs, isFile }: StateOptions) {
  const devices = deviceTable(loaded.devices, raiseMs);
  const counts = outboxCounts(loaded, isFile);
  const metrics = new Map<number, Metric>();
  const idOf = new Map<string, number>();
  const damaged = loaded.epochs.filter(({ epoch }) => !epochPattern.test(epoch));
  // Under its damaged name nothing could be sent. The platform may have some of it already: one key and one content, stored once.
  for (const epoch of damaged) epoch.epoch = newEpoch();
  const epochs: Epoch[] = [...loaded.epochs, { epoch: newEpoch(), base: loaded.lastPosition + 1 }];
  /** Metrics that are no longer declared, with the last position that can hold a sample of theirs. */
  const retired = new Map<number, number>();
  const tally = {
    records: 0,
    bytes: 0,
    oldest: loaded.oldest,
    next: loaded.lastPosition + 1,
    /** Dropped records up to here are deleted with the next transaction; they are pending no more. */
    goneTo: 0,
    asidesGoneTo: 0,
    asideRecords: loaded.asides?.records ?? 0,
    asideBytes: loaded.asides?.bytes ?? 0,
  };
  const jumps = readJumps(String(loaded.meta.get("clockJumps") ?? "[]"));
  const dirty = {
    metrics: new Set<Metric>(),
    texts: new Map<string, string | number>(),
    epochs: new Set<Epoch>([...damaged, ...epochs.slice(-1)]),
  };
  /** Every text as it is: a file that takes this one's place gets them all. */
  const texts = new Map<string, string | number>(jumps ? [["clockJumps", JSON.stringify(jumps)]] : []);
  const box = String(loaded.meta.get("box") ?? "");
  texts.set("box", box);
  counts.add("starts", 1 + damaged.length);
  if (!isFile) counts.show("bdSeq", randomInt(256));
  /** How to take back what the transaction under way has changed here, should it fail. */
  let undo: (() => void)[] = [];
  let before = { ...tally };

  for (const metric of loaded.metrics) {
    metrics.set(metric.id, { ...metric, declared: false });
    idOf.set(keyOf(metric.device, metric.definition.name), metric.id);
    retired.set(metric.id, loaded.lastPosition);
  }
  let lastMetricId = Math.max(0, ...metrics.keys());
  for (const { pending, bytes } of devices.byId.values()) {
    tally.records += pending;
    tally.bytes += bytes + pending * recordOverheadBytes;
  }

  function keyOf(device: string, metric: string): string {
    return `${device}/${metric}`;
  }

  function current(): Epoch {
    return epochs.at(-1) as Epoch;
  }

  /** Declares the metrics of a device; those of it that are missing are retired from here on. */
  function declare(device: string, definitions: readonly MetricDefinition[]): number[] {
    const ids = definitions.map((definition) => {
      const key = keyOf(device, definition.name);
      const id = idOf.get(key) ?? ++lastMetricId;
      const known = metrics.get(id);
      const metric = { id, device, definition: { ...definition }, declared: true };
      if (!known || JSON.stringify(known.definition) !== JSON.stringify(definition)) dirty.metrics.add(metric);
      metrics.set(id, metric);
      idOf.set(key, id);
      retired.delete(id);
      return id;
    });
    const now = new Set(ids);
    for (const metric of metrics.values()) {
      if (metric.device !== device || !metric.declared || now.has(metric.id)) continue;
      metric.declared = false;
      retired.set(metric.id, tally.next - 1);
    }
    return ids;
  }

  /** Takes in a metric that is not declared here: to count what was dropped of it. */
  function know(device: string, definition: MetricDefinition): void {
    const key = keyOf(device, definition.name);
    if (idOf.has(key)) return;
    const metric = { id: ++lastMetricId, device, definition: { ...definition }, declared: false };
    metrics.set(metric.id, metric);
    idOf.set(key, metric.id);
    retired.set(metric.id, tally.next - 1);
    dirty.metrics.add(metric);
  }

  function isListed({ id, device, declared }: Metric): boolean {
    if (declared) return true;
    const until = retired.get(id) ?? 0;
    const pending = devices.byName.get(device)?.pending ?? 0;
    return pending > 0 && tally.oldest !== undefined && tally.oldest.position <= until;
  }

  function sourceTimes(device: DeviceRow, samples: readonly Sample[]): void {
    for (const { sourceTimeMs } of samples) device.lastSourceTimeMs = Math.max(device.lastSourceTimeMs, sourceTimeMs);
    devices.dirty.add(device);
  }

  function pend(device: DeviceRow, records: number, bytes: number): void {
    device.pending += records;
    device.bytes += bytes;
    devices.dirty.add(device);
    undo.push(() => {
      device.pending -= records;
      device.bytes -= bytes;
    });
  }

  /** Counts a record at the next position, inside the transaction that writes it. */
  function written(device: DeviceRow, size: number, writtenAtMs: number, samples: readonly StoredSample[]): void {
    pend(device, 1, size);
    tally.oldest ??= { position: tally.next, writtenAtMs };
    tally.records += 1;
    tally.bytes += size + recordOverheadBytes;
    // A record that comes back to the queue may hold samples of a metric that is no longer declared.
    if (retired.size > 0)
      for (const { metricId } of samples) if (retired.has(metricId)) retired.set(metricId, tally.next);
    tally.next += 1;
  }

  /** Counts records that leave, inside the transaction that removes them. */
  function freed(rows: readonly FreedRow[], oldest: Oldest): void {
    for (const row of rows) {
      const device = devices.byId.get(row.device);
      if (device) pend(device, -1, -row.size);
      tally.records -= 1;
      tally.bytes -= row.size + recordOverheadBytes;
    }
    tally.oldest = oldest;
    if (oldest === undefined) empty();
  }

  /** Nothing is pending: so say the counters, also where a damaged row had made them differ. */
  function empty(): void {
    tally.records = 0;
    tally.bytes = 0;
    for (const device of devices.byId.values())
      if (device.pending !== 0 || device.bytes !== 0) pend(device, -device.pending, -device.bytes);
  }

  /** Gives an epoch another name; pending records keep their offsets. An unknown one is left. */
  function rename(of: string): void {
    const found = epochs.find(({ epoch }) => epoch === of);
    if (!found) return;
    found.epoch = newEpoch();
    dirty.epochs.add(found);
    counts.add("starts", 1);
  }

  /** Begins another epoch from the next record on; those before stay under theirs. */
  function begin(): void {
    if (current().base === tally.next) {
      rename(current().epoch);
      return;
    }
    const epoch = { epoch: newEpoch(), base: tally.next };
    epochs.push(epoch);
    dirty.epochs.add(epoch);
    counts.add("starts", 1);
  }

  /** Counts what joins or leaves the records set aside, inside a transaction. */
  function aside(records: number, bytes: number): void {
    tally.asideRecords += records;
    tally.asideBytes += bytes;
  }

  /** The epoch of a position: the last one that begins at or before it. */
  function epochAt(position: number): Epoch | undefined {
    return epochs.findLast(({ base }) => base <= position);
  }

  /** First and last position that an epoch can have; undefined for an epoch of which nothing is here. */
  function boundsOf(wanted: string): { base: number; last: number } | undefined {
    const i = epochs.findIndex(({ epoch: name }) => name === wanted);
    const found = epochs[i];
    return found && { base: found.base, last: (epochs[i + 1]?.base ?? tally.next) - 1 };
  }

  function begun(): void {
    undo = [];
    before = { ...tally };
  }

  function failed(): void {
    for (const act of undo.reverse()) act();
    undo = [];
    Object.assign(tally, before);
  }

  /** Adds to a counter, inside a transaction. */
  function count(key: Counter, by: number): void {
    counts.add(key, by);
    undo.push(() => counts.add(key, -by));
  }

  function clear(to: OutboxTables): void {
    if (tally.goneTo > 0) to.remove(0, tally.goneTo);
    if (tally.asidesGoneTo > 0) to.removeAsides(0, tally.asidesGoneTo);
  }

  function flush(to: OutboxTables): void {
    for (const device of devices.dirty) to.saveDevice(device);
    for (const { id, device, definition } of dirty.metrics)
      to.saveMetric(id, device, definition.name, JSON.stringify(definition));
    for (const [key, text] of dirty.texts) to.saveMeta(key, text);
    for (const { epoch, base } of dirty.epochs) to.saveEpoch(epoch, base);
    counts.flush(to);
  }

  function flushed(): void {
    undo = [];
    tally.goneTo = 0;
    tally.asidesGoneTo = 0;
    devices.dirty.clear();
    dirty.metrics.clear();
    dirty.texts.clear();
    dirty.epochs.clear();
    counts.flushed();
  }

  /** The file was replaced by an empty one: its records are set aside with it, all the rest is to be written again. */
  function restart(): void {
    counts.add("setAsideRecords", tally.records);
    tally.oldest = undefined;
    tally.asideRecords = 0;
    tally.asideBytes = 0;
    empty();
    for (const device of devices.byId.values()) devices.dirty.add(device);
    for (const metric of metrics.values()) dirty.metrics.add(metric);
    for (const [key, text] of texts) dirty.texts.set(key, text);
    epochs.splice(0, epochs.length - 1);
    dirty.epochs.clear();
    dirty.epochs.add(current());
    counts.restart();
  }

  /** The counter after the last one used; 0 in a new file. */
  function nextBdSeq(): number {
    const { bdSeq } = counts.counts;
    counts.set("bdSeq", (bdSeq + 1) % 256);
    return bdSeq;
  }

  return {
    tally,
    counts,
    /** Steps of the clock as they were remembered, and what of the file could not be read: told where it is opened. */
    jumps: jumps ?? [],
    faults: [...(jumps ? [] : ["steps of the clock"]), ...damaged.map(() => "the name of an epoch")],
    current,
    rename,
    aside,
    begin,
    nextBdSeq,
    declare,
    know,
    deviceOf: devices.of,
    sourceTimes,
    written,
    freed,
    epochAt,
    boundsOf,
    begun,
    failed,
    count,
    clear,
    flush,
    flushed,
    restart,
    text: (key: Text, value: string | number): void => {
      texts.set(key, value);
      dirty.texts.set(key, value);
    },
    isKnown: (metricId: number): boolean => metrics.has(metricId),
    metricName: (metricId: number): string | undefined => metrics.get(metricId)?.definition.name,
    identity: (): OutboxIdentity => (isFile ? { box, starts: counts.counts.starts } : { box: "", starts: 0 }),
    epochNames: (): string[] => epochs.map(({ epoch: name }) => name),
    deviceName: (id: number): string | undefined => devices.byId.get(id)?.name,
    pendingOf: (device: string): number => devices.byName.get(device)?.pending ?? 0,
    lastSourceTimeMs: (device: string): number => devices.byName.get(device)?.lastSourceTimeMs ?? devices.floorMs,
    metrics: (): KnownMetric[] => [...metrics.values()].filter(isListed).map(plain),
    allMetrics: (): KnownMetric[] => [...metrics.values()].map(plain),
    droppedByMetric: () => counts.droppedByMetric(metrics),
    unsaved: () => counts.unsaved(metrics),
    lastSourceTimes: (): Map<string, number> =>
      new Map([...devices.byName.values()].map((device) => [device.name, device.lastSourceTimeMs])),
    raiseSourceTime: (name: string, toMs: number): void => {
      const device = devices.of(name);
      device.lastSourceTimeMs = Math.max(device.lastSourceTimeMs, toMs);
      devices.dirty.add(device);
    },
    idOf: (device: string, metric: string): number | undefined => idOf.get(keyOf(device, metric)),
    /** Metrics that may have samples pending: where to stop looking for the newest of each. */
    metricsPending: (): number =>
      [...metrics.values()].filter(({ device }) => (devices.byName.get(device)?.pending ?? 0) > 0).length,
    stats: (): OutboxStats => ({
      pendingRecords: tally.records,
      pendingBytes: tally.bytes,
      oldestWrittenAtMs: tally.oldest?.writtenAtMs,
      droppedSamples: counts.counts.droppedSamples,
      droppedByReason: counts.droppedByReason(),
      setAsideRecords: counts.counts.setAsideRecords,
      droppedAsideRecords: counts.counts.droppedAsideRecords,
    }),
  };
}

export type OutboxState = ReturnType<typeof outboxState>;
