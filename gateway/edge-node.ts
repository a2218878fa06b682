import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "@jilian/domain/clock.ts";
import type { CommitNotice } from "@jilian/domain/commit.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { stateTopic, topicOf } from "@jilian/domain/topics.ts";
import type { Logger } from "pino";
import { deathPayload } from "./births.ts";
import { type ClockOffset, type OffsetMeter, offsetMeter } from "./clock-offset.ts";
import { commandReader, readHostState } from "./edge-commands.ts";
import { type CommitStats, commitReader } from "./edge-commit.ts";
import { type BrokerSettings, brokerAddress, type Link, openLink } from "./edge-link.ts";
import { type EdgeSession, edgeSession } from "./edge-session.ts";
import { type EdgeState, edgeState } from "./edge-state.ts";
import { unbornDevices } from "./edge-unborn.ts";
import { atMostEvery } from "./log-limit.ts";
import type { Connection, OutboxRecord } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { defaultMaxPayloadBytes } from "./payload-limit.ts";
import { backOffMs, wait } from "./schedule.ts";
import { createSender, type Sender, type SenderSettings, type SenderStats } from "./sender.ts";

export type EdgeNodeOptions = {
  group: string;
  node: string;
  /** Ids of the configured devices. */
  devices: readonly string[];
  broker: BrokerSettings & {
    reconnectMinMs: number;
    reconnectMaxMs: number;
    /** Of a message; {@link defaultMaxPayloadBytes} when absent. */
    maxPayloadBytes?: number;
  };
  settings: SenderSettings;
  /** Sparkplug host id to wait for before any birth. */
  primaryHost?: string;
  outbox: OpenedOutbox;
  clock: Clock;
  log: Logger;
};

export type EdgeNode = {
  /** Other devices are configured now, by id: births tell it. One that is gone ends when its backlog has drained. */
  readonly setDevices: (devices: readonly string[]) => void;
  /** The metrics of a device as now declared in the outbox; a change gives a new DBIRTH. */
  readonly deviceDefinitions: (device: string, definitions: readonly MetricDefinition[]) => void;
  readonly deviceConnection: (device: string, connection: Connection) => void;
  /** A record is on disk: it goes out at once if it can, and otherwise later as backlog. */
  readonly recordWritten: (record: OutboxRecord) => void;
  /** Takes leave of the broker and connects again; what is written meanwhile waits in the outbox. */
  readonly reconnect: (why: string) => Promise<void>;
  readonly stats: () => {
    born: boolean;
    connected: boolean;
    connects: number;
    clockOffset: ClockOffset | undefined;
  } & SenderStats &
    CommitStats;
  /** NDEATH, DISCONNECT; ends within a second whatever the broker does. */
  readonly close: () => Promise<void>;
};

const pumpMs = 50;
const tellNodeMs = 1000;
/** Requests within this time are answered by one rebirth; and there is at most one a second. */
const gatherRebirthsMs = 50;
const rebirthMs = 1000;
const closeBoundMs = 400;

/** The connection in use, if there is one. */
type Now = { session: EdgeSession | undefined; link: Link | undefined };

