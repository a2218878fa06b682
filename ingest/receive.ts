import type { Clock } from "@jilian/domain/clock.ts";
import { decodeHeader, outboxUuid, type RecordHeader } from "@jilian/domain/commit.ts";
import { type DataTypeNumber, fromWire, isSupported, type Value } from "@jilian/domain/datatypes.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { qualityOf, Status, statusFromSparkplug } from "@jilian/domain/quality.ts";
import { type InMetric, type InPayload, numberProperty } from "@jilian/domain/sparkplug/payload.ts";
import { parseTopic, type SparkplugTopic } from "@jilian/domain/topics.ts";
import { count } from "@jilian/store/live.ts";
import type { Logger } from "pino";
import type { CommitBook } from "./commit-book.ts";
import type { LiveWriter } from "./live-writer.ts";
import type { NodeWatch } from "./node-watch.ts";
import type { QueuedRecord, QueuedSample, RecordQueue } from "./queue.ts";
import { rebirthAsker } from "./rebirths.ts";
import {
  type BornMetric,
  bdSeqOf,
  beginSession,
  declare,
  find,
  followSeq,
  metricsOf,
  type NodeSession,
  newSession,
} from "./sessions.ts";
import { readMessage } from "./unpack.ts";

export type ReceiverParts = {
  queue: RecordQueue;
  book: CommitBook;
  live: LiveWriter;
  watch: Pick<NodeWatch, "born" | "told">;
  clock: Clock;
  log: Logger;
  reorderMs: number;
  rebirthIntervalMs: number;
  /** Asks a node for its births again. Never throws. */
  requestRebirth: (group: string, node: string) => void;
};

export type Receiver = {
  readonly handle: (topic: string, payload: Uint8Array) => void;
  /** The way to the nodes was cut: what they said meanwhile is not known, so each is taken as dead until it is heard again. */
  readonly lost: () => void;
  readonly close: () => void;
};

const maxInt64 = 2n ** 63n - 1n;

/** A value as the stores can hold it: what they cannot becomes null and bad, with the reason (CONTRACTS 5). */
function acceptable(value: Value, status: number): { value: Value; status: number } {
  const bad = (reason: number) => ({ value: null, status: qualityOf(status) === "bad" ? status : reason });
  if (value === null) return bad(Status.Bad);
  if (typeof value === "number" && !Number.isFinite(value)) return bad(Status.BadSensorFailure);
  if (typeof value === "bigint" && value > maxInt64) return bad(Status.BadOutOfRange);
  return { value, status };
}

/**
 * Reads one metric of a data message or of a foreign node's birth. A value that contradicts its type is kept as bad, never guessed.
 * @param ownTypes in records of an outbox: a value that waited while its metric's datatype was changed carries the one it was read with
 */
function sampleOf(metric: InMetric, born: BornMetric, atMs: number, ownTypes: boolean): QueuedSample {
  const own = ownTypes && metric.datatype !== undefined && isSupported(metric.datatype);
  const datatype = own ? (metric.datatype as DataTypeNumber) : born.definition.datatype;
  const sample = { metric: born, sourceTimeMs: metric.timestampMs ?? atMs, gatewayTimeMs: atMs };
  const undecodable = { ...sample, value: null, status: Status.BadDecodingError };
  // Datatype 0 is Unknown (Sparkplug 3.0, 6.4.16): some encoders write it where it should be left out.
  if (metric.datatype && metric.datatype !== datatype) return undecodable;
  const stated = statusFromSparkplug(
    numberProperty(metric.properties, "Quality"),
    numberProperty(metric.properties, "StatusCode"),
  );
  try {
    return { ...sample, ...acceptable(metric.isNull ? null : fromWire(datatype, metric.wire), stated) };
  } catch {
    return undecodable;
  }
}

/** Values by the names of their metrics. */
function valuesOf(samples: readonly QueuedSample[]): Map<string, Value> {
  return new Map(samples.map(({ metric, value }) => [metric.key.metric, value]));
}

/**
 * The Sparkplug host application (Sparkplug 3.0, 6.4.20): births, aliases and seq are handled here, at once and in order; only data goes
 * to the queue and only data is shed. Nothing in here waits or throws.
 */
