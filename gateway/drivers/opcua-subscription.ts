import type { Clock } from "@jilian/domain/clock.ts";
import type { JilianError } from "@jilian/domain/errors.ts";
import { statusName } from "@jilian/domain/quality.ts";
import type { ClientSubscription, NodeId } from "node-opcua-client";
import type { Logger } from "pino";
import { atMostEvery } from "../log-limit.ts";
import type { RawReading } from "../model.ts";
import type { OpcuaDevice } from "./opcua-config.ts";
import { type OpcuaConnection, takeLeave } from "./opcua-connection.ts";
import { type OpcuaValue, opcuaValueOf } from "./opcua-decode.ts";
import { connectionLost, nothingReadable, type OpcuaTarget, sessionLost, subscriptionDead } from "./opcua-errors.ts";
import { createItems, tagOf, takeChanges } from "./opcua-items.ts";
import { resolveNodeId } from "./opcua-nodes.ts";
import { changeAt } from "./opcua-notification.ts";
import { startSubscription } from "./opcua-start.ts";
import { createStream, type OpcuaStream } from "./opcua-stream.ts";

/** A device's subscription: it works until it is found dead, and never after. */
export type OpcuaSubscription = {
  /** What came since the last read. @throws JilianError when the subscription is dead or its connection gone */
  readonly read: () => RawReading[];
  /** The changes that came since the last read, whatever has become of the server. */
  readonly rest: () => RawReading[];
  readonly close: () => Promise<void>;
};

export type SubscribeOptions = {
  readonly clock: Clock;
  readonly log: Logger;
  /** Tags whose changes the server has withheld before; they are read, and no reason for a new subscription any more. */
  readonly withheld: Set<number>;
  /** How long a tag that the server does not have is left out before it is tried again, machine time. */
  readonly retryRefusedMs: number;
};

/** The library asks for no less: a keep-alive after so many empty publishing intervals. */
const fewestKeepAlives = 3;
const longestKeepAliveMs = 5000;
/** A subscription outlives a cut of the network that long. */
const lifetimeMs = 30_000;
const maxNotificationsPerPublish = 1000;
const badNodeIdUnknown = 0x80340000;
const badNodeIdInvalid = 0x80330000;
const badUnexpectedError = 0x80010000;
const mostNamed = 5;

/** Intervals of a subscription, in machine time. */
function intervalsOf(device: OpcuaDevice, clock: Clock) {
  const { publishingIntervalMs: publishingMs, timeoutMs } = device;
  const wantedMs = Math.min(longestKeepAliveMs, device.heartbeatMs / clock.rate / 2);
  const keepAlives = Math.max(fewestKeepAlives, Math.floor(wantedMs / publishingMs));
  const keepAliveMs = keepAlives * publishingMs;
  return {
    publishingMs,
    keepAlives,
    keepAliveMs,
    /** So long without a word from the server, cut or not, is the end: values must not look alive that are not. */
    holdMs: 3 * keepAliveMs + timeoutMs,
    /** How often a quiet tag is checked by a read. */
    checkMs: Math.max(device.heartbeatMs / clock.rate, 4 * publishingMs),
  };
}

type Parts = {
  readonly device: OpcuaDevice;
  readonly connection: OpcuaConnection;
  readonly subscription: ClientSubscription;
  readonly stream: OpcuaStream;
  readonly target: OpcuaTarget;
  readonly log: Logger;
};

/** The node ids of this session, by position; what cannot be one is refused at once. */
function resolveTags({ device, connection, stream }: Omit<Parts, "subscription">): Map<number, NodeId> {
  const { coerceNodeId } = connection.library.opcua;
  const found = new Map<number, NodeId>();
  for (const [i, { nodeId }] of device.tags.entries()) {
    const resolved = resolveNodeId(nodeId, connection.namespaces);
    if (typeof resolved !== "string") {
      stream.refuse(i, badNodeIdUnknown);
      continue;
    }
    try {
      found.set(i, coerceNodeId(resolved));
    } catch {
      stream.refuse(i, badNodeIdInvalid);
    }
  }
  return found;
}

/** Monitors some tags in one request; each has its own verdict, and one that is refused says nothing about the others. */
async function monitorBatch(
  { connection, subscription: { subscriptionId }, stream, device }: Parts,
  nodeIds: ReadonlyMap<number, NodeId>,
  tags: readonly number[],
): Promise<void> {
  const items = tags.map((tag) => ({ tag, nodeId: nodeIds.get(tag) as NodeId }));
  const results = await connection.request("monitor tags", () =>
    createItems(connection, { subscriptionId, device, items }),
  );
  for (const [i, tag] of tags.entries()) {
    const { statusCode, revisedSamplingInterval } = results[i] ?? {};
    if (statusCode?.isGoodish()) stream.accept(tag, revisedSamplingInterval ?? device.samplingIntervalMs);
    else stream.refuse(tag, (statusCode?.value ?? badUnexpectedError) >>> 0);
  }
}

