import { execFile } from "node:child_process";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { Gateway } from "./run.ts";

/**
 * Speaks sd_notify(3) with systemd: ready, alive, stopping, and one line for `systemctl status`. Node has no unix datagram sockets, so
 * every message is one short run of `systemd-notify`, which waits until the manager has read it (systemd 246 and newer).
 */
export type Watchdog = {
  /** Tells STOPPING=1; resolves when systemd has it, at latest after the bound of one message. Never rejects. */
  readonly stopping: () => Promise<void>;
  /** Stops telling; messages under way end by themselves. */
  readonly close: () => Promise<void>;
};

type Environment = Readonly<Record<string, string | undefined>>;

export type WatchdogOptions = {
  /** `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` as systemd sets them; without the first nothing is done. */
  env: Environment;
  /** One line for people, asked for with every message. */
  status: () => string;
  /** Why systemd should end this process and start it again; undefined while it is healthy. */
  fault: () => string | undefined;
  log: Logger;
  /** The program that speaks; for tests of its absence. */
  program?: string;
};

const messageBoundMs = 5000;
/** The status line is told at least this often. */
const statusMs = 10_000;

/** How often to tell at least: half of the watchdog's time, which sd_watchdog_enabled(3) recommends; undefined when it is not meant for us. */
function intervalOf(env: Environment): number | undefined {
  const limitMs = Number(env.WATCHDOG_USEC) / 1000;
  const forUs = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === process.pid;
  return forUs && limitMs > 0 ? Math.max(1, Math.floor(limitMs / 2)) : undefined;
}

function speak(program: string, fields: readonly string[], { PATH, NOTIFY_SOCKET }: Environment): Promise<void> {
  const options = { env: { PATH, NOTIFY_SOCKET }, timeout: messageBoundMs, killSignal: "SIGKILL" } as const;
  return new Promise((resolve, reject) => {
    execFile(program, [...fields], options, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function cannotTell(program: string, cause: unknown): JilianError {
  return new JilianError(`${program}: ${messageOf(cause)}`, {
    code: "WATCHDOG_UNAVAILABLE",
    action: "tell systemd that the gateway runs",
    remedy: "install systemd-notify (package systemd), or set Type=simple and remove WatchdogSec in the unit",
    cause,
  });
}

/**
 * Tells systemd at once that the gateway runs, and then, within half of the watchdog's time, that it is alive, but only while it is healthy:
 * an event loop that stands still tells nothing by itself. A message that fails is logged once and not thrown.
 */
export function startWatchdog(options: WatchdogOptions): Watchdog {
  const { env, log, program = "systemd-notify" } = options;
  if (!env.NOTIFY_SOCKET) return { stopping: async () => undefined, close: async () => undefined };
  const watchdogMs = intervalOf(env);
  let failureTold = false;
  let faultSince: string | undefined;
  let underWay: Promise<void> = Promise.resolve();

  function tell(fields: readonly string[]): Promise<void> {
    // One after the other: a slow manager gets no pile of processes, and STOPPING never overtakes READY.
    underWay = underWay
      .then(() => speak(program, fields, env))
      .then(
        () => {
          failureTold = false;
        },
        (thrown: unknown) => {
          const { code, action, remedy, message } = cannotTell(program, thrown);
          if (!failureTold) log.error({ code, action, remedy }, message);
          failureTold = true;
        },
      );
    return underWay;
  }

  function tick(): void {
    const fault = options.fault();
    if (fault !== undefined && faultSince === undefined && watchdogMs !== undefined) {
      const remedy = "systemd ends this process and starts it again; what is pending stays in its outbox";
      log.error({ code: "WATCHDOG_WITHHELD", remedy }, `not healthy: ${fault}`);
    }
    faultSince = fault;
    const alive = watchdogMs === undefined || fault !== undefined ? [] : ["WATCHDOG=1"];
    const status = `STATUS=${fault === undefined ? "" : `not healthy: ${fault}; `}${options.status()}`.replaceAll(
      "\n",
      " ",
    );
    // READY again and again does no harm, and a systemd before 246 may miss a message whose sender has ended.
    void tell(["READY=1", ...alive, status]);
  }

  tick();
  const timer = setInterval(tick, Math.min(watchdogMs ?? statusMs, statusMs));
  return {
    stopping: () => {
      clearInterval(timer);
      return tell(["STOPPING=1", "STATUS=stopping"]);
    },
    close: async () => {
      clearInterval(timer);
      await underWay;
    },
  };
}

/** One line for `systemctl status`. */
export function statusLine({ devices, edge, outbox }: ReturnType<Gateway["stats"]>): string {
  const connected = devices.filter((device) => device.connected).length;
  const platform = edge.born ? "platform connected" : "platform NOT connected";
  return `devices connected ${connected}/${devices.length}, ${platform}, records waiting ${outbox.pendingRecords}, readings dropped ${outbox.droppedSamples}`;
}

/** Longer than a disk that is full for a while: only an outbox that stays unwritable is worth a new start. */
const unwritableMs = 600_000;

/** Tells what a new start may cure: an outbox that could not be written for ten minutes. An absent PLC or broker is no fault of ours. */
export function outboxFault(isWritable: () => boolean, boundMs = unwritableMs): () => string | undefined {
  let sinceMs: number | undefined;
  return () => {
    sinceMs = isWritable() ? undefined : (sinceMs ?? performance.now());
    const forMs = sinceMs === undefined ? 0 : performance.now() - sinceMs;
    return sinceMs !== undefined && forMs >= boundMs
      ? `the outbox has not been writable for ${Math.round(forMs / 1000)} s`
      : undefined;
  };
}
