import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { Logger } from "pino";
import { deviceEnd, orAbort } from "./collect-end.ts";
import type { DeviceConfig } from "./config.ts";
import { definitionsOf } from "./definitions.ts";
import { commonDevice } from "./drivers/common-device.ts";
import { closedWhileIdle } from "./drivers/contract.ts";
import { type FailureKinds, withFailure } from "./failure-kinds.ts";
import type { DeviceValues } from "./last-values.ts";
import { atMostEvery } from "./log-limit.ts";
import type { CollectorEvents, Connection, Driver, RawReading } from "./model.ts";
import { backOffMs, firstPollMs, nextPoll, phaseOf, wait } from "./schedule.ts";
import { createShaper, type PollCounts, type Shaper } from "./shape.ts";

export type DeviceStats = {
  device: string;
  connected: boolean;
  polls: number;
  /** Polls left out because the one before took longer than the interval. */
  skippedPolls: number;
  /** Connects and reads that failed. */
  failures: number;
  /** The same by stable error code. */
  failureKinds: FailureKinds;
  connects: number;
  /** How often a receiver of events threw: its samples may be lost. */
  eventErrors: number;
  /** How long the last poll took, machine time. */
  lastPollMs: number;
  /** Why and when a connect or read failed last, UTC ms; also where it has recovered since. */
  lastFailure: { reason: string; atMs: number } | undefined;
};

export type Collector = {
  readonly stats: () => DeviceStats[];
  /** Ends some devices, by id, and leaves the others alone; those that are not there are nothing to do. Within a second, also when one hangs. */
  readonly stop: (ids: ReadonlySet<string>) => Promise<void>;
  /** Has a group of tags of a device read at its next poll. @returns whether there is one of that name */
  readonly ask: (device: string, group: string) => boolean;
  /** What each tag of each device was when it was read last. */
  readonly values: () => DeviceValues[];
  /** Begins devices that are not collected. */
  readonly start: (devices: readonly DeviceConfig[]) => void;
  /** Ends within a second, also when a device hangs. */
  readonly close: () => Promise<void>;
};

/** Told of every poll, for the completeness ledger, before the samples that it made are delivered. */
export type PollObserver = {
  readonly answered: (device: string, counts: PollCounts) => void;
  /** Polls that an overrun left out. */
  readonly skipped: (device: string, polls: number) => void;
  /**
   * The device could not be read, again and again until it answers.
   * @param code stable code of the reason
   * @param sinceMs when the attempt began, UTC ms
   * @param marked samples made because of it
   */
  readonly failed: (device: string, code: string, sinceMs: number, marked: number) => void;
  /**
   * What was held back makes samples after all, though no poll follows.
   * @param readings of earlier polls
   * @param marked samples of derived tags
   */
  readonly released: (device: string, readings: number, marked: number) => void;
  /** What a device had told by itself since its last poll was taken, and no poll follows. */
  readonly remained: (device: string, counts: PollCounts) => void;
};

export type CollectorOptions = {
  readonly devices: readonly DeviceConfig[];
  readonly createDriver: (device: DeviceConfig) => Driver;
  readonly clock: Clock;
  readonly events: CollectorEvents;
  readonly polls?: PollObserver;
  readonly log: Logger;
  /** Greatest source time a device ever had, durable; 0 for none. */
  readonly lastSourceTimeMs: (device: string) => number;
};

const closeBoundMs = 800;
/** A reason that was logged is logged again after so long; of many different ones so many in that time. */
const logAgainMs = 600_000;
const mostReasons = 20;
const driverFault = "DRIVER_FAULT";

/** One line for whoever repairs it: `MODBUS_CONNECT_REFUSED 192.168.1.5:502: connection refused; is the PLC powered ...?` */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof JilianError)) {
    return `${driverFault} ${codeOf(thrown)}: ${messageOf(thrown)}; this is a defect of the gateway, please report it`;
  }
  const where = thrown.address === undefined ? "" : ` ${thrown.address}`;
  return `${thrown.code}${where}: ${thrown.message}; ${thrown.remedy}`;
}

type Supervised = {
  readonly stats: DeviceStats;
  readonly values: () => DeviceValues;
  readonly ask: (group: string) => boolean;
  readonly close: () => Promise<void>;
};

