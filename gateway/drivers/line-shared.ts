import type { JilianError } from "@jilian/domain/errors.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { atMostEvery } from "../log-limit.ts";
import type { Exchange, Line } from "./line.ts";
import { type LineFault, lineGarbled, lineLost, lineStopped, lineTimeout, lineUnopened } from "./line-errors.ts";
import { interjectedBytes, readingsOf } from "./line-interjections.ts";
import { type Medium, type Port, pause } from "./line-medium.ts";
import { createOverhearing } from "./line-overheard.ts";
import { createAnswerTimes } from "./line-probe.ts";
import { createSilences } from "./line-silences.ts";
import { createTurns } from "./line-turns.ts";
import { onTimeout } from "./timer.ts";

export type LineStats = {
  line: string;
  /** Whether its port, or the connection of its box, is there. */
  open: boolean;
  /** Requests written. */
  exchanges: number;
  /** Requests that got no answer in time. */
  timeouts: number;
  /** Bytes that were no part of an answer: noise, echoes, late answers. Packets of the box itself do not count. */
  discardedBytes: number;
  /** How often it was opened. */
  opens: number;
  /** Requests of another master that were heard, at least. */
  foreignRequests: number;
  /** How often a box dialled in while another one, or its own old connection, was there. */
  takeovers: number;
};

export type SharedLine = Line & {
  readonly stats: () => LineStats;
  /** Forgets what it knows of all devices but these. */
  readonly keep: (devices: ReadonlySet<string>) => void;
  /** Closes its port until the next exchange: nobody uses it for now. What is under way is given up. */
  readonly rest: () => void;
};

/** Longer than any frame of the protocols spoken over lines; what is before it is noise. */
const mostReceived = 1024;
/** A line on which somebody talks all the time is not waited for longer than this before a request. */
const mostUnquietMs = 500;
/** So many time-outs without a single byte, and the other side may have forgotten the connection. */
const mostSilent = 3;
/** What a time-out of a device that never answered counts while others do: most likely the silence is its own. */
const ownSilence = 0.1;
/** The silence after a request of another master in which its answer would begin. */
const answerBeginsMs = 250;
/** So many requests are no accident of the line. */
const fewForeign = 3;
const tellForeignMs = 3_600_000;

type Outcome = { readonly frame: Buffer } | { readonly fault: LineFault } | { readonly thrown: unknown };
type Job = {
  readonly asked: Exchange;
  /** Of whoever waits; does nothing once it was settled. */
  readonly settle: (outcome: Outcome) => void;
  readonly isSettled: () => boolean;
};
/** The exchange under way. */
type Active = { readonly onBytes: () => void; readonly end: (outcome: Outcome) => void };

/** The other side ended the port, and not a byte had come: it may not have seen the request. */
const portEnded = lineLost(undefined);
const isEnded = (outcome: Outcome): boolean => "fault" in outcome && outcome.fault === portEnded;

/**
 * A line over a medium (line-serial.ts, line-socket.ts, line-listen.ts).
 *
 * - One request is on the line at a time. One whose caller has gone keeps the line until its answer or time-out, so that the answer meets
 *   no other request.
 * - What came before a request is thrown away, and a request is written only into silence.
 * - A probe (line-probe.ts) that was given up may keep a converter busy until the whole time-out of its device: the next exchange has so
 *   much time more, so that a probe never makes a living device fail. On a serial port nobody is busy, and many probes in a row stay short.
 * - Silent devices get a part of the time alone while others answer (line-silences.ts).
 * - The port is opened by the first exchange that needs it, and again by the next one after it was lost. When that fails, all that wait
 *   fail: each device has its own back-off.
 */