async function monitor(parts: Parts, nodeIds: ReadonlyMap<number, NodeId>, tags: readonly number[]): Promise<void> {
  const { batch } = parts.connection;
  for (let i = 0; i < tags.length; i += batch) await monitorBatch(parts, nodeIds, tags.slice(i, i + batch));
}

/** Refused tags in words, a few of them. */
function namesOf({ device }: Pick<Parts, "device">, refused: readonly { tag: number; status: number }[]): string[] {
  const named = refused.slice(0, mostNamed).map(({ tag, status }) => {
    const { name, nodeId } = device.tags[tag] ?? {};
    return `${name} ${nodeId} ${statusName(status)}`;
  });
  const more = refused.length - named.length;
  return more > 0 ? [...named, `and ${more} more`] : named;
}

function createDeviceStream(
  device: OpcuaDevice,
  { catchesUp }: OpcuaConnection,
  { clock, log }: SubscribeOptions,
): OpcuaStream {
  const skewed = atMostEvery(3_600_000);
  const dropped = atMostEvery(60_000);
  const intervals = intervalsOf(device, clock);
  return createStream(
    {
      tags: device.tags,
      sentinels: device.sentinels,
      ...intervals,
      samplingMs: device.samplingIntervalMs,
      clock,
      catchesUp,
    },
    {
      onMisfit: ({ name, nodeId }, misfit) => log.warn({ tag: name, nodeId }, `the tag is bad: ${misfit}`),
      onSkew: ({ name }, skewMs) =>
        skewed(() => {
          const remedy = "the gateway's time is taken, uncertain; set the clocks of source and gateway (NTP)";
          log.warn({ code: "OPCUA_CLOCK_SKEW", tag: name, skewMs }, `the source's clock is wrong; ${remedy}`);
        }),
      onDropped: (count) =>
        dropped((before) => log.warn({ count, before }, "more changes than polls take; the oldest are dropped")),
    },
  );
}

/** The reads that check quiet tags, one request at a time, beside the polls. */
function createChecker(parts: Parts, nodeIds: ReadonlyMap<number, NodeId>, checkMs: number, withheld: Set<number>) {
  const { connection, stream, device, log } = parts;
  let running = false;
  let dead: string | undefined;

  async function check(tags: readonly number[]): Promise<void> {
    const found = await connection.look(tags.map((tag) => nodeIds.get(tag) as NodeId));
    for (const [i, read] of (found ?? []).entries()) {
      const tag = tags[i] as number;
      const value = opcuaValueOf(read);
      if (!stream.check(tag, value)) continue;
      const { name } = device.tags[tag] ?? {};
      if (withheld.has(tag)) {
        stream.observed(tag, value);
        continue;
      }
      withheld.add(tag);
      log.warn({ tag: name }, "the server has not told a change of this tag");
      dead ??= `the server did not tell a change of tag ${name}`;
    }
  }

  return {
    /** What was found dead; starts the next check when some are due. */
    step(): string | undefined {
      const tags = running ? [] : stream.quiet(checkMs, connection.batch);
      if (tags.length > 0) {
        running = true;
        void check(tags).finally(() => {
          running = false;
        });
      }
      return dead;
    },
  };
}

/**
 * Subscribes to every tag of a device, in batches, and waits for the first values.
 *
 * It is alive while the server answers publish requests for it, with changes or with keep-alives; silence beyond a bound, a changed session
 * or subscription id, or a change that the server was found not to have told are its end.
 * @throws JilianError OPCUA_NOTHING_READABLE, OPCUA_SUBSCRIPTION_DEAD, OPCUA_TOO_MANY_*, and those of the connection
 */
