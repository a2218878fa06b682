import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, JilianError } from "@jilian/domain/errors.ts";
import { reasonOf } from "../collect.ts";
import { closedWhileIdle } from "../drivers/contract.ts";
import type { ModbusTag } from "../drivers/modbus-config.ts";
import type { Answer, ModbusConnection } from "../drivers/modbus-connection.ts";

export type Table = ModbusTag["table"];

/** Opens the one connection of a probe for a unit: over TCP, or a serial line. */
export type OpenUnit = (unitId: number) => Promise<ModbusConnection>;

export type ProbeSession = {
  /** @returns the answer; undefined when the unit stays silent or the probe is over (see `over`) */
  readonly read: (unitId: number, table: Table, address: number, quantity: number) => Promise<Answer | undefined>;
  /** Vendor, product code and revision by object id; empty when the unit tells none. */
  readonly identify: (unitId: number) => Promise<Readonly<Record<number, string>>>;
  /** Requests sent so far. */
  readonly sent: () => number;
  /** Why nothing more is asked: budget used up, Ctrl-C, no connection any more. Undefined while the probe goes on. */
  readonly over: () => string | undefined;
  /** The last request that ended neither in an answer nor in silence, and why: what answers may be no Modbus TCP. */
  readonly oddity: () => string | undefined;
  readonly close: () => void;
};

export type ProbeLimits = {
  readonly requestsPerSecond: number;
  readonly maxRequests: number;
  /** Counts what goes out, where one read may be more than one request; the session counts by itself where it is absent. */
  readonly sent?: (() => number) | undefined;
};

/** What cannot be opened by a connect, since its first request does: a serial port. */
const unopened = "LINE_OPEN_FAILED";

/** A device that has just lost a connection may need a moment for the next one, above all one with a single client slot. */
const reconnectMs = [20, 300, 1000, 3000];

function closed(): JilianError {
  return new JilianError("the probe goes on", {
    code: "MODBUS_STOPPED",
    action: "probe",
    remedy: "none: the connection was closed on purpose",
  });
}

/** Lets requests through one after the other, at most so many a second, machine time. */
export function pacer(requestsPerSecond: number, signal: AbortSignal): () => Promise<void> {
  let nextMs = 0;
  return async () => {
    const nowMs = performance.now();
    nextMs = Math.max(nextMs + 1000 / requestsPerSecond, nowMs);
    if (nextMs > nowMs) await sleep(nextMs - nowMs, undefined, { signal }).catch(() => undefined);
  };
}

/** Opens after the first of some waits, machine time, or after a later one where that failed. @throws what failed last */
async function openAfter(
  waitsMs: readonly number[],
  open: () => Promise<ModbusConnection>,
  signal: AbortSignal,
): Promise<ModbusConnection> {
  let failure: unknown;
  for (const waitMs of waitsMs) {
    if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    try {
      return await open();
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure ?? closed();
}

/**
 * Asks units one request at a time over one connection, at a bounded rate and up to a bounded number of requests. A unit that stays silent
 * breaks its connection (see {@link ModbusConnection}); the next request opens another.
 * @throws JilianError from `read` and `identify` when the first connection cannot be opened
 */
export function probeSession(
  open: OpenUnit,
  { requestsPerSecond, maxRequests, sent: counted }: ProbeLimits,
  signal: AbortSignal,
): ProbeSession {
  const pace = pacer(requestsPerSecond, signal);
  let current: { unitId: number; connection: ModbusConnection } | undefined;
  let asked = 0;
  let wasOpen = false;
  let lost: string | undefined;
  let oddity: string | undefined;

  const sent = counted ?? (() => asked);
  const drop = (): void => {
    current?.connection.fail(closed());
    current = undefined;
  };
  signal.addEventListener("abort", drop, { once: true });

  function over(): string | undefined {
    if (signal.aborted) return "ended by Ctrl-C";
    if (lost !== undefined) return lost;
    return sent() >= maxRequests ? `the budget of ${maxRequests} requests is used up` : undefined;
  }

  async function connected(unitId: number): Promise<ModbusConnection> {
    if (current?.unitId === unitId) return current.connection;
    // The first connect tells whether anything is there; a later one may come too soon for the device.
    const connection = await openAfter(wasOpen ? reconnectMs : [0], () => open(unitId), signal);
    current = { unitId, connection };
    wasOpen = true;
    return connection;
  }

  /** One request; undefined when there is no answer. */
  async function ask<T>(unitId: number, request: (unit: ModbusConnection) => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; attempt < 2; attempt += 1) {
      if (over() !== undefined) return undefined;
      if (current?.unitId !== unitId) drop();
      await pace();
      if (over() !== undefined) return undefined;
      try {
        const unit = await connected(unitId);
        asked += 1;
        return await request(unit);
      } catch (thrown) {
        const wasConnected = current !== undefined && codeOf(thrown) !== unopened;
        const isFirst = codeOf(thrown) === unopened ? sent() === 0 : !wasOpen;
        drop();
        if (signal.aborted) return undefined;
        if (!wasConnected && isFirst) throw thrown;
        if (!wasConnected) lost = reasonOf(thrown);
        // Closed while nobody asked, as many devices do: that was no answer to this request, which goes out once more.
        if (codeOf(thrown) === closedWhileIdle) continue;
        if (codeOf(thrown) !== "MODBUS_TIMEOUT") oddity = reasonOf(thrown);
        return undefined;
      }
    }
    return undefined;
  }

  return {
    read: (unitId, table, address, quantity) => ask(unitId, (unit) => unit.read(table, address, quantity)),
    identify: async (unitId) => (await ask(unitId, (unit) => unit.identify())) ?? {},
    sent,
    over,
    oddity: () => oddity,
    close: drop,
  };
}