export function createLine(id: string, medium: Medium, log: Logger): SharedLine {
  const { interjections } = medium;
  const stats = { exchanges: 0, timeouts: 0, discardedBytes: 0, opens: 0, foreignRequests: 0 };
  const turns = createTurns<Job>();
  const stopping = new AbortController();
  const { signal } = stopping;
  let port: Port | undefined;
  let active: Active | undefined;
  let received: Buffer = Buffer.alloc(0);
  let receivedAtMs = 0;
  let endedAtMs = Number.NEGATIVE_INFINITY;
  let silent = 0;
  const answerTimes = createAnswerTimes();
  const silences = createSilences();
  /** Until when the other side may wait for a device that was given up before its time-out. */
  let busyUntilMs = Number.NEGATIVE_INFINITY;
  /** Whether nobody uses the line. */
  let resting = false;
  /** Devices that have answered since it was opened. */
  const answering = new Set<string>();
  /** Of the devices that are on it, once that was told: what an exchange still brings for another one is not learnt. */
  let isOn = (_device: string): boolean => true;
  let running: Promise<void> | undefined;
  /** Ends the wait for those that are held back. */
  let news: AbortController | undefined;
  const tellForeign = atMostEvery(tellForeignMs);
  const overhearing = createOverhearing((requests) => {
    stats.foreignRequests += requests;
    const { foreignRequests } = stats;
    if (foreignRequests < fewForeign) return;
    const detail = { code: "LINE_SECOND_MASTER", line: id, endpoint: medium.endpoint(), foreignRequests };
    tellForeign(() =>
      log.warn(detail, "another master asks devices on this line: both disturb each other, one of them must go"),
    );
  });

  const errorFor = (fault: LineFault, { device }: Exchange): JilianError =>
    fault({ line: id, endpoint: medium.endpoint(), device });

  function discard(kept = 0): void {
    stats.discardedBytes += Math.max(0, received.length - kept - interjectedBytes(received, interjections));
    received = Buffer.alloc(0);
  }

  function onData(chunk: Buffer): void {
    receivedAtMs = performance.now();
    silent = 0;
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const excess = received.length - mostReceived;
    if (excess > 0) {
      stats.discardedBytes += excess;
      received = received.subarray(excess);
    }
    if (active === undefined) {
      overhearing.hear(chunk);
      discard();
    } else active.onBytes();
  }

  function onLost(cause?: unknown): void {
    port = undefined;
    const level = active === undefined && medium.endsIdle ? "debug" : "warn";
    const reason = cause === undefined ? undefined : messageOf(cause);
    log[level]({ line: id, endpoint: medium.endpoint(), reason }, "line lost");
    active?.end({ fault: cause === undefined && received.length === 0 ? portEnded : lineLost(cause) });
  }

  async function openFor({ asked: { timeoutMs } }: Job): Promise<Port | LineFault> {
    if (port !== undefined) return port;
    let lost = false;
    const events = {
      onData,
      onLost: (cause?: unknown) => {
        lost = true;
        onLost(cause);
      },
    };
    try {
      const opened = await medium.open({ events, timeoutMs, signal });
      if (signal.aborted || lost || resting) {
        opened.close();
        return signal.aborted || resting ? lineStopped : lineLost(undefined);
      }
      port = opened;
      stats.opens += 1;
      silent = 0;
      answering.clear();
      receivedAtMs = performance.now();
      log[medium.endsIdle ? "debug" : "info"]({ line: id, endpoint: medium.endpoint() }, "line open");
      return opened;
    } catch (thrown) {
      return signal.aborted ? lineStopped : lineUnopened(thrown);
    }
  }

  /** Until a request may be written: silence, and the pause that devices want after an exchange. */
  async function untilQuiet(asked: Exchange): Promise<void> {
    const startedMs = performance.now();
    while (!signal.aborted) {
      const nowMs = performance.now();
      const silenceMs = overhearing.isAwaiting(asked) ? Math.max(medium.quietMs, answerBeginsMs) : medium.quietMs;
      const quietMs = nowMs - startedMs > mostUnquietMs ? 0 : receivedAtMs + silenceMs - nowMs;
      const waitMs = Math.max(quietMs, endedAtMs + medium.turnaroundMs - nowMs);
      if (waitMs <= 0) return;
      await pause(Math.ceil(waitMs), signal);
    }
  }

  function timedOut({ device, request, timeoutMs }: Exchange): Outcome {
    stats.timeouts += 1;
    silent += answering.size === 0 || answering.has(device) ? 1 : ownSilence;
    const bytes = received.length - interjectedBytes(received, interjections);
    // On two wires many adapters hear themselves.
    const nothing = bytes <= 0 || received.equals(request);
    return { fault: nothing ? lineTimeout(timeoutMs) : lineGarbled(timeoutMs) };
  }

  function look(find: Exchange["find"], heard: Buffer): Outcome | undefined {
    try {
      for (const reading of readingsOf(received, interjections)) {
        const frame = find(reading, heard);
        if (frame !== undefined) return { frame: Buffer.from(frame) };
      }
      return undefined;
    } catch (thrown) {
      return { thrown };
    }
  }

  function ask(on: Port, { asked }: Job): Promise<Outcome> {
    return new Promise((resolve) => {
      const { device, request, timeoutMs, isProbe = false } = asked;
      const startedMs = performance.now();
      const lentMs = Math.max(0, busyUntilMs - startedMs);
      const extraMs = lentMs + request.length * medium.characterMs;
      const end = (outcome: Outcome) => {
        if (active?.end !== end) return;
        active = undefined;
        clearTimeout(timer);
        overhearing.end(asked, received, "frame" in outcome ? outcome.frame : undefined);
        endedAtMs = performance.now();
        if ("frame" in outcome) busyUntilMs = Number.NEGATIVE_INFINITY;
        if ("frame" in outcome && isOn(device)) {
          answering.add(device);
          if (lentMs === 0) answerTimes.note(device, endedAtMs - startedMs);
          if (asked.isAway?.(outcome.frame)) silences.silent(device, endedAtMs - startedMs);
          else silences.answered(device);
        }
        discard("frame" in outcome ? outcome.frame.length : 0);
        resolve(outcome);
      };
      const onBytes = () => {
        const outcome = look(asked.find, heard);
        if (outcome !== undefined) end(outcome);
      };
      discard();
      const heard = overhearing.begin(asked);
      active = { onBytes, end };
      stats.exchanges += 1;
      const timer = onTimeout(extraMs + (isProbe ? answerTimes.probeMs(device, timeoutMs) : timeoutMs), () => {
        if (active?.end !== end) return;
        if (medium.servesInTurn) busyUntilMs = startedMs + extraMs + timeoutMs;
        end(timedOut(asked));
        if (isOn(device)) silences.silent(device, endedAtMs - startedMs);
      });
      on.write(request);
    });
  }

  function closePort(): void {
    port?.close();
    port = undefined;
  }

  async function serve(job: Job, again = true): Promise<void> {
    const opened = await openFor(job);
    if (typeof opened === "function") {
      for (const one of [job, ...turns.clear()]) one.settle({ fault: opened });
      return;
    }
    const release = await medium.alone?.(signal);
    const isToAskAgain = await exchangeOn(opened, job, again).finally(() => release?.(busyUntilMs));
    if (isToAskAgain) return serve(job, false);
    if (silent < mostSilent || !medium.reopensSilent) return;
    log.debug({ line: id, endpoint: medium.endpoint() }, "no byte for some time-outs: the line is opened anew");
    closePort();
  }

  /** @returns whether the port was lost before anything was asked: once more then, and not for ever where it is opened only to be ended */
  async function exchangeOn(opened: Port, job: Job, again: boolean): Promise<boolean> {
    await untilQuiet(job.asked);
    if (job.isSettled()) return false;
    if (port !== opened) {
      if (again && !signal.aborted) return true;
      job.settle({ fault: signal.aborted ? lineStopped : lineLost(undefined) });
      return false;
    }
    const outcome = await ask(opened, job);
    if (again && medium.endsIdle && isEnded(outcome) && !job.isSettled()) return true;
    job.settle(outcome);
    return false;
  }

  async function run(): Promise<void> {
    while (!turns.isEmpty()) {
      const nowMs = performance.now();
      const job = turns.next((device) => silences.turnOf(device, nowMs, busyUntilMs));
      if (job === undefined) await untilNews(silences.heldUntilMs(busyUntilMs) - nowMs);
      else if (!job.isSettled()) await serve(job);
    }
    running = undefined;
  }

  /** Until so much time has passed, or somebody else wants to ask. */
  async function untilNews(waitMs: number): Promise<void> {
    news = new AbortController();
    await pause(Math.ceil(waitMs), news.signal);
    news = undefined;
  }

  return {
    exchange: (asked) =>
      new Promise((resolve, reject) => {
        if (signal.aborted || asked.signal.aborted) {
          reject(errorFor(lineStopped, asked));
          return;
        }
        let settled = false;
        const settle = (outcome: Outcome) => {
          if (settled) return;
          settled = true;
          asked.signal.removeEventListener("abort", onAbort);
          if ("frame" in outcome) resolve(outcome.frame);
          else reject("fault" in outcome ? errorFor(outcome.fault, asked) : outcome.thrown);
        };
        const job: Job = { asked, settle, isSettled: () => settled };
        const onAbort = () => {
          turns.remove(asked.device, job);
          settle({ fault: lineStopped });
        };
        resting = false;
        turns.add(asked.device, job);
        asked.signal.addEventListener("abort", onAbort, { once: true });
        news?.abort();
        running ??= run();
      }),
    async close() {
      stopping.abort();
      news?.abort();
      closePort();
      active?.end({ fault: lineStopped });
      for (const job of turns.clear()) job.settle({ fault: lineStopped });
      await running;
      await medium.close();
    },
    keep(devices) {
      isOn = (device) => devices.has(device);
      silences.keep(devices);
      answerTimes.keep(devices);
      for (const device of answering) if (!devices.has(device)) answering.delete(device);
    },
    rest() {
      resting = true;
      closePort();
      active?.end({ fault: lineStopped });
    },
    stats: () => ({ line: id, open: port !== undefined, ...stats, takeovers: medium.takeovers?.() ?? 0 }),
  };
}
