import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { mediumError } from "./line-errors.ts";
import type { Medium } from "./line-medium.ts";
import { createShare } from "./line-share.ts";
import { createLine, type LineStats, type SharedLine } from "./line-shared.ts";
import { tcpMedium } from "./line-socket.ts";
import { createWays, type Ways } from "./line-ways.ts";
import type { ModbusTag } from "./modbus-config.ts";
import type { ModbusConnection } from "./modbus-connection.ts";
import {
  connectError,
  connectionEnded,
  connectTimeout,
  frameError,
  rangeText,
  requestTimeout,
  stopped,
  type TcpTarget,
} from "./modbus-errors.ts";
import { answerFault, buildFrame, createFrameReader, type Frame, readFrame } from "./modbus-frame.ts";
import { exceptionIn, identityPdu, isUnitAway, objectsIn, readPdu, tableCodes } from "./modbus-pdu.ts";

/**
 * Modbus TCP on one connection for all units of a host and port: converters to RS-485 take one to four connections and serve them one
 * after the other. It is a line (line-shared.ts) whose bytes come in whole frames and whose answers name their requests.
 */

/** Transaction ids given out that are still known: an answer with one of them is late, one with any other is to nobody's request. */
const knownIds = 4096;

/** The transaction ids of a connection: 16 bits, one after the other from an unpredictable start. */
function createIds() {
  let last = Math.floor(Math.random() * 0x10000);
  let given = 0;
  return {
    next(): number {
      given = Math.min(knownIds, given + 1);
      last = (last + 1) & 0xffff;
      return last;
    },
    isKnown: (id: number) => ((last - id) & 0xffff) < given,
  };
}
type Ids = ReturnType<typeof createIds>;

/**
 * A TCP connection that gives whole frames, and none of them late: an answer to an earlier request is counted and thrown away, whatever is
 * asked meanwhile. A stream that cannot be Modbus TCP ends the connection.
 */
function framedMedium(socket: Medium, ids: Ids, onLate: (bytes: number) => void): Medium {
  return {
    ...socket,
    endsIdle: true,
    quietMs: 0,
    async open({ events, ...opening }) {
      const cut = createFrameReader();
      let askedId = -1;
      let heard = false;
      const onData = (chunk: Buffer) => {
        heard = true;
        const frames = cut(chunk);
        if (typeof frames === "string") {
          port.close();
          const remedy = "is it a Modbus TCP server, not RTU over TCP?";
          events.onLost(mediumError("MODBUS_FRAME_INVALID", frames, remedy));
          return;
        }
        for (const frame of frames) {
          const bytes = buildFrame(frame);
          if (frame.transactionId !== askedId && ids.isKnown(frame.transactionId)) onLate(bytes.length);
          else events.onData(bytes);
        }
      };
      // With a cause, the line does not write the request once more: it was seen.
      const onLost = (cause?: unknown) =>
        events.onLost(cause ?? (heard ? new Error("the device closed it amid an answer") : undefined));
      const port = await socket.open({ ...opening, events: { onData, onLost } });
      return {
        close: port.close,
        write(bytes) {
          askedId = readFrame(bytes).transactionId;
          heard = false;
          port.write(bytes);
        },
      };
    },
  };
}

type Place = { readonly host: string; readonly port: number };
const keyOf = ({ host, port }: Place) => `${host.toLowerCase()}:${port}`;

type Port = { readonly line: SharedLine; readonly ids: Ids; users: number; lateBytes: number };

/** The connections that devices of one host and port share, by both. */
export type Ports = {
  /** A device's share in the connection to its host and port, from a connect to the first fault. Opens nothing: the first read does. */
  readonly share: (target: TcpTarget) => ModbusConnection;
  /** Tells addresses of which one stands in for the other: they may be ways to one line, and are never asked at once (line-ways.ts). */
  readonly join: (places: readonly Place[]) => void;
  /** Forgets those that are at none of these places and that nobody uses, and of the others the devices that are at none of them. */
  readonly keep: (places: readonly (Place & { readonly device: string })[]) => void;
  /** As those of lines: `line` is host and port. */
  readonly stats: () => LineStats[];
  /** Ends every connection at once; requests under way fail. */
  readonly close: () => Promise<void>;
};