export function createReceiver(parts: ReceiverParts): Receiver {
  const { queue, book, live, watch, clock, log } = parts;
  const sessions = new Map<string, NodeSession>();
  const reorderTimers = new Map<NodeSession, NodeJS.Timeout>();
  const rebirths = rebirthAsker(parts.rebirthIntervalMs, ({ group, node }, why) => {
    count(live.state, "rebirthRequests");
    log.info({ node: `${group}/${node}`, why }, "asking the node for its births");
    parts.requestRebirth(group, node);
  });

  function sessionOf({ group, node }: SparkplugTopic): NodeSession {
    return getOrMake(sessions, `${group}/${node}`, () => newSession(group, node));
  }

  /** Waits for what is missing now. What goes missing meanwhile has its own wait afterwards, and does not prolong this one. */
  function awaitMissing(session: NodeSession): void {
    const awaited = [...session.missing];
    const timer = setTimeout(() => {
      reorderTimers.delete(session);
      if (!session.alive || session.missing.size === 0) return;
      const overdue = awaited.filter((seq) => session.missing.has(seq));
      if (overdue.length > 0) rebirths.ask(session, { seq: true }, `seq gap of ${overdue.length}`, session.outbox);
      awaitMissing(session);
    }, parts.reorderMs);
    reorderTimers.set(session, timer);
  }

  function stopWaiting(session: NodeSession): void {
    clearTimeout(reorderTimers.get(session));
    reorderTimers.delete(session);
  }

  function watchSeq(session: NodeSession, seq: number | undefined): void {
    if (seq !== undefined && followSeq(session, seq) && !reorderTimers.has(session)) awaitMissing(session);
  }

  function enqueue(record: QueuedRecord): void {
    if (queue.push(record)) return;
    if (record.record) book.release(record.group, record.node, record.record);
    count(live.state, "shedSamples", record.samples.length);
  }

  function birth(session: NodeSession, topic: SparkplugTopic, payload: InPayload): void {
    const device = topic.device ?? "";
    let refused: string[];
    if (topic.type === "NBIRTH") {
      stopWaiting(session);
      refused = beginSession(session, payload, clock.now());
      live.nodeBorn(session);
    } else {
      if (!session.alive) {
        rebirths.ask(session, {}, "DBIRTH without NBIRTH", session.outbox);
        return;
      }
      watchSeq(session, payload.seq);
      refused = declare(session, device, payload, clock.now());
      session.born.add(device);
      live.deviceBorn(session, device);
    }
    rebirths.born(session, device);
    if (refused.length > 0)
      log.warn(
        { code: "METRIC_UNSUPPORTED", node: `${topic.group}/${topic.node}`, device, metrics: refused },
        "metrics that are not carried: of a type without a series, without a name, or under an alias of two",
      );
    queue.bear(metricsOf(session, device).filter(({ seriesId }) => seriesId === undefined));
    const samples = takeBirthValues(session, topic, payload);
    if (topic.type === "NBIRTH" && session.outbox) watch.born(session.group, session.node, valuesOf(samples));
  }

  /** @returns all values of the birth */
  function takeBirthValues(session: NodeSession, topic: SparkplugTopic, payload: InPayload): QueuedSample[] {
    const { group, node, device = "" } = topic;
    const atMs = payload.timestampMs ?? clock.now();
    const samples: QueuedSample[] = [];
    const found: QueuedSample[] = [];
    for (const metric of payload.metrics) {
      const born = find(session, device, metric);
      if (typeof born !== "object" || metric.isNull || !metric.name) continue;
      const sample = sampleOf(metric, born, atMs, false);
      live.sample(sample, metric.historical);
      found.push(sample);
      // A node with an outbox sends every reading as a record of its own; the values in its births only repeat them.
      if (!session.outbox && !metric.transient) samples.push(sample);
    }
    if (samples.length > 0) enqueue({ group, node, record: undefined, samples, receivedAtMs: clock.now() });
    return found;
  }

  function death(session: NodeSession, topic: SparkplugTopic, payload: InPayload): void {
    if (topic.type === "DDEATH") {
      watchSeq(session, payload.seq);
      session.born.delete(topic.device ?? "");
      live.deviceDied(session, topic.device ?? "");
      return;
    }
    // An old session's will may arrive after the new birth: only the will that belongs to the last birth counts. Nodes that say none have
    // one kind of death only, and are asked for births when they say more.
    const bdSeq = bdSeqOf(payload);
    if (bdSeq !== undefined && bdSeq !== session.bdSeq) return;
    end(session);
  }

  function end(session: NodeSession): void {
    stopWaiting(session);
    session.alive = false;
    session.born.clear();
    live.nodeDied(session);
  }

  function data(session: NodeSession, topic: SparkplugTopic, payload: InPayload): void {
    const device = topic.device ?? "";
    const header = payload.uuid === outboxUuid && payload.body ? decodeHeader(payload.body) : undefined;
    if (session.alive) watchSeq(session, payload.seq);
    const isOurs = session.outbox || header !== undefined;
    if (!session.alive || (device !== "" && !session.born.has(device))) {
      rebirths.ask(session, session.alive ? { device } : {}, `data of an unborn ${device || "node"}`, isOurs);
      if (!isOurs) count(live.state, "uncarriedSamples", payload.metrics.length);
      return;
    }
    const atMs = header?.writtenAtMs ?? payload.timestampMs ?? clock.now();
    const samples: QueuedSample[] = [];
    const ofNode: QueuedSample[] = [];
    let newestLiveMs: number | undefined;
    for (const metric of payload.metrics) {
      const born = find(session, device, metric);
      if (born === "protocol") continue;
      if (born === "uncarried") {
        // Of a record it is freed with the rest, so that nobody would hear of it again.
        count(live.state, "uncarriedSamples");
        continue;
      }
      if (!born) {
        const what = metric.name || metric.alias;
        rebirths.ask(session, { device, metric }, `unknown metric ${what} of ${device || "node"}`, isOurs);
        // A record is stored whole or not at all: with an unknown alias it stays uncommitted and comes again after the births.
        if (header) return;
        count(live.state, "uncarriedSamples");
        // What no outbox keeps is lost if it is not taken now; but while a birth may be missing, aliases may mean something else.
        if (session.missing.size === 0 || payload.metrics.every(({ name }) => name)) continue;
        return;
      }
      const sample = sampleOf(metric, born, atMs, header !== undefined);
      live.sample(sample, metric.historical);
      if (device === "" && session.outbox) ofNode.push(sample);
      if (metric.transient) continue;
      samples.push(sample);
      if (!metric.historical) newestLiveMs = Math.max(newestLiveMs ?? 0, sample.sourceTimeMs);
    }
    count(live.state, "receivedSamples", samples.length);
    if (ofNode.length > 0) watch.told(topic.group, topic.node, valuesOf(ofNode));
    if (samples.length > 0 || header) take(topic, header, samples, newestLiveMs);
  }

  /** Queues what a data message holds, unless it is a record that is here already or that the store has just refused. */
  function take(
    { group, node }: SparkplugTopic,
    record: RecordHeader | undefined,
    samples: QueuedSample[],
    newestLiveMs: number | undefined,
  ): void {
    const claim = record ? book.claim(group, node, record) : "new";
    if (claim === "new" || claim === "again") {
      if (claim === "again") count(live.state, "recheckedRecords");
      enqueue({ group, node, record, samples, receivedAtMs: clock.now(), newestLiveMs, again: claim === "again" });
    } else count(live.state, claim === "refused" ? "refusedAgainRecords" : "repeatedRecords");
  }

  function handle(topicText: string, bytes: Uint8Array): void {
    const topic = parseTopic(topicText);
    if (!topic || topic.type.endsWith("CMD")) return;
    count(live.state, "receivedMessages");
    try {
      const payload = readMessage(bytes);
      const session = sessionOf(topic);
      if (topic.type.endsWith("BIRTH")) birth(session, topic, payload);
      else if (topic.type.endsWith("DEATH")) death(session, topic, payload);
      else data(session, topic, payload);
    } catch (error) {
      count(live.state, "unreadableMessages");
      log.warn(
        { code: "MESSAGE_REFUSED", topic: topicText, bytes: bytes.length, err: messageOf(error) },
        "a message could not be used",
      );
    }
  }

  return {
    handle,
    lost: () => {
      for (const session of sessions.values()) if (session.alive) end(session);
    },
    close: () => {
      for (const timer of reorderTimers.values()) clearTimeout(timer);
    },
  };
}
