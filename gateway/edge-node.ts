import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { encodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { stateTopic, topicOf } from "@jilian/domain/topics.ts";
import type { Logger } from "pino";
import { deathPayload } from "./births.ts";
import { defaultMaxPayloadBytes } from "./config.ts";
import { commandReader, readHostState } from "./edge-commands.ts";
import { type CommitStats, commitReader } from "./edge-commit.ts";
import { type BrokerSettings, brokerAddress, type Link, openLink } from "./edge-link.ts";
import { type EdgeSession, edgeSession } from "./edge-session.ts";
import { edgeState } from "./edge-state.ts";
import { unbornDevices } from "./edge-unborn.ts";
import { atMostEvery } from "./log-limit.ts";
import type { Connection, OutboxRecord } from "./model.ts";
import type { OpenedOutbox } from "./outbox.ts";
import { backOffMs, wait } from "./schedule.ts";
import { createSender, type SenderSettings, type SenderStats } from "./sender.ts";

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
  /** The metrics of a device as now declared in the outbox; a change gives a new DBIRTH. */
  readonly deviceDefinitions: (device: string, definitions: readonly MetricDefinition[]) => void;
  readonly deviceConnection: (device: string, connection: Connection) => void;
  /** A record is on disk: it goes out at once if it can, and otherwise later as backlog. */
  readonly recordWritten: (record: OutboxRecord) => void;
  readonly stats: () => { born: boolean; connected: boolean; connects: number } & SenderStats & CommitStats;
  /** NDEATH, DISCONNECT; ends within a second whatever the broker does. */
  readonly close: () => Promise<void>;
};

const pumpMs = 50;
const tellNodeMs = 1000;
/** Requests within this time are answered by one rebirth; and there is at most one a second. */
const gatherRebirthsMs = 50;
const rebirthMs = 1000;
const closeBoundMs = 400;

