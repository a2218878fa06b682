import type { Duplex } from "node:stream";

/**
 * A CONNECT with its will, name and password fits in this, and a SUBSCRIBE with more filters than any client has; before it is accepted
 * nobody gets more memory.
 */
const maxSmallBytes = 16_384;
/** What a PUBLISH may hold beside its payload: message id, length of the topic. The topic's own limit comes to it. */
const publishHeadBytes = 4;
/** How many writes, most of them acknowledgements, may wait for one client before the broker gives it up. */
const defaultEndWrites = 200_000;
/** Types of packets, in the upper half of the first byte (MQTT 3.1.1, table 2.1). */
const publishType = 3;
const unsubscribeType = 10;
/** Message id, and a filter of one character (MQTT 3.1.1, 3.10.3-2): Aedes takes one without, and never answers. */
const leastUnsubscribeBytes = 5;

/**
 * Follows the framing of MQTT (3.1.1, 2.2.3: type, length in up to 4 bytes of 7 bits, rest) and tells length and type of each packet as
 * soon as its header is there, long before its end. Feed it every chunk in order.
 */
export function packetLengths(onLength: (lengthBytes: number, type: number) => void): (chunk: Uint8Array) => void {
  let skip = 0;
  let inHeader = false;
  let length = 0;
  let shift = 0;
  let type = 0;
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
        type = byte >> 4;
        length = 0;
        shift = 0;
        continue;
      }
      length += (byte & 0x7f) * 2 ** shift;
      shift += 7;
      if (byte < 0x80 || shift === 28) {
        inHeader = false;
        skip = length;
        onLength(length, type);
      }
    }
  };
}

/**
 * Ends a connection as soon as a packet announces more than is allowed. Aedes has no such limit: it would gather up to 256 MB for anyone
 * who connects. Call it after Aedes has taken the socket: `data` is then emitted by Aedes' own reads and does not set the socket flowing.
 * Only a PUBLISH may be large, and only of a client that was accepted.
 */
export function limitPackets(
  socket: Duplex,
  limits: {
    /** Of the payload and of the topic, now. */
    most: () => { payloadBytes: number; topicBytes: number };
    isAccepted: () => boolean;
    onExcess: (lengthBytes: number) => void;
    /** Told of each chunk after its packets were counted. */
    onChunk?: (packets: number, bytes: number) => void;
  },
): void {
  let packets = 0;
  const follow = packetLengths((lengthBytes, type) => {
    packets += 1;
    if (type === unsubscribeType && lengthBytes < leastUnsubscribeBytes)
      socket.destroy(new Error("UNSUBSCRIBE without a filter"));
    const { payloadBytes, topicBytes } = limits.most();
    const isLarge = type === publishType && limits.isAccepted();
    const most = isLarge ? payloadBytes + topicBytes + publishHeadBytes : maxSmallBytes;
    if (lengthBytes <= most || socket.destroyed) return;
    limits.onExcess(lengthBytes);
    socket.destroy();
  });
  socket.on("data", (chunk: Uint8Array) => {
    follow(chunk);
    limits.onChunk?.(packets, chunk.length);
    packets = 0;
  });
}

/** What waits for clients that read slowly, over all of them. */
export type Backlog = {
  /** @param ownerOf who shares what waits for all with others: an enterprise, or an account of the platform */
  readonly guard: (socket: Duplex, onExcess: () => void, ownerOf: () => string) => void;
  /** Bytes that wait now for all whose socket takes no more. */
  readonly bytes: () => number;
  /** Holds to what may wait for all. Asked for by who writes to a full socket rarely; the guard asks every 64 writes. */
  readonly bound: () => void;
};

/**
 * Bounds what waits for a client that does not read, and for all of them; beyond it the client is ended. Aedes itself would stop reading
 * from every publisher while one subscriber's socket is full, at 64 KiB. Here a subscriber never holds up a publisher: it is told that
 * the socket takes more until the bound is reached, and then that subscriber alone goes.
 * @param most bytes that may wait for one client and for all, now; `writes`: acknowledgements are small and cost far more memory than
 *   their bytes, so a client that sends and does not read meets the bound on their number
 */
