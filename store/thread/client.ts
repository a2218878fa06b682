import { MessageChannel, type MessagePort } from "node:worker_threads";
import { JilianError } from "@jilian/domain/errors.ts";
import { packSamples, unpackSamples } from "../columns/columns.ts";
import {
  packConnections,
  packLeaves,
  packResults,
  packRollups,
  packStates,
  unpackChanged,
  unpackConnections,
  unpackCounts,
  unpackLeaves,
  unpackOnline,
  unpackResults,
  unpackRollups,
  unpackStates,
} from "../columns/packing.ts";
import type { Readings } from "../columns/readings.ts";
import type { StoredRow, Telemetry } from "../telemetry.ts";
import type { Engine, ReadingWindows, WindowColumns } from "./engine.ts";
import { storeClosed } from "./faults.ts";
import { type Answer, buffersOf, decodeError, type Method, type Request } from "./protocol.ts";

/** Calls of one port that may be under way: beyond it the caller is told instead of the queue growing. */
const maxPendingCalls = 1024;

function busy(): JilianError {
  return new JilianError(`${maxPendingCalls} calls to the telemetry store are under way`, {
    code: "STORE_BUSY",
    action: "call the telemetry store",
    remedy: "wait for earlier calls before making more",
  });
}

function died(): JilianError {
  return new JilianError("the telemetry store's thread ended unexpectedly", {
    code: "STORE_FAILED",
    action: "call the telemetry store",
    remedy:
      "start the service again: what was acknowledged is stored, a call under way may or may not be and can be repeated",
  });
}

type Remote = {
  readonly call: <M extends Method>(method: M, ...args: Parameters<Engine[M]>) => ReturnType<Engine[M]>;
  readonly attach: (port: MessagePort) => void;
  /** Rejects what is under way, and everything from now on. */
  readonly end: (why: JilianError) => void;
};

/** Requests and answers over one port. */
function createRemote(port: MessagePort): Remote {
  const pending = new Map<number, PromiseWithResolvers<unknown>>();
  let nextId = 0;
  let ended: JilianError | undefined;
  let closing = false;

  function end(why: JilianError): void {
    if (ended) return;
    ended = why;
    port.close();
    for (const call of pending.values()) call.reject(why);
    pending.clear();
  }

  port.on("message", (answer: Answer) => {
    if (answer.kind === "closing") {
      closing = true;
      return;
    }
    const call = pending.get(answer.id);
    pending.delete(answer.id);
    if (answer.kind === "result") call?.resolve(answer.value);
    else call?.reject(decodeError(answer.error));
  });
  port.on("close", () => end(closing ? storeClosed() : died()));

  return {
    call: ((method: Method, ...args: unknown[]) => {
      if (ended) return Promise.reject(ended);
      if (pending.size >= maxPendingCalls) return Promise.reject(busy());
      nextId += 1;
      const id = nextId;
      const call = Promise.withResolvers<unknown>();
      pending.set(id, call);
      port.postMessage(
        { kind: "call", id, method, args } satisfies Request,
        args.flatMap((arg) => buffersOf(arg)),
      );
      return call.promise;
    }) as Remote["call"],
    attach: (attached) => {
      if (ended) throw ended;
      port.postMessage({ kind: "attach", port: attached } satisfies Request, [attached]);
    },
    end,
  };
}

function unpackWindows({ rows, firsts, counts }: WindowColumns): StoredRow[][] {
  const samples = unpackSamples(rows);
  return Array.from(firsts, (first, i) => samples.slice(first, first + (counts[i] as number)));
}

function readingsIn({ rows: columns, firsts, counts }: ReadingWindows): Readings[] {
  return Array.from(firsts, (first, i) => ({ columns, first, end: first + (counts[i] as number) }));
}

/** The contract over a port. `close` is what closing means for this user. */
export function telemetryOver(port: MessagePort, close: (end: Remote["end"]) => Promise<void>): Telemetry {
  const { call, attach, end } = createRemote(port);
  return {
    ensureSeries: (wanted) => call("ensureSeries", wanted),
    redefineSeries: (wanted) => call("redefineSeries", wanted),
    series: () => call("series"),
    seriesChanges: () => call("seriesChanges"),
    write: ({ samples, commits }) => call("write", packSamples(samples), commits),
    committed: () => call("committed"),
    lastTx: () => call("lastTx"),
    read: async (window, limit) => unpackSamples(await call("read", window, limit)),
    readMany: async (windows) => unpackWindows(await call("readMany", windows)),
    readWithNeighbours: async (windows) => readingsIn(await call("readWithNeighbours", windows)),
    latest: async () => unpackSamples(await call("latest")),
    changedMinutes: async (afterTx, upToTx) => unpackChanged(await call("changedMinutes", afterTx, upToTx)),
    countSamples: async (series, fromMs, toMs) => unpackCounts(await call("countSamples", series, fromMs, toMs)),
    onlineMs: async (devices, fromMs, toMs) =>
      unpackOnline(devices, fromMs, await call("onlineMs", devices, fromMs, toMs)),
    writeLeaves: (leaves, connections, states = []) =>
      call("writeLeaves", packLeaves(leaves), packConnections(connections), packStates(states)),
    readLeaves: async (series, fromMs, toMs) => unpackLeaves(await call("readLeaves", series, fromMs, toMs)),
    readStates: async (series, fromMs, toMs) => unpackStates(await call("readStates", series, fromMs, toMs)),
    readConnections: async (devices, fromMs, toMs) =>
      unpackConnections(await call("readConnections", devices, fromMs, toMs)),
    writeRollups: (rows) => call("writeRollups", packRollups(rows)),
    readRollups: async (unit, keys, fromMs, toMs) => unpackRollups(await call("readRollups", unit, keys, fromMs, toMs)),
    writeMinuteResults: (results) => call("writeMinuteResults", packResults(results)),
    readMinuteResults: async (query) => unpackResults(await call("readMinuteResults", query)),
    showResults: (results) => call("showResults", packResults(results)),
    port: async () => {
      const { port1, port2 } = new MessageChannel();
      attach(port2);
      return port1;
    },
    close: () => close(end),
  };
}
