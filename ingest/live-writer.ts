import { accountMetric } from "@jilian/domain/account.ts";
import type { Clock } from "@jilian/domain/clock.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { deviceKey } from "@jilian/domain/identity.ts";
import { qualityOf } from "@jilian/domain/quality.ts";
import { type MetricDefinition, parseDeviceMetric, stalenessWindowMs } from "@jilian/domain/sample.ts";
import type { LiveDevice, LiveNode, LiveState } from "@jilian/store/live.ts";
import type { Registry } from "@jilian/store/registry.ts";
import type { Series, StoredRow } from "@jilian/store/telemetry.ts";
import type { LedgerNotes } from "./ledger-notes.ts";
import type { QueuedSample } from "./queue.ts";
import { metricsOf, type NodeSession } from "./sessions.ts";

/** Keeps the live state true to what nodes say: births, deaths, newest values. */
export type LiveWriter = {
  readonly state: LiveState;
  readonly nodeBorn: (session: NodeSession) => void;
  readonly nodeDied: (session: NodeSession) => void;
  readonly deviceBorn: (session: NodeSession, device: string) => void;
  readonly deviceDied: (session: NodeSession, device: string) => void;
  /** A sample as received. Historical ones never become the current value unless nothing newer is known. */
  readonly sample: (sample: QueuedSample, historical: boolean) => void;
  /** Fills the state from the store: newest samples survive a restart, births do not. */
  readonly seed: (series: readonly Series[], latest: readonly StoredRow[]) => void;
};

/** Born devices of no registry that are remembered; who publishes under ever new names must not fill the memory. */
const maxStrangers = 10_000;

export function liveWriter(
  state: LiveState,
  parts: { notes: Pick<LedgerNotes, "finding" | "birth" | "unregistered">; registry: Registry; clock: Clock },
): LiveWriter {
  const { notes, registry, clock } = parts;
  const strangers = new Map<string, NodeSession>();

  function nodeOf(group: string, node: string): LiveNode {
    return getOrMake(state.nodes, `${group}/${node}`, () => ({
      group,
      node,
      alive: false,
      sinceMs: 0,
      metrics: new Map(),
      devices: new Map(),
    }));
  }

  function deviceOf(group: string, node: string, device: string): LiveDevice {
    return getOrMake(state.devices, deviceKey(group, node, device), () => ({
      group,
      node,
      device,
      born: false,
      bornMs: 0,
      lastGoodMs: 0,
      freshUntilMs: 0,
    }));
  }

  /** A source whose clock once ran ahead must not pass for fresh until that time has come: what is here now is no fresher than now. */
  function noteGood(device: LiveDevice, sourceTimeMs: number, { heartbeatMs }: MetricDefinition): void {
    const atMs = Math.min(sourceTimeMs, clock.now());
    device.lastGoodMs = Math.max(device.lastGoodMs, atMs);
    device.freshUntilMs = Math.max(device.freshUntilMs, atMs + stalenessWindowMs(heartbeatMs));
  }

  /** Simulated data counts only in pilots marked demo (CONTRACTS 6): elsewhere such a device is listed as unregistered would be. */
  function noteFirstBirth(session: NodeSession, device: string): void {
    const place = { group: session.group, node: session.node, device };
    const key = deviceKey(session.group, session.node, device);
    const simulated = metricsOf(session, device).some((m) => m.definition.simulated);
    strangers.delete(key);
    if (!registry.devices.has(key)) {
      notes.unregistered(place);
      if (strangers.size < maxStrangers) strangers.set(key, session);
    } else if (simulated && !registry.demo) {
      const detail =
        "a simulator answers for this device; its data does not count, because the pilot is not marked demo";
      notes.finding({ code: "SIMULATED_IN_REAL_PILOT", subject: key, detail });
    } else {
      notes.birth({ ...place, firstBirthMs: clock.now() });
    }
  }

  /** A version of the registry that was applied meanwhile may know a device that had its birth before. */
  function welcome(group: string, node: string, device: string): void {
    const key = deviceKey(group, node, device);
    const session = strangers.get(key);
    if (session && registry.devices.has(key)) noteFirstBirth(session, device);
  }

  function takeNodeMetric(sample: QueuedSample): void {
    const { group, node, metric } = sample.metric.key;
    const live = nodeOf(group, node);
    const ofDevice = parseDeviceMetric(metric);
    if (!ofDevice) {
      live.metrics.set(metric, sample.value);
      return;
    }
    const known = live.devices.get(ofDevice.device) ?? { connected: false, reason: "" };
    if (ofDevice.field === "Connected") known.connected = sample.value === true;
    else known.reason = String(sample.value ?? "");
    live.devices.set(ofDevice.device, known);
  }

  return {
    state,
    nodeBorn: (session) => {
      const node = nodeOf(session.group, session.node);
      Object.assign(node, { alive: true, sinceMs: clock.now() });
      node.devices.clear();
      for (const device of state.devices.values())
        if (device.group === session.group && device.node === session.node) device.born = false;
    },
    nodeDied: (session) => {
      Object.assign(nodeOf(session.group, session.node), { alive: false, sinceMs: clock.now() });
      for (const device of state.devices.values())
        if (device.group === session.group && device.node === session.node) device.born = false;
    },
    deviceBorn: (session, device) => {
      Object.assign(deviceOf(session.group, session.node, device), { born: true, bornMs: clock.now() });
      noteFirstBirth(session, device);
    },
    deviceDied: (session, device) => {
      deviceOf(session.group, session.node, device).born = false;
      strangers.delete(deviceKey(session.group, session.node, device));
    },
    sample: (sample, historical) => {
      const { key, definition, seriesId } = sample.metric;
      if (key.device === "") {
        takeNodeMetric(sample);
        return;
      }
      // What a gateway says of its own work is no reading: it keeps no device online.
      if (key.metric === accountMetric) return;
      if (!historical && qualityOf(sample.status) === "good") {
        const device = deviceOf(key.group, key.node, key.device);
        noteGood(device, sample.sourceTimeMs, definition);
        if (strangers.size > 0) welcome(key.group, key.node, key.device);
      }
      if (seriesId === undefined) return;
      const known = state.samples.get(seriesId);
      if (known && known.sourceTimeMs > sample.sourceTimeMs) return;
      const { value, status, sourceTimeMs, gatewayTimeMs } = sample;
      state.samples.set(seriesId, {
        series: { ...key, id: seriesId, definition },
        value,
        status,
        sourceTimeMs,
        gatewayTimeMs,
      });
    },
    seed: (series, latest) => {
      const byId = new Map(series.map((s) => [s.id, s]));
      for (const row of latest) {
        const known = byId.get(row.series);
        if (!known || known.metric === accountMetric) continue;
        const { value, status, sourceTimeMs, gatewayTimeMs } = row;
        state.samples.set(row.series, { series: known, value, status, sourceTimeMs, gatewayTimeMs });
        if (known.device === "" || qualityOf(status) !== "good") continue;
        const device = deviceOf(known.group, known.node, known.device);
        noteGood(device, sourceTimeMs, known.definition);
      }
    },
  };
}
