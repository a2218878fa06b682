import { once } from "node:events";
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setImmediate as turn } from "node:timers/promises";
import type { RecordId } from "@jilian/domain/commit.ts";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { type DeviceView, plainValue, timeText } from "./last-values.ts";
import { atMostEvery } from "./log-limit.ts";
import type { AsideRecord, Outbox } from "./model.ts";
import type { GatewayStatus } from "./status.ts";

/** What can be asked of an outbox from outside its process: to show, send again or delete what was set aside. One line of JSON. */
export type AsideRequest = { v: 1; command: "list" | "replay" | "drop"; ids: readonly RecordId[] | "all" };

/** That a group of tags be read at the next poll of its device (drivers/modbus-groups.ts). */
export type GroupRequest = { v: 1; command: "ask"; device: string; group: string };

/** What the tags of some devices were when they were read last; devices that it does not have are left out. */
export type ValuesRequest = { v: 1; command: "values"; devices: readonly string[] };

/** What can be asked of a gateway: that, and how it is. */
export type ControlRequest = AsideRequest | GroupRequest | ValuesRequest | { v: 1; command: "status" };

/** An answer is lines of JSON: records, or how far it is, then how many were shown or changed; or why there is no answer. */
export type ControlLine =
  | ({ type: "aside" } & AsideView)
  | { type: "progress"; records: number }
  /** `total`: how many are set aside, where more than were listed. */
  | { type: "done"; records: number; total?: number }
  /** How the gateway is: the whole answer. */
  | { type: "status"; status: GatewayStatus }
  | { type: "values"; device: DeviceView }
  | { type: "error"; message: string };

/** A record that was set aside, as people and programs read it: times are ISO 8601, whole numbers beyond 2^53 are text. */
export type AsideView = RecordId & {
  device: string;
  writtenAt: string;
  reason: string;
  samples: { metric: string; value: string | number | boolean | null; status: number; time: string }[];
};

export type AsideOutbox = Pick<Outbox, "asides" | "replayAsides" | "dropAsides"> & {
  readonly stats: () => { asideRecords: number };
};

/** Most records that are listed; and that are sent again or deleted in one go, between which readings are written. */
const maxListed = 10_000;
const stepRecords = 1000;
const limits = { connections: 4, requestBytes: 1024 * 1024, idleMs: 10_000 };

/** The socket of the gateway that owns an outbox file. */
export function controlPath(outboxPath: string): string {
  return `${outboxPath}.sock`;
}

function viewOf({ epoch, offset, device, writtenAtMs, reason, samples }: AsideRecord): AsideView {
  const shown = samples.map(({ metric, value, status, sourceTimeMs }) => {
    return { metric, value: plainValue(value), status, time: timeText(sourceTimeMs) };
  });
  return { epoch, offset, device, writtenAt: timeText(writtenAtMs), reason, samples: shown };
}

/** Sends again or deletes, step by step: not more than is set aside at first, since what is refused again comes back. */
async function* change(
  outbox: () => AsideOutbox,
  { command, ids }: AsideRequest,
): AsyncGenerator<ControlLine, void, void> {
  const most = ids === "all" ? outbox().stats().asideRecords : ids.length;
  let records = 0;
  for (let at = 0; at < most; at += stepRecords) {
    const some = ids === "all" ? ids : ids.slice(at, at + stepRecords);
    const { replayAsides, dropAsides } = outbox();
    const changed = (command === "replay" ? replayAsides : dropAsides)(some, stepRecords);
    records += changed;
    if (at + stepRecords >= most || (ids === "all" && changed < stepRecords)) break;
    yield { type: "progress", records };
    await turn();
  }
  yield { type: "done", records };
}

/** Answers a request from the outbox that is open, line by line. */
export async function* answerControl(
  outbox: () => AsideOutbox,
  request: AsideRequest,
): AsyncGenerator<ControlLine, void, void> {
  if (request.command !== "list") {
    yield* change(outbox, request);
    return;
  }
  const asides = outbox().asides(maxListed);
  for (const aside of asides) yield { type: "aside", ...viewOf(aside) };
  const total = outbox().stats().asideRecords;
  yield { type: "done", records: asides.length, ...(total > asides.length ? { total } : {}) };
}

function isId(found: unknown): found is RecordId {
  if (typeof found !== "object" || found === null) return false;
  const { epoch, offset } = found as Record<string, unknown>;
  return typeof epoch === "string" && Number.isSafeInteger(offset);
}

/** Reads a request; undefined when it is none. */
export function readControlRequest(text: string): ControlRequest | undefined {
  try {
    const { v, command, ids, device, group, devices } = JSON.parse(text) as Record<string, unknown>;
    if (v === 1 && command === "status") return { v, command };
    if (v === 1 && command === "ask" && typeof device === "string" && typeof group === "string")
      return { v, command, device, group };
    const isTexts = Array.isArray(devices) && devices.every((one) => typeof one === "string");
    if (v === 1 && command === "values" && isTexts) return { v, command, devices };
    if (v !== 1 || (command !== "list" && command !== "replay" && command !== "drop")) return undefined;
    if (ids !== "all" && !(Array.isArray(ids) && ids.every(isId))) return undefined;
    return { v, command, ids };
  } catch {
    return undefined;
  }
}

