import type { Clock } from "@jilian/domain/clock.ts";
import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { Logger } from "pino";
import type { DeviceConfig } from "./config.ts";
import { closedWhileIdle } from "./drivers/contract.ts";
import type { CollectorEvents, Connection, Driver, RawReading } from "./model.ts";
import { backOffMs, firstPollMs, nextPoll, phaseOf, wait } from "./schedule.ts";
import { createShaper, definitionOf, type PollCounts, type Shaper } from "./shape.ts";

export type DeviceStats = {
  device: string;
  connected: boolean;
  polls: number;
  /** Polls left out because the one before took longer than the interval. */
  skippedPolls: number;
  /** Connects and reads that failed. */
  failures: number;
  connects: number;
  /** How often a receiver of events threw: its samples may be lost. */
  eventErrors: number;
  /** How long the last poll took, machine time. */
  lastPollMs: number;
};

export type Collector = {
  readonly stats: () => DeviceStats[];
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
const driverFault = "DRIVER_FAULT";

/** One line for whoever repairs it: `MODBUS_CONNECT_REFUSED 192.168.1.5:502: connection refused; is the PLC powered ...?` */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof JilianError)) {
    return `${driverFault} ${codeOf(thrown)}: ${messageOf(thrown)}; this is a defect of the gateway, please report it`;
  }
  const where = thrown.address === undefined ? "" : ` ${thrown.address}`;
  return `${thrown.code}${where}: ${thrown.message}; ${thrown.remedy}`;
}

/** The promise, or the signal's abort, whichever comes first: a driver that ignores its signal holds nothing up. */
function orAbort<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const settle = (finish: () => void) => {
      signal.removeEventListener("abort", onAbort);
      finish();
    };
    // Called inside a promise, so that a driver that throws at once rejects like any other.
    Promise.resolve()
      .then(work)
      .then(
        (value) => settle(() => resolve(value)),
        (thrown: unknown) => settle(() => reject(thrown)),
      );
  });
}

type Supervised = { readonly stats: DeviceStats; readonly close: () => Promise<void> };

/** Supervises one device: connect, poll on its grid, and after any failure close, report, back off and start again, for ever. */
function supervise(device: DeviceConfig, options: CollectorOptions): Supervised {
  const { clock, events, polls } = options;
  const log = options.log.child({ device: device.id });
  const stopping = new AbortController();
  const { signal } = stopping;
  const driver = options.createDriver(device);
  const lastSourceTimeMs = options.lastSourceTimeMs(device.id);
  const shaper: Shaper = createShaper(device, { lastSourceTimeMs, rate: clock.rate });
  const phaseMs = phaseOf(device.id, device.pollIntervalMs);
  const stats: DeviceStats = {
    device: device.id,
    connected: false,
    polls: 0,
    skippedPolls: 0,
    failures: 0,
    connects: 0,
    eventErrors: 0,
    lastPollMs: 0,
  };
  let simulated = device.simulated;
  let reported = "";
  let failuresInRow = 0;
  let connectedAtMs = 0;
  /** When the connect or poll that is under way began. */
  let attemptMs = 0;

  function tell(what: () => void): void {
    try {
      what();
    } catch (thrown) {
      stats.eventErrors += 1;
      log.error({ err: thrown }, "a receiver of the collector's events failed; collection goes on");
    }
  }

  function define(): void {
    const definitions = device.tags.map((tag) => definitionOf(device, tag, simulated));
    tell(() => events.onDefinitions(device.id, definitions));
  }

  /** Tells a change of the connection, or of the reason why there is none, once. */
  function report(connection: Connection): void {
    stats.connected = connection.connected;
    const text = connection.connected ? "connected" : connection.reason;
    if (text === reported) return;
    reported = text;
    if (connection.connected) log.info({ simulated }, "device connected");
    else log.warn({ status: connection.status }, connection.reason);
    tell(() => events.onConnection(device.id, connection));
  }

  function deliver(samples: ReturnType<Shaper["shape"]>): void {
    if (samples.length > 0) tell(() => events.onSamples(device.id, samples));
  }

  async function connect(): Promise<void> {
    attemptMs = clock.now();
    const answer = await orAbort(signal, () => driver.connect(signal));
    stats.connects += 1;
    // Once recognised it stays so until the next start: a simulator that misses one identification must not pass for a plant.
    if (!answer.simulated || simulated) return;
    simulated = true;
    define();
  }

  async function read(): Promise<RawReading[]> {
    try {
      return await orAbort(signal, () => driver.read(signal));
    } catch (thrown) {
      // Many devices close a connection that was quiet for a while. That is no fault: open it again and read.
      if (codeOf(thrown) !== closedWhileIdle || !stats.connected) throw thrown;
      await closeDriver();
      await connect();
      return await orAbort(signal, () => driver.read(signal));
    }
  }

  async function poll(): Promise<void> {
    const startedMs = performance.now();
    attemptMs = clock.now();
    const readings = await read();
    stats.polls += 1;
    stats.lastPollMs = performance.now() - startedMs;
    const samples = shaper.shape(readings, clock.now());
    if (!stats.connected) connectedAtMs = performance.now();
    report({ connected: true, status: Status.Good, reason: "" });
    tell(() => polls?.answered(device.id, shaper.counts()));
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
      await wait(next.waitMs, signal);
    }
  }

  function failed(thrown: unknown): void {
    stats.failures += 1;
    const status = (thrown instanceof JilianError ? thrown.status : undefined) ?? Status.BadNoCommunication;
    const marks = stats.connected ? shaper.lost(status, clock.now()) : [];
    const code = thrown instanceof JilianError ? thrown.code : driverFault;
    tell(() => polls?.failed(device.id, code, attemptMs, marks.length));
    if (stats.connected && performance.now() - connectedAtMs > device.retryMaxMs) failuresInRow = 0;
    // The last samples belong to the time before the device's death certificate.
    deliver(marks);
    report({ connected: false, status, reason: reasonOf(thrown) });
  }

  function noteClose(thrown: unknown): void {
    log.warn({ err: thrown }, "the driver failed to close");
  }

  /** A driver that cannot close must still be connected again. */
  async function closeDriver(): Promise<void> {
    await orAbort(signal, () => driver.close().catch(noteClose));
  }

  async function run(): Promise<void> {
    try {
      await wait(firstPollMs(clock, device.pollIntervalMs, phaseMs), signal);
      while (!signal.aborted) {
        await session().catch((thrown: unknown) => {
          if (!signal.aborted) failed(thrown);
        });
        await closeDriver();
        await wait(backOffMs(failuresInRow, device), signal);
        failuresInRow += 1;
      }
    } catch (thrown) {
      if (!signal.aborted) log.error({ err: thrown }, "supervision of the device ended; restart the gateway");
    } finally {
      await driver.close().catch(noteClose);
    }
  }

  define();
  const running = run();
  return {
    stats,
    async close() {
      stopping.abort();
      await running;
    },
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
  const supervised = options.devices.map((device) => supervise(device, options));
  return {
    stats: () => supervised.map(({ stats }) => ({ ...stats })),
    async close() {
      const bound = new AbortController();
      const closing = Promise.allSettled(supervised.map((one) => one.close()));
      const late = wait(closeBoundMs, bound.signal).then(
        () => options.log.warn("a driver did not close in time; left behind"),
        () => undefined,
      );
      await Promise.race([closing, late]);
      bound.abort();
    },
  };
}