export function createBacklog(
  most: () => { clientBytes: number; totalBytes: number },
  endWrites: number = defaultEndWrites,
): Backlog {
  const waiting = new Map<Duplex, { giveUp: () => void; ownerOf: () => string }>();

  function bytes(): number {
    let total = 0;
    for (const socket of waiting.keys()) total += socket.writableLength;
    return total;
  }

  /** Ends the one for which most waits, of the owner for whom most waits, when too much waits for all. */
  function boundAll(): void {
    if (bytes() <= most().totalBytes) return;
    const owners = new Map<string, { bytes: number; slowest: Duplex }>();
    for (const [socket, { ownerOf }] of waiting) {
      const { bytes, slowest } = owners.get(ownerOf()) ?? { bytes: 0, slowest: socket };
      owners.set(ownerOf(), {
        bytes: bytes + socket.writableLength,
        slowest: socket.writableLength > slowest.writableLength ? socket : slowest,
      });
    }
    const [largest] = [...owners.values()].sort((a, b) => b.bytes - a.bytes);
    if (largest) waiting.get(largest.slowest)?.giveUp();
  }
  return {
    bytes,
    bound: boundAll,
    guard: (socket, onExcess, ownerOf) => {
      const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
      let writes = 0;
      const giveUp = () => {
        waiting.delete(socket);
        if (socket.destroyed) return;
        onExcess();
        socket.destroy();
      };
      const settle = () => {
        writes = 0;
        waiting.delete(socket);
      };
      socket.once("close", settle);
      socket.write = (...args: unknown[]) => {
        const taken = write(...args);
        if (taken) {
          if (writes > 0) settle();
          return true;
        }
        if (writes === 0) waiting.set(socket, { giveUp, ownerOf });
        writes += 1;
        if (writes > endWrites || socket.writableLength > most().clientBytes) giveUp();
        else if (writes % 64 === 0) boundAll();
        return true;
      };
    },
  };
}

/** What may happen at once, and how much of that comes back in a second. */
type Allowance = { atOnce: number; perSecond: number };
const maxSpenders = 10_000;

/** Bounds how often something happens, for each of many names apart. */
function budget(allowance: () => Allowance, nowMs: () => number) {
  const spent = new Map<string, { times: number; atMs: number }>();

  function left(name: string): number {
    const { atOnce, perSecond } = allowance();
    const entry = spent.get(name);
    if (!entry) return atOnce;
    return atOnce - Math.max(0, entry.times - ((nowMs() - entry.atMs) / 1000) * perSecond);
  }
  return {
    isLeft: (name: string): boolean => left(name) >= 1,
    spend: (name: string): void => {
      const entry = { times: allowance().atOnce - left(name) + 1, atMs: nowMs() };
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
  budget(() => ({ atOnce: 20, perSecond: 2 }), nowMs);

/**
 * The same over all networks that nobody has logged in from, against guessing from many at once: a fifth of one core at most. Networks
 * that someone has logged in from are not held up by it.
 */
export const strangerBudget = (nowMs: () => number = () => performance.now()) =>
  budget(() => ({ atOnce: 100, perSecond: 20 }), nowMs);

/** Names of some kind, bounded: the one that was added longest ago is forgotten first. */
export function remembered() {
  const known = new Set<string>();
  return {
    has: (name: string): boolean => known.has(name),
    add: (name: string): void => {
      known.delete(name);
      if (known.size >= maxSpenders) known.delete(known.keys().next().value as string);
      known.add(name);
    },
  };
}

/**
 * Bounds how often a client may push out a live one of its own id. A gateway whose old connection is half open does so once; two with one
 * name do it for ever, each with a storm of deaths and births: then the one that is there stays.
 */
export const takeoverBudget = (nowMs: () => number = () => performance.now()) =>
  budget(() => ({ atOnce: 10, perSecond: 0.1 }), nowMs);

/** Bounds how often an address may begin a TLS handshake, which costs the thread that carries everything about a millisecond. */
export const handshakeBudget = (allowance: () => Allowance, nowMs: () => number = () => performance.now()) =>
  budget(allowance, nowMs);

/** Bounds how often something happens in a minute, for each of many names apart; the rate may change. */
export const minuteBudget = (perMinute: () => number, nowMs: () => number = () => performance.now()) =>
  budget(() => ({ atOnce: perMinute(), perSecond: perMinute() / 60 }), nowMs);

/** Bounds lines of the log about one matter, so that nobody fills a disk with refusals: all of them are counted. */
export const lineBudget = (nowMs: () => number = () => performance.now()) =>
  budget(() => ({ atOnce: 20, perSecond: 1 }), nowMs);
