import type { Socket } from "node:net";

/** A CONNECT with its will, name and password fits in this; before it is accepted nobody gets more memory. */
const maxConnectBytes = 16_384;
/** What a PUBLISH may hold beside its payload: topic, message id. */
const maxTopicBytes = 1024;
/** What may wait for one client before the broker waits for it, and before it gives it up. */
const queue = { waitBytes: 4_194_304, endBytes: 33_554_432 };
/** How many writes, most of them acknowledgements, may wait for one client before the broker gives it up. */
const defaultEndWrites = 200_000;

/**
 * Follows the framing of MQTT (3.1.1, 2.2.3: type, length in up to 4 bytes of 7 bits, rest) and tells the length of each packet as soon
 * as its header is there, long before its end. Feed it every chunk in order.
 */
export function packetLengths(onLength: (lengthBytes: number) => void): (chunk: Uint8Array) => void {
  let skip = 0;
  let inHeader = false;
  let length = 0;
  let shift = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (skip > 0) {
        const step = Math.min(skip, chunk.length - at);
        skip -= step;
        at += step;
        continue;
      }
      const byte = chunk[at] as number;
      at += 1;
      if (!inHeader) {
        inHeader = true;
        length = 0;
        shift = 0;
        continue;
      }
      length += (byte & 0x7f) * 2 ** shift;
      shift += 7;
      if (byte < 0x80 || shift === 28) {
        inHeader = false;
        skip = length;
        onLength(length);
      }
    }
  };
}

/**
 * Ends a connection as soon as a packet announces more than is allowed. Aedes has no such limit: it would gather up to 256 MB for anyone
 * who connects. Call it after Aedes has taken the socket: `data` is then emitted by Aedes' own reads and does not set the socket flowing.
 */
export function limitPackets(
  socket: Socket,
  limits: { maxPayloadBytes: number; isAccepted: () => boolean; onExcess: (lengthBytes: number) => void },
): void {
  const follow = packetLengths((lengthBytes) => {
    const most = limits.isAccepted() ? limits.maxPayloadBytes + maxTopicBytes : maxConnectBytes;
    if (lengthBytes <= most || socket.destroyed) return;
    limits.onExcess(lengthBytes);
    socket.destroy();
  });
  socket.on("data", follow);
}

/**
 * Lets a bounded number of bytes wait for a client. Aedes stops reading from every publisher while one subscriber's socket is full, at
 * 64 KiB by default; a burst must not do that. Beyond the first bound Aedes waits, for its `drainTimeout` at most, and then ends the
 * connection. It never waits with acknowledgements, which are small and cost far more memory than bytes: a client that sends and does
 * not read meets the bound on writes.
 */
export function deferBackPressure(socket: Socket, onExcess: () => void, endWrites = defaultEndWrites): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  let waiting = 0;
  socket.write = (...args: unknown[]) => {
    const taken = write(...args);
    waiting = taken ? 0 : waiting + 1;
    if ((waiting > endWrites || socket.writableLength > queue.endBytes) && !socket.destroyed) {
      onExcess();
      socket.destroy();
    }
    return taken || socket.writableLength < queue.waitBytes;
  };
}

/** What may happen at once, and how much of that comes back in a second. */
type Allowance = { atOnce: number; perSecond: number };
const maxSpenders = 10_000;

/** Bounds how often something happens, for each of many names apart. */
function budget({ atOnce, perSecond }: Allowance, nowMs: () => number) {
  const spent = new Map<string, { times: number; atMs: number }>();

  function left(name: string): number {
    const entry = spent.get(name);
    if (!entry) return atOnce;
    return atOnce - Math.max(0, entry.times - ((nowMs() - entry.atMs) / 1000) * perSecond);
  }
  return {
    isLeft: (name: string): boolean => left(name) >= 1,
    spend: (name: string): void => {
      const entry = { times: atOnce - left(name) + 1, atMs: nowMs() };
      // Deleting first moves the name to the end: the one that spent longest ago is forgotten first.
      spent.delete(name);
      if (spent.size >= maxSpenders) spent.delete(spent.keys().next().value as string);
      spent.set(name, entry);
    },
  };
}

/**
 * Bounds what failed log-ins of an address can cost: each is a slow hash on the thread that carries everything. Only failures count, so
 * that gateways behind one address are not held up by each other's reconnects.
 */
export const failureBudget = (nowMs: () => number = () => performance.now()) =>
  budget({ atOnce: 20, perSecond: 2 }, nowMs);

/**
 * Bounds how often a client may push out a live one of its own id. A gateway whose old connection is half open does so once; two with one
 * name do it for ever, each with a storm of deaths and births: then the one that is there stays.
 */
export const takeoverBudget = (nowMs: () => number = () => performance.now()) =>
  budget({ atOnce: 10, perSecond: 0.1 }, nowMs);