/** The line's error in the words of Modbus TCP. */
function told(thrown: unknown, target: TcpTarget, address: string): unknown {
  if (!(thrown instanceof JilianError)) return thrown;
  const { code, cause } = thrown;
  if (code === "LINE_TIMEOUT" || code === "LINE_GARBLED") return requestTimeout(target, address);
  if (code === "LINE_STOPPED") return stopped(target);
  if (code === "LINE_OPEN_FAILED") return cause === undefined ? connectTimeout(target) : connectError(target, cause);
  if (code !== "LINE_LOST") return thrown;
  const isNoModbus = codeOf(cause) === "MODBUS_FRAME_INVALID";
  return isNoModbus ? frameError(target, messageOf(cause)) : connectionEnded(target, false, cause);
}

/** @param onEnd called once, when the share has ended */
function openShare({ line, ids }: Port, target: TcpTarget, onEnd: () => void): ModbusConnection {
  const { device, unitId, timeoutMs } = target;
  const share = createShare(line);
  share.signal.addEventListener("abort", onEnd, { once: true });

  async function ask(pdu: Buffer, address: string, isProbe: boolean): Promise<Buffer> {
    const asked: Frame = { transactionId: ids.next(), unitId, pdu };
    /** Among whole frames, of which none is late: the first is the answer, or none to anybody's request. */
    const find = (received: Buffer): Buffer | undefined => {
      if (received.length === 0) return undefined;
      const answer = readFrame(received);
      const isOwn = answer.transactionId === asked.transactionId;
      const fault = isOwn ? answerFault(asked, answer) : "answer with a transaction id that no request under way has";
      if (fault !== undefined) throw frameError(target, fault);
      return buildFrame(answer);
    };
    const isAway = (answer: Buffer) => isUnitAway(exceptionIn(readFrame(answer).pdu));
    const exchange = { device, request: buildFrame(asked), timeoutMs, isProbe, find, isAway };
    const bytes = await share.exchange(exchange, (thrown) => told(thrown, target, address));
    return readFrame(bytes).pdu;
  }

  return {
    fail: share.fail,
    async read(table: ModbusTag["table"], address, quantity, isProbe = false) {
      const range = rangeText(target, table, address, quantity);
      const pdu = await ask(readPdu(tableCodes[table], address, quantity), range, isProbe);
      const exception = exceptionIn(pdu);
      return exception === undefined ? { bytes: pdu.subarray(2) } : { exception };
    },
    async identify() {
      const pdu = await ask(identityPdu, rangeText(target, "identification", 0, 1), false);
      return exceptionIn(pdu) === undefined ? objectsIn(pdu) : {};
    },
  };
}

export function createPorts(log: Logger): Ports {
  const ports = new Map<string, Port>();
  const waysOf = new Map<string, Ways>();

  function portOf({ host, port, endpoint }: TcpTarget): Port {
    const key = keyOf({ host, port });
    const known = ports.get(key);
    if (known !== undefined) return known;
    const ids = createIds();
    const socket = tcpMedium({ id: endpoint, host, port, turnaroundMs: 0 }, log);
    const framed = framedMedium(socket, ids, (bytes) => {
      made.lateBytes += bytes;
    });
    const alone: Medium["alone"] = async (signal) => (await waysOf.get(key)?.take(key, signal)) ?? (() => undefined);
    const line = createLine(endpoint, { ...framed, alone }, log);
    const made: Port = { line, ids, users: 0, lateBytes: 0 };
    ports.set(key, made);
    return made;
  }

  return {
    share(target) {
      const port = portOf(target);
      port.users += 1;
      return openShare(port, target, () => {
        port.users -= 1;
        // A device that nobody reads has its slot back; one that is silent alone is met on a new connection, where nothing old can come.
        if (port.users === 0) port.line.rest();
      });
    },
    join(places) {
      const keys = places.map(keyOf);
      const known = new Set(keys.flatMap((key) => waysOf.get(key) ?? []));
      const ways = known.values().next().value ?? createWays();
      for (const [key, one] of waysOf) if (known.has(one)) waysOf.set(key, ways);
      for (const key of keys) waysOf.set(key, ways);
    },
    keep(places) {
      const wanted = Map.groupBy(places, keyOf);
      for (const key of waysOf.keys()) if (!wanted.has(key)) waysOf.delete(key);
      for (const [key, { users, line }] of ports) {
        line.keep(new Set(wanted.get(key)?.map(({ device }) => device)));
        if (users > 0 || wanted.has(key)) continue;
        ports.delete(key);
        void line.close();
      }
    },
    stats: () =>
      [...ports.values()].map(({ line, lateBytes }) => {
        const stats = line.stats();
        return { ...stats, discardedBytes: stats.discardedBytes + lateBytes };
      }),
    close: async () => void (await Promise.all([...ports.values()].map(({ line }) => line.close()))),
  };
}