export async function subscribe(
  device: OpcuaDevice,
  connection: OpcuaConnection,
  options: SubscribeOptions,
): Promise<OpcuaSubscription> {
  const { id, endpointUrl, timeoutMs } = device;
  const target: OpcuaTarget = { device: id, endpointUrl, timeoutMs };
  const { log, clock, withheld, retryRefusedMs } = options;
  const { session } = connection;
  const { publishingMs, keepAlives, holdMs, checkMs } = intervalsOf(device, clock);
  const stream = createDeviceStream(device, connection, options);
  const subscription = await connection.request("create a subscription", () =>
    startSubscription(connection.library, session, {
      requestedPublishingInterval: publishingMs,
      requestedMaxKeepAliveCount: keepAlives,
      requestedLifetimeCount: Math.max(4 * keepAlives, Math.ceil(lifetimeMs / publishingMs)),
      maxNotificationsPerPublish,
      publishingEnabled: true,
      priority: 1,
    }),
  );
  const ids = () => `${session.sessionId.toString()} ${subscription.subscriptionId}`;
  const own = ids();
  let ended: JilianError | undefined;
  /** The rest was handed on: a subscription that is dead for one tag may go on telling of others. */
  let emptied = false;
  let retrying = false;
  let retriedMs = performance.now();
  let publishedMs: number | undefined;
  /** 1 for a tag of which a value has come. */
  const begun = new Uint8Array(device.tags.length);
  const arrived = (tag: number, value: OpcuaValue) => {
    if (device.tags[tag] === undefined) return;
    // A change that is told after the first value: the server lives up to its word again.
    if (withheld.size > 0 && begun[tag] === 1) withheld.delete(tag);
    begun[tag] = 1;
    try {
      stream.arrived(tag, value);
    } catch (err) {
      // The library has nobody catch it: the process would end.
      log.error({ err, tag: device.tags[tag].name }, "a change could not be taken");
    }
  };
  subscription.on("raw_notification", (message) => {
    publishedMs = message.publishTime?.getTime();
    const taken = takeChanges(connection.library, message);
    // One look at the clocks for all of them.
    if (taken.length > 0) stream.proved(publishedMs);
    for (const changes of taken) {
      const { clientHandles } = changes;
      for (let i = 0; i < clientHandles.length; i += 1) {
        arrived(tagOf(clientHandles[i] as number), changeAt(changes, i));
      }
    }
  });
  subscription.on("keepalive", () => stream.proved(publishedMs));
  subscription.on("status_changed", (status) => {
    if (!status.isGoodish()) ended ??= sessionLost(target, `the server has ended the subscription (${status.name})`);
  });
  const parts: Parts = { device, connection, subscription, stream, target, log };

  async function close(): Promise<void> {
    for (const event of ["keepalive", "raw_notification"]) subscription.removeAllListeners(event);
    if (connection.broken() === undefined && !connection.isCut()) await takeLeave(subscription.terminate());
  }

  async function start(): Promise<ReadonlyMap<number, NodeId>> {
    const nodeIds = resolveTags(parts);
    await monitor(parts, nodeIds, [...nodeIds.keys()]);
    const refused = stream.refused();
    if (refused.length === device.tags.length) {
      throw nothingReadable(target, namesOf(parts, refused), refused[0]?.status ?? badNodeIdUnknown);
    }
    if (refused.length > 0) {
      const remedy = "they are bad until the server has them; the others are not touched";
      log.warn({ tags: refused.length }, `the server refuses ${namesOf(parts, refused).join("; ")}; ${remedy}`);
    }
    await stream.firstValues(Math.min(timeoutMs, 2 * publishingMs + device.samplingIntervalMs + 1000));
    if (!stream.hasSpoken()) throw subscriptionDead(target, "the server accepts the subscription and sends nothing");
    return nodeIds;
  }

  const nodeIds = await start().catch(async (thrown: unknown) => {
    await close();
    throw thrown;
  });
  const checker = createChecker(parts, nodeIds, checkMs, withheld);

  /** Tags that the server did not have may have come with a new program of the PLC. */
  function retryRefused(): void {
    if (performance.now() - retriedMs < retryRefusedMs) return;
    retriedMs = performance.now();
    const tags = stream.refused().flatMap(({ tag }) => (nodeIds.has(tag) ? [tag] : []));
    if (retrying || tags.length === 0) return;
    retrying = true;
    void monitorReadable(tags)
      .catch((err) => log.debug({ err }, "refused tags again"))
      .finally(() => {
        retrying = false;
      });
  }

  /** A read costs the server less than an item that it has to refuse again: only what can be read is asked for. */
  async function monitorReadable(tags: readonly number[]): Promise<void> {
    for (let i = 0; i < tags.length; i += connection.batch) {
      const some = tags.slice(i, i + connection.batch);
      const found = await connection.look(some.map((tag) => nodeIds.get(tag) as NodeId));
      const readable = some.filter((_, n) => found?.[n]?.statusCode.isGoodish() === true);
      if (readable.length > 0) await monitor(parts, nodeIds, readable);
    }
  }

  function findEnd(): JilianError | undefined {
    const broken = connection.broken() ?? ended;
    if (broken !== undefined) return broken;
    if (ids() !== own) return sessionLost(target, "the session was replaced");
    const silentMs = stream.silentMs();
    if (silentMs > holdMs) {
      const seconds = `${(silentMs / 1000).toFixed(1)} s`;
      if (connection.isCut()) return connectionLost(target, `no connection for ${seconds}`);
      return subscriptionDead(target, `connected, and no word of the subscription for ${seconds}`);
    }
    if (connection.isCut()) return undefined;
    retryRefused();
    const dead = checker.step();
    return dead === undefined ? undefined : subscriptionDead(target, dead);
  }

  return {
    read() {
      ended ??= findEnd();
      if (ended === undefined) return stream.drain();
      // What the server told before it was gone is acknowledged and comes from nobody else: it goes first, the end with the next poll.
      const rest = emptied ? [] : stream.rest();
      emptied = true;
      if (rest.length > 0) return rest;
      throw ended;
    },
    rest: stream.rest,
    close,
  };
}
