import type { MetricDefinition, Sample } from "@jilian/domain/sample.ts";
import type { KnownMetric, OutboxStats } from "./model.ts";
import type { OutboxStore } from "./outbox-store.ts";
import type { FreedRow, OutboxTables } from "./outbox-tables.ts";

/** Room that a record takes in the file besides its bytes: keys, lengths, its share of a page. */
export const recordOverheadBytes = 32;

type Device = { id: number; name: string; lastSourceTimeMs: number; pending: number };
type Metric = KnownMetric & { declared: boolean };
type MetaKey = "droppedSamples" | "setAsideRecords" | "bdSeq";
type Epoch = { epoch: string; base: number };

/**
 * What an outbox keeps in memory: every question but "give me records" is answered from here. Changes are made here first and marked;
 * `flush` writes what is marked inside the caller's transaction, `flushed` clears the marks once that has committed. So a full disk
 * delays housekeeping and loses none of it.
 */
export function outboxState(loaded: ReturnType<OutboxStore["load"]>, epoch: string) {
  const devices = new Map<string, Device>(loaded.devices.map((d) => [d.name, { ...d, pending: 0 }]));
  const deviceById = new Map([...devices.values()].map((d) => [d.id, d]));
  const metrics = new Map<number, Metric>();
  const idOf = new Map<string, number>();
  const epochs: Epoch[] = [...loaded.epochs, { epoch, base: loaded.lastPosition + 1 }];
  /** Metrics that are no longer declared, with the last position that can hold a sample of theirs. */
  const retired = new Map<number, number>();
  const counter = (key: string): number => Number(loaded.meta.get(key) ?? 0);
  const tally = {
    records: 0,
    bytes: 0,
    oldest: loaded.oldest,
    next: loaded.lastPosition + 1,
    droppedSamples: counter("droppedSamples"),
    setAsideRecords: counter("setAsideRecords"),
    bdSeq: counter("bdSeq"),
  };
  const dirty = { devices: new Set<Device>(), metrics: new Set<Metric>(), meta: new Set<MetaKey>(), epoch: true };

  for (const { id, device, definition } of loaded.metrics) {
    metrics.set(id, { id, device, definition: JSON.parse(definition) as MetricDefinition, declared: false });
    idOf.set(keyOf(device, metrics.get(id)?.definition.name ?? ""), id);
    retired.set(id, loaded.lastPosition);
  }
  for (const { device, records, bytes } of loaded.pending) {
    const found = deviceById.get(device);
    if (found) found.pending = records;
    tally.records += records;
    tally.bytes += bytes + records * recordOverheadBytes;
  }

  function keyOf(device: string, metric: string): string {
    return `${device}/${metric}`;
  }

  function deviceOf(name: string): Device {
    let device = devices.get(name);
    if (!device) {
      device = { id: devices.size + 1, name, lastSourceTimeMs: 0, pending: 0 };
      devices.set(name, device);
      deviceById.set(device.id, device);
      dirty.devices.add(device);
    }
    return device;
  }

  function count(key: MetaKey, by: number): void {
    tally[key] += by;
    dirty.meta.add(key);
  }

  /** Declares the metrics of a device; those of it that are missing are retired from here on. */
  function declare(device: string, definitions: readonly MetricDefinition[]): number[] {
    const ids = definitions.map((definition) => {
      const key = keyOf(device, definition.name);
      const id = idOf.get(key) ?? metrics.size + 1;
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

  function isListed({ id, device, declared }: Metric): boolean {
    if (declared) return true;
    const until = retired.get(id) ?? 0;
    return (devices.get(device)?.pending ?? 0) > 0 && tally.oldest !== undefined && tally.oldest.position <= until;
  }

  function sourceTimes(device: Device, samples: readonly Sample[]): void {
    for (const { sourceTimeMs } of samples) device.lastSourceTimeMs = Math.max(device.lastSourceTimeMs, sourceTimeMs);
    dirty.devices.add(device);
  }

  function written(device: Device, size: number, writtenAtMs: number): void {
    device.pending += 1;
    tally.oldest ??= { position: tally.next, writtenAtMs };
    tally.records += 1;
    tally.bytes += size + recordOverheadBytes;
    tally.next += 1;
  }

  function freed(rows: readonly FreedRow[], oldest: typeof tally.oldest): void {
    for (const row of rows) {
      const device = deviceById.get(row.device);
      if (device) device.pending -= 1;
      tally.records -= 1;
      tally.bytes -= row.size + recordOverheadBytes;
    }
    tally.oldest = oldest;
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

  function flush(to: OutboxTables): void {
    for (const device of dirty.devices) to.saveDevice(device.id, device.name, device.lastSourceTimeMs);
    for (const { id, device, definition } of dirty.metrics)
      to.saveMetric(id, device, definition.name, JSON.stringify(definition));
    for (const key of dirty.meta) to.saveMeta(key, tally[key]);
    const current = epochs.at(-1);
    if (dirty.epoch && current) to.saveEpoch(current.epoch, current.base);
  }

  function flushed(): void {
    dirty.devices.clear();
    dirty.metrics.clear();
    dirty.meta.clear();
    dirty.epoch = false;
  }

  /** The file was replaced by an empty one: its records are set aside with it, all the rest is to be written again. */
  function restart(): void {
    tally.setAsideRecords += tally.records;
    for (const key of ["droppedSamples", "setAsideRecords", "bdSeq"] as const) dirty.meta.add(key);
    tally.records = 0;
    tally.bytes = 0;
    tally.oldest = undefined;
    for (const device of devices.values()) {
      device.pending = 0;
      dirty.devices.add(device);
    }
    for (const metric of metrics.values()) dirty.metrics.add(metric);
    epochs.splice(0, epochs.length - 1);
    dirty.epoch = true;
  }

  /** The counter after the last one used; 0 in a new file. */
  function nextBdSeq(): number {
    const bdSeq = tally.bdSeq;
    tally.bdSeq = (bdSeq + 1) % 256;
    dirty.meta.add("bdSeq");
    return bdSeq;
  }

  return {
    tally,
    /** Position of offset 0 of the epoch in use. */
    base: loaded.lastPosition + 1,
    nextBdSeq,
    declare,
    deviceOf,
    count,
    sourceTimes,
    written,
    freed,
    epochAt,
    boundsOf,
    flush,
    flushed,
    restart,
    epochNames: (): string[] => epochs.map(({ epoch: name }) => name),
    deviceName: (id: number): string | undefined => deviceById.get(id)?.name,
    pendingOf: (device: string): number => devices.get(device)?.pending ?? 0,
    lastSourceTimeMs: (device: string): number => devices.get(device)?.lastSourceTimeMs ?? 0,
    metrics: (): KnownMetric[] =>
      [...metrics.values()].filter(isListed).map(({ id, device, definition }) => ({ id, device, definition })),
    /** Metrics that may have samples pending: where to stop looking for the newest of each. */
    metricsPending: (): number =>
      [...metrics.values()].filter(({ device }) => (devices.get(device)?.pending ?? 0) > 0).length,
    stats: (): OutboxStats => ({
      pendingRecords: tally.records,
      pendingBytes: tally.bytes,
      oldestWrittenAtMs: tally.oldest?.writtenAtMs,
      droppedSamples: tally.droppedSamples,
      setAsideRecords: tally.setAsideRecords,
    }),
  };
}

export type OutboxState = ReturnType<typeof outboxState>;