/** Runs the Sparkplug edge node of a gateway: connects, births, sends, obeys, and starts over for ever. Nothing in it throws. */
export function startEdgeNode(options: EdgeNodeOptions): EdgeNode {
  const { group, node, broker, outbox, clock, log, primaryHost } = options;
  const state = edgeState(outbox, options.devices);
  const sender = createSender({ outbox, settings: options.settings, log });
  const unborn = unbornDevices(log);
  const commits = commitReader({ outbox, sender, log });
  const closing = new AbortController();
  const tellFailure = atMostEvery(60_000);
  const tellDefect = atMostEvery(60_000);
  let session: EdgeSession | undefined;
  let link: Link | undefined;
  let connects = 0;
  let hostTimestampMs = 0;
  /** As told on the connection in use: what was true before it counts no more. */
  let hostOnline = false;
  let rebirthTimer: NodeJS.Timeout | undefined;
  let bornMs = 0;

  const onCommand = commandReader(
    {
      onRebirth,
      onCommit: (notice) => {
        commits.read(notice);
        session?.reconcileBorn();
      },
    },
    log,
  );

  function birth(): void {
    clearTimeout(rebirthTimer);
    rebirthTimer = undefined;
    bornMs = performance.now();
    session?.birth();
  }

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

  function onRebirth(): void {
    if (!session?.isBorn() || rebirthTimer) return;
    const waitMs = Math.max(gatherRebirthsMs, bornMs + rebirthMs - performance.now());
    rebirthTimer = setTimeout(() => guarded(birth), waitMs);
  }

  /** Births wait for the primary host; when it leaves, the node leaves too and waits connected again (Sparkplug 3.0, 5.4). */
  function onHostState(payload: Uint8Array): void {
    const found = readHostState(payload);
    if (!found || found.timestampMs < hostTimestampMs) return;
    hostTimestampMs = found.timestampMs;
    hostOnline = found.online;
    if (found.online) begin();
    else if (session?.isBorn()) void leave("primary host offline");
  }

  function begin(): void {
    if (!session || session.isBorn()) return;
    birth();
    sender.begin(session.transport);
  }

  /** NDEATH first, then DISCONNECT, both within a bound: a broker that does not answer must not keep a gateway from ending. */
  async function leave(why: string): Promise<void> {
    const [going, over] = [session, link];
    if (!going || !over) return;
    // From here on nothing is born or sent on this connection any more, whatever still comes in.
    session = undefined;
    sender.end();
    const bound = delay(closeBoundMs, undefined, { ref: false });
    await Promise.race([going.death().catch(() => undefined), over.closed, bound]);
    await over.end(closeBoundMs);
    log.info({ why }, "node left the broker");
  }

  function onMessage(topic: string, payload: Uint8Array): void {
    if (primaryHost !== undefined && topic === stateTopic(primaryHost)) onHostState(payload);
    else onCommand(topic, payload);
  }

  function open(bdSeq: number): Promise<Link> {
    const commands = [topicOf({ group, type: "NCMD", node }), topicOf({ group, type: "DCMD", node, device: "+" })];
    return openLink({
      broker,
      clientId: `${group}/${node}`,
      will: {
        topic: topicOf({ group, type: "NDEATH", node }),
        payload: encodePayload(deathPayload(bdSeq, clock.now())),
      },
      filters: primaryHost === undefined ? commands : [...commands, stateTopic(primaryHost)],
      onMessage: (topic, payload) => guarded(() => onMessage(topic, payload)),
      onDrain: sender.pump,
      signal: closing.signal,
    });
  }

  /** One connection from CONNECT to its end; returns how long it lasted, ms. */
  async function connectOnce(): Promise<number> {
    const bdSeq = outbox.nextBdSeq();
    hostOnline = false;
    link = await open(bdSeq);
    const startedMs = performance.now();
    connects += 1;
    const setBacks = () => commits.stats().setBacks;
    const { maxPayloadBytes = defaultMaxPayloadBytes } = broker;
    const setting = { group, node, link, bdSeq, state, unborn, maxPayloadBytes, outbox, setBacks, clock, log };
    session = edgeSession(setting);
    const timers = [setInterval(sender.pump, pumpMs), setInterval(() => guarded(tell), tellNodeMs)];
    try {
      if (closing.signal.aborted) void leave("closed");
      else if (primaryHost === undefined || hostOnline) guarded(begin);
      const why = await link.closed;
      if (!closing.signal.aborted) log.warn({ code: "BROKER_LOST", bdSeq, why }, "connection to the broker ended");
    } finally {
      for (const timer of timers) clearInterval(timer);
      clearTimeout(rebirthTimer);
      rebirthTimer = undefined;
      sender.end(true);
      session = undefined;
      link = undefined;
    }
    return performance.now() - startedMs;
  }

  function tell(): void {
    session?.tellNode();
    session?.reconcileBorn();
  }

  function tellWhy(thrown: unknown, attempt: number): void {
    const address = brokerAddress(broker);
    const remedy = thrown instanceof JilianError ? thrown.remedy : "this is a defect of the gateway, please report it";
    tellFailure((heldBack) =>
      log.warn({ code: codeOf(thrown), address, attempt, remedy, heldBack }, `no broker: ${messageOf(thrown)}`),
    );
  }

  async function run(): Promise<void> {
    const { reconnectMinMs: retryMinMs, reconnectMaxMs: retryMaxMs } = broker;
    for (let attempt = 0; !closing.signal.aborted; attempt += 1) {
      try {
        // Only a connection that lasted starts the back-off anew: a broker that accepts and drops us is spared as well.
        if ((await connectOnce()) > retryMaxMs) attempt = 0;
      } catch (thrown) {
        if (closing.signal.aborted) return;
        tellWhy(thrown, attempt);
      }
      await wait(backOffMs(attempt, { retryMinMs, retryMaxMs }), closing.signal).catch(() => undefined);
    }
  }

  const running = run();
  return {
    deviceDefinitions: (device, definitions) => {
      if (state.define(device, definitions)) session?.reconcile(device);
    },
    deviceConnection: (device, connection) => {
      state.connect(device, connection);
      session?.reconcile(device);
    },
    recordWritten: (record) => {
      state.observe(record);
      sender.live(record);
    },
    stats: () => ({
      born: session?.isBorn() ?? false,
      connected: link !== undefined,
      connects,
      ...sender.stats(),
      ...commits.stats(),
    }),
    close: async () => {
      closing.abort();
      await leave("closed");
      await running;
    },
  };
}
