/** Meters of DL/T 645-2007 on one line: behind a converter on TCP, or on any stream of bytes (a pseudo-terminal); faults on command. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  type ActiveDlt645Fault,
  createDlt645Faults,
  type Dlt645FaultSet,
  type Dlt645FaultSpec,
  parseDlt645Fault,
} from "./dlt645-faults.ts";
import { buildDlt645Frame, createDlt645Reader, type Dlt645Frame, reversed } from "./dlt645-frame.ts";
import { isReadControl, type Meter, REFUSAL } from "./dlt645-meter.ts";

export type Dlt645Request = {
  readonly address: string;
  readonly control: number;
  /** DI3..DI0; empty where the request has none. */
  readonly dataId: string;
};

export type Dlt645Stats = {
  requests: number;
  answers: number;
  /** Requests of a control code that does not read. */
  writesRefused: number;
  /** Requests left unanswered: silent or unknown meters. */
  unanswered: number;
};

export type Dlt645Line = {
  /** Serves one stream of bytes until it ends. */
  serve(stream: Duplex): void;
  /** The last 10,000 requests, oldest first. */
  readonly requests: readonly Dlt645Request[];
  stats(): Readonly<Dlt645Stats>;
  /** Throws a TypeError that names every complaint. */
  startFault(spec: Dlt645FaultSpec): ActiveDlt645Fault;
  /** Ends one fault, or all; gives how many. */
  clearFaults(id?: number): number;
  faults(): readonly ActiveDlt645Fault[];
  /** Answers that still wait are not sent. */
  close(): void;
};

const MAX_REQUESTS = 10_000;
/** Begins like a frame, and again, and is none. */
const NOISE = Buffer.from("00686800ff68112233445566680108", "hex");
const OTHER_ADDRESS = "000000000099";

/** The bytes that a meter's answer becomes on a faulty line. */
function corrupted(request: Buffer, answer: Dlt645Frame, faults: Dlt645FaultSet, dataId: string): Buffer {
  const strike = <K extends Dlt645FaultSpec["kind"]>(kind: K) => faults.strike(kind, answer.address, dataId);
  const parts: Buffer[] = [];
  if (strike("echo") !== undefined) parts.push(request);
  if (strike("noise") !== undefined) parts.push(NOISE);
  const other = strike("otherMeter");
  if (other !== undefined) parts.push(buildDlt645Frame({ ...answer, address: OTHER_ADDRESS }));
  if (other?.instead === true) return Buffer.concat(parts);
  const error = strike("errorAnswer");
  const refusal = { control: answer.control | REFUSAL, data: Buffer.from([error?.error ?? 0]) };
  const said = error === undefined ? answer : { ...answer, ...refusal };
  const wrongId = Buffer.concat([reversed("FFFFFFFF"), said.data.subarray(4)]);
  const frame = buildDlt645Frame(strike("otherData") === undefined ? said : { ...said, data: wrongId });
  if (strike("wrongChecksum") !== undefined)
    frame.writeUInt8((frame.readUInt8(frame.length - 2) + 1) & 0xff, frame.length - 2);
  parts.push(Buffer.alloc(strike("preamble")?.bytes ?? 0, 0xfe), frame);
  return Buffer.concat(parts);
}

/** Puts meters on a line. Meters of one address both answer, as real ones would. */
export function createDlt645Line(meters: readonly Meter[]): Dlt645Line {
  const faults = createDlt645Faults();
  const requests: Dlt645Request[] = [];
  const stats: Dlt645Stats = { requests: 0, answers: 0, writesRefused: 0, unanswered: 0 };
  const timers = new Set<NodeJS.Timeout>();

  function later(delayMs: number, action: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer);
      action();
    }, delayMs);
    timers.add(timer);
  }

  function send(stream: Duplex, bytes: Buffer, gapMs: number | undefined): void {
    if (!stream.writable || bytes.length === 0) return;
    stream.write(gapMs === undefined ? bytes : bytes.subarray(0, 1));
    if (gapMs !== undefined) later(gapMs, () => send(stream, bytes.subarray(1), gapMs));
  }

  function answer(stream: Duplex, meter: Meter, frame: Dlt645Frame, bytes: Buffer, dataId: string): void {
    const said = faults.strike("silent", meter.address, dataId) === undefined ? meter.answer(frame) : undefined;
    if (said === undefined) {
      stats.unanswered += 1;
      return;
    }
    stats.answers += 1;
    const sent = corrupted(bytes, said, faults, dataId);
    const gapMs = faults.strike("slowBytes", meter.address, dataId)?.gapMs;
    const late = faults.strike("late", meter.address, dataId);
    if (late === undefined) send(stream, sent, gapMs);
    else later(late.delayMs, () => send(stream, sent, gapMs));
  }

  return {
    requests,
    serve(stream) {
      stream.on("error", () => stream.destroy());
      const read = createDlt645Reader((frame, bytes) => {
        const { address, control, data } = frame;
        const dataId = data.length < 4 ? "" : Buffer.from(data.subarray(0, 4)).reverse().toString("hex").toUpperCase();
        requests.push({ address, control, dataId });
        if (requests.length > MAX_REQUESTS) requests.shift();
        stats.requests += 1;
        if (!isReadControl(control)) stats.writesRefused += 1;
        const meant = meters.filter((meter) => meter.isMeant(address));
        if (meant.length === 0) stats.unanswered += 1;
        for (const meter of meant) answer(stream, meter, frame, bytes, dataId);
      });
      stream.on("data", read);
    },
    stats: () => ({ ...stats }),
    startFault(input) {
      const parsed = parseDlt645Fault(input);
      if ("errors" in parsed) throw new TypeError(parsed.errors.join("; "));
      return faults.add(parsed.spec);
    },
    clearFaults: (id) => faults.remove(id),
    faults: () => faults.list(),
    close() {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
  };
}

export type Dlt645Server = Dlt645Line & {
  readonly host: string;
  readonly port: number;
  /** Open now. */
  connections(): number;
  /** Resets every connection; new ones are welcome. */
  cut(): void;
  stop(): Promise<void>;
};

/** A converter on TCP in front of the line. Rejects with the listener's error (for example EADDRINUSE). */
export async function startDlt645Server(options: {
  readonly meters: readonly Meter[];
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free port. */
  readonly port: number;
}): Promise<Dlt645Server> {
  const { meters, host = "127.0.0.1" } = options;
  const line = createDlt645Line(meters);
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    line.serve(socket);
  });
  listener.maxConnections = 16;
  listener.listen(options.port, host);
  await once(listener, "listening");
  const address = listener.address();
  return {
    ...line,
    host,
    port: typeof address === "object" && address !== null ? address.port : options.port,
    connections: () => sockets.size,
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async stop() {
      line.close();
      const closed = once(listener, "close");
      listener.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
