import { Status } from "@jilian/domain/quality.ts";
import type { MetricDefinition, Sample } from "@jilian/domain/sample.ts";
import type { Connection, KnownMetric, OutboxRecord, StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";

/** A device that has not been tried yet. */
const untried: Connection = { connected: false, status: Status.BadWaitingForInitialData, reason: "not connected yet" };

/** What the edge node knows over all of its sessions: devices, the form of their births, and the newest sample of every metric. */
export function edgeState(outbox: OpenedOutbox, configured: readonly string[]) {
  const connections = new Map<string, Connection>(configured.map((device) => [device, untried]));
  const forms = new Map<string, { text: string; version: number; names: ReadonlySet<string> }>();
  /** Of this table alone, and changed in place: samples that live on would cost the collector of garbage more than all the rest. */
  const last = new Map<number, StoredSample>(outbox.newest().map((sample) => [sample.metricId, sample]));

  /** Returns whether the device's birth looks different from before. */
  function define(device: string, definitions: readonly MetricDefinition[]): boolean {
    const text = JSON.stringify(definitions);
    const known = forms.get(device);
    if (known?.text === text) return false;
    const names = new Set(definitions.map(({ name }) => name));
    forms.set(device, { text, version: (known?.version ?? 0) + 1, names });
    return true;
  }

  function observe({ samples }: OutboxRecord): void {
    for (let i = 0; i < samples.length; i += 1) {
      const { metricId, value, status, sourceTimeMs, gatewayTimeMs } = samples[i] as StoredSample;
      const known = last.get(metricId);
      if (known === undefined) last.set(metricId, { metricId, value, status, sourceTimeMs, gatewayTimeMs });
      else if (sourceTimeMs >= known.sourceTimeMs) {
        known.value = value;
        known.status = status;
        known.sourceTimeMs = sourceTimeMs;
        known.gatewayTimeMs = gatewayTimeMs;
      }
    }
  }

  function isNewest({ metricId, sourceTimeMs }: Sample & { metricId: number }): boolean {
    return sourceTimeMs >= (last.get(metricId)?.sourceTimeMs ?? Number.NEGATIVE_INFINITY);
  }

  /** Every metric to be born, by device: devices that are configured and devices that only have a backlog. */
  function metricsByDevice(): Map<string, KnownMetric[]> {
    return Map.groupBy(outbox.metrics(), ({ device }) => device);
  }

  return {
    connections,
    define,
    observe,
    isNewest,
    metricsByDevice,
    /** Not to be kept: it is changed by the next one. */
    lastOf: (metricId: number): Readonly<StoredSample> | undefined => last.get(metricId),
    /** Goes up when the device's birth must be sent again. */
    formOf: (device: string): number => forms.get(device)?.version ?? 0,
    /** Whether a metric is one of its device now, and not only of readings that still wait. */
    isCurrent: ({ device, definition }: KnownMetric): boolean => forms.get(device)?.names.has(definition.name) ?? true,
    /** Other devices are configured now. @returns whether they are others */
    configure: (devices: readonly string[]): boolean => {
      const before = [...connections.keys()];
      for (const device of before) if (!devices.includes(device)) connections.delete(device);
      for (const device of devices) if (!connections.has(device)) connections.set(device, untried);
      return before.length !== devices.length || before.some((device) => !connections.has(device));
    },
    connect: (device: string, connection: Connection): void => {
      if (connections.has(device)) connections.set(device, connection);
    },
    /** A device is to be alive in Sparkplug while it can be read, and until its backlog has drained. */
    isWanted: (device: string): boolean => connections.get(device)?.connected === true || outbox.pendingOf(device) > 0,
  };
}

export type EdgeState = ReturnType<typeof edgeState>;
