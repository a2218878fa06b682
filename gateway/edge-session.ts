import type { Clock } from "@jilian/domain/clock.ts";
import type { DataTypeNumber } from "@jilian/domain/datatypes.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { encodePayload, type OutMetric, type OutPayload } from "@jilian/domain/sparkplug/payload.ts";
import { type MessageType, topicOf } from "@jilian/domain/topics.ts";
import type { Logger } from "pino";
import { birthMetric, deathPayload, type NodeView, nodeBirthMetrics, nodeStateMetrics } from "./births.ts";
import type { ClockOffset } from "./clock-offset.ts";
import { dataPayload } from "./edge-data.ts";
import type { Link } from "./edge-link.ts";
import type { EdgeState } from "./edge-state.ts";
import type { UnbornDevices } from "./edge-unborn.ts";
import { atMostEvery } from "./log-limit.ts";
import type { KnownMetric, OutboxRecord, StoredSample } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";

export type SessionOptions = {
  group: string;
  node: string;
  link: Link;
  bdSeq: number;
  state: EdgeState;
  unborn: UnbornDevices;
  /** Larger ones are never sent: a broker would end the connection, and again with the next one. */
  maxPayloadBytes: number;
  outbox: OpenedOutbox;
  /** How often this process found itself set back. */
  setBacks: () => number;
  clockOffset: () => ClockOffset | undefined;
  clock: Clock;
  log: Logger;
};

/** Bytes that may wait in the socket for live data; the backlog stops as soon as the socket is full. */
const liveBufferBytes = 262_144;
/** A node that has nothing to report is heard this often all the same: a host that missed its births can only then ask for them. */
const nodeHeartbeatMs = 60_000;
const tellMs = 60_000;
/** Of a last value in a birth that would otherwise be too large. */
const maxTextLength = 256;
/** Characters of a reason in a message of the node that would otherwise be too large. */
const shortReason = 60;

/**
 * A Sparkplug session: seq, births and what they declared (Sparkplug 3.0, 5 and 6.4). Everything that carries a seq leaves through
 * `publish`, in the order of the numbers, in one synchronous step.
 */