/** The first line that a socket sends; undefined when it ends or grows beyond the bound before that. */
function firstLine(socket: Socket): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let text = "";
  socket.on("data", (chunk: string) => {
    // What comes after the line is read and thrown away.
    if (text.length > limits.requestBytes || text.includes("\n")) return;
    text += chunk;
    const end = text.indexOf("\n");
    if (end >= 0) resolve(text.slice(0, end));
    else if (text.length > limits.requestBytes) resolve(undefined);
  });
  socket.once("close", () => resolve(undefined)).once("end", () => resolve(undefined));
  return promise;
}

async function* texts(lines: AsyncIterable<ControlLine> | ControlLine[]): AsyncGenerator<string, void, void> {
  for await (const line of lines) yield `${JSON.stringify(line)}\n`;
}

const notUnderstood: ControlLine = { type: "error", message: "this is no request of this version of the program" };

/** The lines of the answer to what was asked. */
function answerOf(
  request: ControlRequest | undefined,
  { outbox, status, ask, values, log }: ControlOptions,
): AsyncIterable<ControlLine> | ControlLine[] {
  if (request === undefined) return [notUnderstood];
  if (request.command === "status") return [{ type: "status", status: status() }];
  if (request.command === "values") {
    const views = values().filter(({ device }) => request.devices.includes(device));
    return [...views.map((device) => ({ type: "values" as const, device })), { type: "done", records: views.length }];
  }
  if (request.command === "ask") return [{ type: "done", records: ask(request.device, request.group) ? 1 : 0 }];
  if (request.command !== "list") log.info({ command: request.command }, "asked to change what is set aside");
  return answerControl(outbox, request);
}

async function serve(socket: Socket, options: ControlOptions): Promise<void> {
  socket.setEncoding("utf8");
  socket.setTimeout(limits.idleMs, () => socket.destroy());
  const line = await firstLine(socket);
  if (line === undefined) {
    socket.destroy();
    return;
  }
  await pipeline(Readable.from(texts(answerOf(readControlRequest(line), options))), socket);
}

/** A socket that an ended process left behind; the lock on the outbox file says that no other process can be using it. */
function removeStale(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path);
  } catch (thrown) {
    if (codeOf(thrown) !== "ENOENT") throw thrown;
  }
}

/** Nobody else may connect, not even between the socket's making and the news that it listens: it is made within this call. */
function listenAlone(server: Server, path: string): void {
  const before = process.umask(0o077);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
}

export type ControlOptions = {
  /** The outbox in use: another one while its medium fails. */
  outbox: () => AsideOutbox;
  /** How the gateway is now. */
  status: () => GatewayStatus;
  /** Has a group of tags of a device read. @returns whether there is one of that name */
  ask: (device: string, group: string) => boolean;
  /** What was read last, device by device. */
  values: () => DeviceView[];
  /** Of the outbox file. */
  path: string;
  /** After so long it tries again to listen. */
  retryMs?: number;
  log: Logger;
};

export type Control = { readonly close: () => Promise<void> };

/**
 * Listens beside the outbox file for `jilian-gateway aside` and `status`, since the file itself belongs to this process alone: a Unix domain socket
 * for this user only. Nothing in it throws: what keeps it from listening is logged and costs the command, never readings. Windows has
 * no such sockets in Node.js; there the command needs the gateway to be stopped.
 */
export function startControl(options: ControlOptions): Control {
  const { path, log, retryMs = 10_000 } = options;
  if (process.platform === "win32") return { close: async () => undefined };
  const at = controlPath(path);
  const tell = atMostEvery(60_000);
  const tellUnavailable = atMostEvery(3_600_000);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serve(socket, options).catch((thrown: unknown) => {
      socket.destroy();
      tell(() =>
        log.warn({ code: "CONTROL_FAILED", found: messageOf(thrown) }, "a request at the control socket failed"),
      );
    });
  });
  server.maxConnections = limits.connections;
  // What is missing may come: the folder of an outbox whose medium is mounted later.
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;
  const failed = (thrown: unknown): void => {
    tellUnavailable(() =>
      log.warn(
        { code: "CONTROL_UNAVAILABLE", path: at, found: messageOf(thrown) },
        "`jilian-gateway aside` and `status` cannot ask this gateway while it runs; a shorter outbox.path in a folder of its own helps",
      ),
    );
    if (!isClosed) retry = setTimeout(listen, retryMs).unref();
  };
  function listen(): void {
    try {
      removeStale(at);
      listenAlone(server, at);
    } catch (thrown) {
      failed(thrown);
    }
  }
  server.on("error", failed);
  server.on("listening", () => {
    try {
      chmodSync(at, 0o600);
    } catch (thrown) {
      // Nobody else may ask: rather no socket than one that is open to others.
      server.close();
      failed(thrown);
    }
  });
  listen();
  return {
    close: async () => {
      isClosed = true;
      clearTimeout(retry);
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