/** Requests for births: those that come together are answered by one, and there is at most one a second. */
function rebirthGate(birth: () => void) {
  let timer: NodeJS.Timeout | undefined;
  let bornMs = 0;

  function stop(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  return {
    ask: (): void => {
      timer ??= setTimeout(birth, Math.max(gatherRebirthsMs, bornMs + rebirthMs - performance.now()));
    },
    /** Births go out now: what was asked for is answered. */
    born: (): void => {
      stop();
      bornMs = performance.now();
    },
    stop,
  };
}

/** The primary host: births wait for it; when it leaves, the node leaves too and waits connected again (Sparkplug 3.0, 5.4). */
function hostWatch(id: string | undefined, on: { online: () => void; offline: () => void }) {
  let timestampMs = 0;
  /** As told on the connection in use: what was true before it counts no more. */
  let online = false;
  return {
    filters: id === undefined ? [] : [stateTopic(id)],
    isOwn: (topic: string): boolean => id !== undefined && topic === stateTopic(id),
    isThere: (): boolean => id === undefined || online,
    /** Another connection begins. */
    forget: (): void => {
      online = false;
    },
    read: (payload: Uint8Array): void => {
      const found = readHostState(payload);
      if (!found || found.timestampMs < timestampMs) return;
      timestampMs = found.timestampMs;
      online = found.online;
      if (online) on.online();
      else on.offline();
    },
  };
}

/** Tells why there is no connection, once a minute. */
function failureTeller({ broker, log }: EdgeNodeOptions): (thrown: unknown, attempt: number) => void {
  const tell = atMostEvery(60_000);
  return (thrown, attempt) => {
    const address = brokerAddress(broker);
    const remedy = thrown instanceof JilianError ? thrown.remedy : "this is a defect of the gateway, please report it";
    tell((heldBack) =>
      log.warn({ code: codeOf(thrown), address, attempt, remedy, heldBack }, `no broker: ${messageOf(thrown)}`),
    );
  };
}

/** Connects again and again until it is closed. @param connectOnce resolves when the connection has ended, with how long it lasted, ms */
async function keepConnected(
  options: EdgeNodeOptions,
  connectOnce: () => Promise<number>,
  signal: AbortSignal,
): Promise<void> {
  const { reconnectMinMs: retryMinMs, reconnectMaxMs: retryMaxMs } = options.broker;
  const tellWhy = failureTeller(options);
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      // Only a connection that lasted starts the back-off anew: a broker that accepts and drops us is spared as well.
      if ((await connectOnce()) > retryMaxMs) attempt = 0;
    } catch (thrown) {
      if (signal.aborted) return;
      tellWhy(thrown, attempt);
    }
    await wait(backOffMs(attempt, { retryMinMs, retryMaxMs }), signal).catch(() => undefined);
  }
}

/** NDEATH first, then DISCONNECT, both within a bound: a broker that does not answer must not keep a gateway from ending. */
async function takeLeave({ session, link }: Now): Promise<void> {
  if (!session || !link) return;
  const bound = delay(closeBoundMs, undefined, { ref: false });
  await Promise.race([session.death().catch(() => undefined), link.closed, bound]);
  await link.end(closeBoundMs);
}

/** Opens a connection whose will is the node's death. */
function openNode(
  { group, node, broker, clock }: EdgeNodeOptions,
  bdSeq: number,
  on: Pick<Parameters<typeof openLink>[0], "onMessage" | "onDrain" | "onOpen" | "signal"> & {
    filters: readonly string[];
  },
): Promise<Link> {
  const commands = [topicOf({ group, type: "NCMD", node }), topicOf({ group, type: "DCMD", node, device: "+" })];
  const will = {
    topic: topicOf({ group, type: "NDEATH", node }),
    payload: encodePayload(deathPayload(bdSeq, clock.now())),
  };
  return openLink({ ...on, broker, clientId: `${group}/${node}`, will, filters: [...commands, ...on.filters] });
}

/** Runs the Sparkplug edge node of a gateway: connects, births, sends, obeys, and starts over for ever. Nothing in it throws. */
export function startEdgeNode(options: EdgeNodeOptions): EdgeNode {
  const { outbox, clock, log } = options;
  const state = edgeState(outbox, options.devices);
  const sender = createSender({ outbox, settings: options.settings, log });
  const offset = offsetMeter();
  const onConfirmed = (notice: CommitNotice): void => offset.note(notice, outbox.epoch, clock.now());
  const commits = commitReader({ outbox, sender, log, onConfirmed });
  const closing = new AbortController();
  const now: Now = { session: undefined, link: undefined };
  const connectOnce = connector({ options, state, sender, commits, offset, closing: closing.signal, now });
  const running = keepConnected(options, connectOnce.connect, closing.signal);
  return {
    deviceDefinitions: (device, definitions) => {
      if (state.define(device, definitions)) now.session?.reconcile(device);
    },
    setDevices: (devices) => {
      // An NBIRTH names all metrics that the node will tell (Sparkplug 3.0, 6.4.4).
      if (state.configure(devices)) connectOnce.birthAgain();
    },
    deviceConnection: (device, connection) => {
      state.connect(device, connection);
      now.session?.reconcile(device);
    },
    recordWritten: (record) => {
      state.observe(record);
      sender.live(record);
    },
    reconnect: connectOnce.leave,
    stats: () => ({
      born: now.session?.isBorn() ?? false,
      connected: now.link !== undefined,
      connects: connectOnce.connects(),
      ...sender.stats(),
      ...commits.stats(),
      clockOffset: offset.told(),
    }),
    close: async () => {
      closing.abort();
      await connectOnce.leave("closed");
      await running;
    },
  };
}