/** Supervises one device: connect, poll on its grid, and after any failure close, report, back off and start again, for ever. */
function supervise(device: DeviceConfig, options: CollectorOptions): Supervised {
  const { clock, events, polls } = options;
  const log = options.log.child({ device: device.id });
  const { leaving, stopping, end } = deviceEnd();
  const driver = options.createDriver(device);
  const lastSourceTimeMs = options.lastSourceTimeMs(device.id);
  const shaped = commonDevice(device);
  const unlisted = atMostEvery(60_000);
  const shaper: Shaper = createShaper(shaped, {
    lastSourceTimeMs,
    rate: clock.rate,
    onUnlisted: (tag, value) =>
      unlisted((before) =>
        log.warn({ tag, value: String(value), before }, "the device's number is not in the enumeration: add it there"),
      ),
  });
  const phaseMs = phaseOf(device.id, device.pollIntervalMs);
  const stats: DeviceStats = {
    device: device.id,
    connected: false,
    polls: 0,
    skippedPolls: 0,
    failures: 0,
    failureKinds: {},
    connects: 0,
    eventErrors: 0,
    lastPollMs: 0,
    lastFailure: undefined,
  };
  let simulated = device.simulated;
  let reported = "";
  const loggedMs = new Map<string, number>();
  let failuresInRow = 0;
  let connectedAtMs = 0;
  /** When the connect or poll that is under way began. */
  let attemptMs = 0;
  let isPolling = false;

  function tell(what: () => void): void {
    try {
      what();
    } catch (thrown) {
      stats.eventErrors += 1;
      log.error({ err: thrown }, "a receiver of the collector's events failed; collection goes on");
    }
  }

  function define(): void {
    tell(() => events.onDefinitions(device.id, definitionsOf(shaped, simulated)));
  }

  /** Whether the log has not had this reason lately: two that take turns are not told at every attempt. */
  function isNews(reason: string): boolean {
    const now = performance.now();
    for (const [text, atMs] of loggedMs) if (now - atMs >= logAgainMs) loggedMs.delete(text);
    if (loggedMs.has(reason) || loggedMs.size >= mostReasons) return false;
    loggedMs.set(reason, now);
    return true;
  }

  /** Tells a change of the connection, or of the reason why there is none, once. */
  function report(connection: Connection): void {
    stats.connected = connection.connected;
    const text = connection.connected ? "connected" : connection.reason;
    if (text === reported) return;
    reported = text;
    if (connection.connected) {
      loggedMs.clear();
      log.info({ simulated }, "device connected");
    } else if (isNews(text)) log.warn({ status: connection.status }, text);
    tell(() => events.onConnection(device.id, connection));
  }

  function deliver(samples: ReturnType<Shaper["shape"]>): void {
    if (samples.length > 0) tell(() => events.onSamples(device.id, samples));
  }

  async function connect(): Promise<void> {
    attemptMs = clock.now();
    const answer = await orAbort(stopping, () => driver.connect(stopping));
    stats.connects += 1;
    // Once recognised it stays so until the next start: a simulator that misses one identification must not pass for a plant.
    if (!answer.simulated || simulated) return;
    simulated = true;
    define();
  }

  async function read(): Promise<RawReading[]> {
    try {
      return await orAbort(stopping, () => driver.read(stopping));
    } catch (thrown) {
      // Many devices close a connection that was quiet for a while. That is no fault: open it again and read.
      if (codeOf(thrown) !== closedWhileIdle || !stats.connected) throw thrown;
      await closeDriver();
      await connect();
      return await orAbort(stopping, () => driver.read(stopping));
    }
  }

  async function poll(): Promise<void> {
    const startedMs = performance.now();
    attemptMs = clock.now();
    isPolling = true;
    const readings = await read().finally(() => {
      isPolling = false;
    });
    stats.polls += 1;
    stats.lastPollMs = performance.now() - startedMs;
    take(readings);
  }

  function take(readings: readonly RawReading[]): void {
    const samples = shaper.shape(readings, clock.now());
    if (!stats.connected) connectedAtMs = performance.now();
    report({ connected: true, status: Status.Good, reason: "" });
    tell(() => polls?.answered(device.id, shaper.counts()));
    deliver(samples);
  }

  /** What has come in since the last poll, and comes from nobody else. */
  function takeRest(): void {
    const readings = stats.connected ? (driver.rest?.() ?? []) : [];
    if (readings.length === 0) return;
    const samples = shaper.shape(readings, clock.now());
    // No poll: that would be one more than was due.
    tell(() => polls?.remained(device.id, shaper.counts()));
    deliver(samples);
  }

  /** From connect to the first failure. A device counts as connected only when it has answered a read. */
  async function session(): Promise<never> {
    await connect();
    for (;;) {
      const startedMs = performance.now();
      await poll();
      const next = nextPoll(clock, device.pollIntervalMs, phaseMs, performance.now() - startedMs);
      stats.skippedPolls += next.skipped;
      if (next.skipped > 0) tell(() => polls?.skipped(device.id, next.skipped));
      await wait(next.waitMs, leaving);
    }
  }

  /** @returns how many samples were held back */
  function noteReleased(): number {
    const { polled, marked = 0 } = shaper.counts();
    if (polled + marked > 0) tell(() => polls?.released(device.id, polled, marked));
    return polled + marked;
  }

  function failed(thrown: unknown): void {
    stats.failures += 1;
    const reason = reasonOf(thrown);
    stats.lastFailure = { reason, atMs: clock.now() };
    const status = (thrown instanceof JilianError ? thrown.status : undefined) ?? Status.BadNoCommunication;
    const last = stats.connected ? shaper.lost(status, clock.now()) : [];
    const released = stats.connected ? noteReleased() : 0;
    const code = thrown instanceof JilianError ? thrown.code : driverFault;
    stats.failureKinds = withFailure(stats.failureKinds, code);
    tell(() => polls?.failed(device.id, code, attemptMs, last.length - released));
    if (stats.connected && performance.now() - connectedAtMs > device.retryMaxMs) failuresInRow = 0;
    // The last samples belong to the time before the device's death certificate.
    deliver(last);
    report({ connected: false, status, reason });
  }

  function noteClose(thrown: unknown): void {
    log.warn({ err: thrown }, "the driver failed to close");
  }

  /** A driver that cannot close must still be connected again. */
  async function closeDriver(): Promise<void> {
    await orAbort(stopping, () => driver.close().catch(noteClose));
  }

  async function run(): Promise<void> {
    try {
      await wait(firstPollMs(clock, device.pollIntervalMs, phaseMs), leaving);
      for (;;) {
        await session().catch((thrown: unknown) => {
          if (!leaving.aborted) failed(thrown);
        });
        if (leaving.aborted) break;
        await closeDriver();
        await wait(backOffMs(failuresInRow, device), leaving);
        failuresInRow += 1;
      }
    } catch (thrown) {
      if (!leaving.aborted) log.error({ err: thrown }, "supervision of the device ended; restart the gateway");
    } finally {
      tell(takeRest);
      const rest = shaper.rest();
      noteReleased();
      deliver(rest);
      await driver.close().catch(noteClose);
    }
  }

  define();
  const running = run();
  return {
    stats,
    values: () => ({ device: device.id, connected: stats.connected, simulated, values: shaper.last() }),
    ask: (group) => driver.ask?.(group) ?? false,
    close: () => end(running, isPolling),
  };
}