export function edgeSession(options: SessionOptions) {
  const { group, node, link, bdSeq, state, unborn, maxPayloadBytes, outbox, clock, log } = options;
  const tellSplit = atMostEvery(tellMs);
  /** Born devices with the version of the form they were born in. */
  const born = new Map<string, number>();
  /** What the births of this session declared, by alias. */
  const declared = new Map<number, DataTypeNumber>();
  let nodeBorn = false;
  let seq = 0;
  let told = new Map<string, string>();
  let toldMs = 0;

  function encode(payload: Omit<OutPayload, "seq">): Uint8Array {
    return encodePayload({ ...payload, seq });
  }

  /** What was encoded last: it holds the seq that is used up by it. */
  function publish(type: MessageType, bytes: Uint8Array, device?: string): void {
    const topic = topicOf({ group, type, node, ...(device === undefined ? {} : { device }) });
    seq = (seq + 1) % 256;
    // What does not go out is still in the outbox, and a link that takes nothing any more ends by itself.
    link.publish(topic, bytes, 0).catch((err: unknown) => log.debug({ topic, err }, "not published"));
  }

  function emit(type: MessageType, payload: Omit<OutPayload, "seq">, device?: string): void {
    publish(type, encode(payload), device);
  }

  /**
   * A message of the node itself. An NBIRTH cannot be divided: where it would be too large, the reasons why devices cannot be read are cut;
   * without them it fits, which the configuration is checked for.
   */
  function emitNode(type: "NBIRTH" | "NDATA", timestampMs: number, metricsOf: (longest: number) => OutMetric[]): void {
    let bytes: Uint8Array | undefined;
    for (const longest of [Number.POSITIVE_INFINITY, shortReason, 0]) {
      bytes = encode({ timestampMs, metrics: metricsOf(longest) });
      if (bytes.length <= maxPayloadBytes) break;
    }
    if (bytes) publish(type, bytes);
  }

  function view(nowMs: number): NodeView {
    const { identity, epoch, previous } = outbox;
    const isWritable = outbox.isWritable();
    const measured = { setBacks: options.setBacks(), clockOffset: options.clockOffset() };
    return {
      identity,
      epoch,
      previous,
      outbox: outbox.stats(),
      isWritable,
      ...measured,
      devices: state.connections,
      nowMs,
    };
  }

  /** A text longer than the bound is left out: its metric is born without a value. */
  function encodeBirth(metrics: readonly KnownMetric[], longest = Number.POSITIVE_INFINITY): Uint8Array {
    const nowMs = clock.now();
    const lastOf = (id: number): StoredSample | undefined => {
      const last = state.lastOf(id);
      return typeof last?.value === "string" && last.value.length > longest ? undefined : last;
    };
    const listed = metrics.map((metric) => birthMetric(metric, lastOf(metric.id), nowMs));
    return encode({ timestampMs: nowMs, metrics: listed });
  }

  function birthDevice(device: string, metrics: readonly KnownMetric[]): void {
    const form = state.formOf(device);
    if (unborn.isHeldBack(device, form)) return;
    let listed = metrics;
    try {
      let bytes = encodeBirth(metrics);
      if (bytes.length > maxPayloadBytes) bytes = encodeBirth(metrics, maxTextLength);
      if (bytes.length > maxPayloadBytes) {
        const tells = metrics.filter(({ earlier }) => earlier.length > 0).length;
        if (tells > 0) unborn.shortened(device, { metrics: tells, bytes: bytes.length, maxPayloadBytes });
        if (tells > 0) bytes = encodeBirth(metrics.map(withoutEarlier), maxTextLength);
      }
      if (bytes.length > maxPayloadBytes) {
        // Readings of metrics that it has no more then wait, and hold up the others no longer.
        unborn.tooLarge(device, form, { metrics: metrics.length, bytes: bytes.length, maxPayloadBytes });
        const current = metrics.filter(state.isCurrent);
        bytes = encodeBirth(current.map(withoutEarlier), maxTextLength);
        if (current.length === metrics.length || bytes.length > maxPayloadBytes) return;
        listed = current;
      }
      publish("DBIRTH", bytes, device);
    } catch (thrown) {
      unborn.failed(device, form, thrown);
      return;
    }
    for (const { id, definition } of listed) declared.set(id, definition.datatype);
    if (listed === metrics) unborn.isBorn(device);
    born.set(device, form);
    log.debug({ device, metrics: listed.length }, "device born");
  }

  /** The whole birth sequence: at the start of the session and when a host asks again. */
  function birth(): void {
    const nowMs = clock.now();
    const now = view(nowMs);
    born.clear();
    declared.clear();
    unborn.clear();
    seq = 0;
    emitNode("NBIRTH", nowMs, (longest) => nodeBirthMetrics(bdSeq, now, longest));
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

  /** A record that is too large for one message goes as two, each with an id of its own, when their turn comes. */
  function divide(record: OutboxRecord, bytes: number): void {
    const { device, samples } = record;
    if (samples.length < 2) {
      const reason = `a message of ${bytes} bytes for its one sample, more than broker.maxPayloadBytes (${maxPayloadBytes})`;
      outbox.setAside(record, reason);
      return;
    }
    outbox.split(record);
    tellSplit((heldBack) =>
      log.info(
        { device, samples: samples.length, bytes, maxPayloadBytes, heldBack },
        "a record is larger than a message may be: split in two",
      ),
    );
  }

  /** Only what a record itself is made of can go wrong here, so that it is the one to be set aside. */
  function send(record: OutboxRecord): number {
    const { device } = record;
    reconcile(device);
    if (record.samples.some(({ metricId }) => !declared.has(metricId))) birthAgain(device);
    try {
      const payload = dataPayload(record, (id) => declared.get(id), state.isNewest, clock.now());
      const bytes = payload && encode(payload);
      if (bytes && bytes.length <= maxPayloadBytes) {
        publish("DDATA", bytes, device);
        return bytes.length;
      }
      if (bytes) divide(record, bytes.length);
      // A record of a device that cannot be born waits until it can.
      else if (!unborn.has(device)) outbox.setAside(record, "it holds a metric that the outbox does not know");
    } catch (thrown) {
      outbox.setAside(record, `no message can be made of it: ${messageOf(thrown)}`);
    }
    return 0;
  }

  /** NDATA with what has changed of the node's own metrics, all of them when that is long ago; they describe the present, hence transient. */
  function tellNode(): void {
    const nowMs = clock.now();
    const now = view(nowMs);
    const [texts, before] = [textOf(nodeStateMetrics(now)), told];
    const isDue = Math.abs(nowMs - toldMs) >= nodeHeartbeatMs;
    const changed = new Set(
      [...texts].filter(([name, text]) => isDue || text !== before.get(name)).map(([name]) => name),
    );
    if (!nodeBorn || changed.size === 0 || link.isCongested()) return;
    told = texts;
    toldMs = nowMs;
    emitNode("NDATA", nowMs, (longest) =>
      nodeStateMetrics(now, longest)
        .filter(({ name = "" }) => changed.has(name))
        .map((metric) => ({ ...metric, transient: true })),
    );
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

const withoutEarlier = (metric: KnownMetric): KnownMetric => ({ ...metric, earlier: [] });

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