type ConnectorParts = {
  options: EdgeNodeOptions;
  state: EdgeState;
  sender: Sender;
  commits: ReturnType<typeof commitReader>;
  offset: OffsetMeter;
  closing: AbortSignal;
  now: Now;
};

/** One connection after the other, each from CONNECT to its end. */
function connector({ options, state, sender, commits, offset, closing, now }: ConnectorParts) {
  const { group, node, broker, outbox, clock, log } = options;
  const { maxPayloadBytes = defaultMaxPayloadBytes } = broker;
  const unborn = unbornDevices(log);
  const tellDefect = atMostEvery(60_000);
  const rebirths = rebirthGate(() => guarded(birth));
  const host = hostWatch(options.primaryHost, {
    online: begin,
    offline: () => {
      if (now.session?.isBorn()) void leave("primary host offline");
    },
  });
  /** Births again, once for all that asks for them within a moment. */
  const birthAgain = (): void => {
    if (now.session?.isBorn()) rebirths.ask();
  };
  const onCommand = commandReader(
    {
      onRebirth: birthAgain,
      onCommit: (notice) => {
        commits.read(notice);
        now.session?.reconcileBorn();
      },
    },
    log,
  );
  let connects = 0;
  /** Taken from the outbox for a CONNECT that never went out: bdSeq counts those that did (Sparkplug 3.0, 4.2.1). */
  let spareBdSeq: number | undefined;

  /** For what is called by timers and sockets: an exception there would end the process. The next session begins afresh. */
  function guarded(act: () => void): void {
    try {
      act();
    } catch (err) {
      tellDefect((heldBack) =>
        log.error({ code: "SESSION_FAILED", err, heldBack }, `the connection is begun anew: ${messageOf(err)}`),
      );
      void leave("a fault of the session");
    }
  }

  function birth(): void {
    rebirths.born();
    now.session?.birth();
  }

  function begin(): void {
    if (!now.session || now.session.isBorn()) return;
    birth();
    sender.begin(now.session.transport);
  }

  async function leave(why: string): Promise<void> {
    const going = { ...now };
    if (!going.session || !going.link) return;
    // From here on nothing is born or sent on this connection any more, whatever still comes in.
    now.session = undefined;
    sender.end();
    await takeLeave(going);
    log.info({ why }, "node left the broker");
  }

  /** @returns how long the connection lasted, ms */
  async function connect(): Promise<number> {
    const bdSeq = spareBdSeq ?? outbox.nextBdSeq();
    spareBdSeq = bdSeq;
    const onOpen = (): void => {
      spareBdSeq = undefined;
    };
    host.forget();
    const onMessage = (topic: string, payload: Uint8Array): void =>
      guarded(() => (host.isOwn(topic) ? host.read(payload) : onCommand(topic, payload)));
    const link = await openNode(options, bdSeq, {
      ...{ onMessage, onDrain: sender.pump, onOpen, signal: closing, filters: host.filters },
    });
    const startedMs = performance.now();
    connects += 1;
    const setBacks = () => commits.stats().setBacks;
    const setting = { group, node, link, bdSeq, state, unborn, maxPayloadBytes, outbox, setBacks, clock, log };
    Object.assign(now, { link, session: edgeSession({ ...setting, clockOffset: offset.told }) });
    const tell = (): void => {
      now.session?.tellNode();
      now.session?.reconcileBorn();
    };
    const timers = [setInterval(sender.pump, pumpMs), setInterval(() => guarded(tell), tellNodeMs)];
    try {
      if (closing.aborted) void leave("closed");
      else if (host.isThere()) guarded(begin);
      const why = await link.closed;
      if (!closing.aborted) log.warn({ code: "BROKER_LOST", bdSeq, why }, "connection to the broker ended");
    } finally {
      for (const timer of timers) clearInterval(timer);
      rebirths.stop();
      sender.end(true);
      Object.assign(now, { link: undefined, session: undefined });
    }
    return performance.now() - startedMs;
  }

  return { connect, leave, birthAgain, connects: (): number => connects };
}