/**
 * Collects all devices, each on its own clock: one that hangs, fails or throws delays no other. Polls lie on a fixed grid of the device's
 * interval in the clock that was passed, offset by a hash of its id; an overrun leaves polls out and counts them, and no device is ever
 * polled twice at once.
 *
 * Order of events for a device: definitions; connected before its first samples; the last (bad) samples before disconnected.
 */
export function startCollector(options: CollectorOptions): Collector {
  const supervised = new Map<string, Supervised>();

  function start(devices: readonly DeviceConfig[]): void {
    for (const device of devices) supervised.set(device.id, supervise(device, options));
  }

  async function stop(ids: Iterable<string>): Promise<void> {
    const ending = [...ids].flatMap((id) => supervised.get(id) ?? []);
    const bound = new AbortController();
    const closing = Promise.allSettled(ending.map((one) => one.close()));
    const late = wait(closeBoundMs, bound.signal).then(
      () => options.log.warn("a driver did not close in time; left behind"),
      () => undefined,
    );
    await Promise.race([closing, late]);
    bound.abort();
    for (const { stats } of ending) supervised.delete(stats.device);
  }

  start(options.devices);
  return {
    stats: () => [...supervised.values()].map(({ stats }) => ({ ...stats })),
    values: () => [...supervised.values()].map(({ values }) => values()),
    ask: (device, group) => supervised.get(device)?.ask(group) ?? false,
    start,
    stop,
    close: () => stop([...supervised.keys()]),
  };
}
