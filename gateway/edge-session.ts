import type { Clock } from "@jilian/domain/clock.ts";
import type { DataTypeNumber } from "@jilian/domain/datatypes.ts";
import { encodePayload, type OutMetric, type OutPayload } from "@jilian/domain/sparkplug/payload.ts";
import { type MessageType, topicOf } from "@jilian/domain/topics.ts";
import type { Logger } from "pino";
import { birthMetric, deathPayload, type NodeView, nodeBirthMetrics, nodeStateMetrics } from "./births.ts";
import { dataPayload } from "./edge-data.ts";
import type { Link } from "./edge-link.ts";
import type { EdgeState } from "./edge-state.ts";
import type { KnownMetric, OutboxRecord } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";

export type SessionOptions = {
  group: string;
  node: string;
  link: Link;
  bdSeq: number;
  state: EdgeState;
  outbox: OpenedOutbox;
  /** How often this process found itself set back. */
  setBacks: () => number;
  clock: Clock;
  log: Logger;
};

/** Bytes that may wait in the socket for live data; the backlog stops as soon as the socket is full. */
const liveBufferBytes = 262_144;
/** A node that has nothing to report is heard this often all the same: a host that missed its births can only then ask for them. */
const nodeHeartbeatMs = 60_000;

/**
 * A Sparkplug session: seq, births and what they declared (Sparkplug 3.0, 5 and 6.4). Everything that carries a seq leaves through
 * `emit`, in the order of the numbers, in one synchronous step.
 */
export function edgeSession(options: SessionOptions) {
  const { group, node, link, bdSeq, state, outbox, setBacks, clock, log } = options;
  /** Born devices with the version of the form they were born in. */
  const born = new Map<string, number>();
  /** What the births of this session declared, by alias. */
  const declared = new Map<number, DataTypeNumber>();
  let nodeBorn = false;
  let seq = 0;
  let told = new Map<string, string>();
  let toldMs = 0;

  /** Returns the bytes of the payload. */
  function emit(type: MessageType, payload: Omit<OutPayload, "seq">, device?: string): number {
    const topic = topicOf({ group, type, node, ...(device === undefined ? {} : { device }) });
    const bytes = encodePayload({ ...payload, seq });
    seq = (seq + 1) % 256;
    void link.publish(topic, bytes, 0);
    return bytes.length;
  }

  function view(nowMs: number): NodeView {
    const { identity, epoch } = outbox;
    const isWritable = outbox.isWritable();
    const devices = state.connections;
    return { identity, epoch, outbox: outbox.stats(), isWritable, setBacks: setBacks(), devices, nowMs };
  }

  function birthDevice(device: string, metrics: readonly KnownMetric[]): void {
    const nowMs = clock.now();
    const listed = metrics.map((metric) => birthMetric(metric, state.lastOf(metric.id), nowMs));
    emit("DBIRTH", { timestampMs: nowMs, metrics: listed }, device);
    for (const { id, definition } of metrics) declared.set(id, definition.datatype);
    born.set(device, state.formOf(device));
    log.debug({ device, metrics: metrics.length }, "device born");
  }

  /** The whole birth sequence: at the start of the session and when a host asks again. */
  function birth(): void {
    const nowMs = clock.now();
    const now = view(nowMs);
    born.clear();
    declared.clear();
    seq = 0;
    emit("NBIRTH", { timestampMs: nowMs, metrics: nodeBirthMetrics(bdSeq, now) });
    told = textOf(nodeStateMetrics(now));
    toldMs = nowMs;
    nodeBorn = true;
    for (const [device, metrics] of state.metricsByDevice()) if (state.isWanted(device)) birthDevice(device, metrics);
    log.info({ bdSeq, devices: born.size }, "node born");
  }

  /** Brings one device to the state it should have: DBIRTH, DBIRTH again, DDEATH or nothing. */
  function reconcile(device: string): void {
    if (!nodeBorn) return;
    const form = born.get(device);
    if (state.isWanted(device)) {
      if (form !== state.formOf(device)) birthAgain(device);
    } else if (form !== undefined) {
      born.delete(device);
      emit("DDEATH", { timestampMs: clock.now(), metrics: [] }, device);
      log.debug({ device }, "device dead");
    }
  }

  /** The device's metrics as the outbox lists them now: a record that was set aside may come back with a metric long retired. */
  function birthAgain(device: string): void {
    const metrics = state.metricsByDevice().get(device);
    if (metrics) birthDevice(device, metrics);
  }

  function send(record: OutboxRecord): number {
    reconcile(record.device);
    if (record.samples.some(({ metricId }) => !declared.has(metricId))) birthAgain(record.device);
    const payload = dataPayload(record, (id) => declared.get(id), state.isNewest, clock.now());
    if (payload) return emit("DDATA", payload, record.device);
    outbox.setAside(record, "it holds a metric that the outbox does not know");
    return 0;
  }

  /** NDATA with what has changed of the node's own metrics, all of them when that is long ago; they describe the present, hence transient. */
  function tellNode(): void {
    const nowMs = clock.now();
    const metrics = nodeStateMetrics(view(nowMs));
    const texts = textOf(metrics);
    const isDue = Math.abs(nowMs - toldMs) >= nodeHeartbeatMs;
    const changed = metrics.filter(({ name = "" }) => isDue || texts.get(name) !== told.get(name));
    if (!nodeBorn || changed.length === 0 || link.isCongested()) return;
    told = texts;
    toldMs = nowMs;
    emit("NDATA", { timestampMs: nowMs, metrics: changed.map((metric) => ({ ...metric, transient: true })) });
  }

  return {
    birth,
    isBorn: (): boolean => nodeBorn,
    reconcile,
    /** DDEATH of every device whose backlog has drained and that is not connected. */
    reconcileBorn: (): void => {
      for (const device of [...born.keys()]) if (!state.isWanted(device)) reconcile(device);
    },
    tellNode,
    /** NDEATH ahead of an intended disconnect; resolves when the broker has it. */
    death: async (): Promise<void> => {
      if (!nodeBorn) return;
      nodeBorn = false;
      const topic = topicOf({ group, type: "NDEATH", node });
      await link.publish(topic, encodePayload(deathPayload(bdSeq, clock.now())), 1);
    },
    transport: {
      hasRoom: (kind: "live" | "backlog"): boolean =>
        nodeBorn && (kind === "backlog" ? !link.isCongested() : link.bufferedBytes() < liveBufferBytes),
      send,
    },
  };
}

/** What is compared to tell a change: everything but the time. */
function textOf(metrics: readonly OutMetric[]): Map<string, string> {
  return new Map(
    metrics.map(({ name = "", value, properties }) => [
      name,
      `${String(value)} ${properties?.StatusCode?.value ?? ""}`,
    ]),
  );
}

export type EdgeSession = ReturnType<typeof edgeSession>;
