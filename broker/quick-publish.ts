import type { EventEmitter } from "node:events";

/** What is used of mqtt-packet 9.0.2's parser (parser.js) beside its events. */
export type PacketParser = EventEmitter & {
  parse: (chunk: Buffer) => number;
  /** Which part of a packet comes next: 0 header, 1 length, 2 the rest. */
  readonly _stateCounter: number;
  /** Bytes that wait for the rest of their packet. */
  readonly _list: { readonly length: number };
  readonly packet: { readonly length: number };
  /** What it has found wrong: it reads no further. */
  readonly error: Error | null;
};

const publishType = 3;
const restState = 2;

/** The frame of a packet (MQTT 3.1.1, 2.2): where its header ends, and all of it. Undefined where the header is not whole, or no header. */
function frameAt(chunk: Buffer, at: number): { bodyAt: number; endAt: number } | undefined {
  let length = 0;
  for (let i = 0; i < 4; i += 1) {
    const byte = chunk[at + 1 + i];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return { bodyAt: at + 2 + i, endAt: at + 2 + i + length };
  }
  return undefined;
}

/** A PUBLISH with QoS 0 or 1. */
const isQuick = (first: number): boolean => first >> 4 === publishType && (first & 0x04) === 0;

/** Emits one whole PUBLISH as the parser does; false when it is not well formed, which the parser is to say. */
function emitPublish(parser: PacketParser, chunk: Buffer, at: number, bodyAt: number, endAt: number): boolean {
  const first = chunk[at] as number;
  const qos = (first >> 1) & 1;
  const topicAt = bodyAt + 2;
  const topicEndAt = topicAt + (((chunk[bodyAt] as number) << 8) | (chunk[bodyAt + 1] as number));
  const payloadAt = topicEndAt + 2 * qos;
  // Both bytes of the topic's length must be the packet's own, too.
  if (!(topicAt <= endAt && payloadAt <= endAt)) return false;
  const retain = (first & 0x01) !== 0;
  const dup = (first & 0x08) !== 0;
  const length = endAt - bodyAt;
  const topic = chunk.toString("utf8", topicAt, topicEndAt);
  const payload = chunk.subarray(payloadAt, endAt);
  if (qos === 0) parser.emit("packet", { cmd: "publish", retain, qos, dup, length, topic, payload });
  else {
    const messageId = ((chunk[topicEndAt] as number) << 8) | (chunk[topicEndAt + 1] as number);
    parser.emit("packet", { cmd: "publish", retain, qos, dup, length, topic, payload, messageId });
  }
  return true;
}

/** Collects a packet that comes in pieces. */
function pieces() {
  let kept: Buffer[] = [];
  let missing = 0;
  return {
    isEmpty: () => missing === 0,
    begin: (start: Buffer, wholeBytes: number): void => {
      kept = [start];
      missing = wholeBytes - start.length;
    },
    /** Takes what is missing, as far as it has come. @returns how much that was, and the packet once it is whole */
    add: (chunk: Buffer): { taken: number; whole: Buffer | undefined } => {
      const piece = chunk.subarray(0, missing);
      kept.push(piece);
      missing -= piece.length;
      if (missing > 0) return { taken: piece.length, whole: undefined };
      const whole = Buffer.concat(kept);
      kept = [];
      return { taken: piece.length, whole };
    },
  };
}

/**
 * Reads the messages of an accepted client without the parser of Aedes (mqtt-packet), which takes each packet byte by byte through a list
 * of buffers: a third of what a message cost. Only well-formed PUBLISH packets with QoS 0 and 1 are read here, and emitted as the parser
 * emits them; everything else still goes through it, in order. The lengths of packets are bounded before (limits.ts).
 * @param parser of a client; changed
 */
export function readPublishesQuickly(parser: PacketParser, isAccepted: () => boolean): void {
  const parse = parser.parse.bind(parser);
  const pending = pieces();
  const isBetweenPackets = () => parser._stateCounter === 0 && parser._list.length === 0;

  /** Gives the parser what it lacks of the packet that it has begun. @returns where the next one starts */
  function finishBegun(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && !isBetweenPackets() && !parser.error) {
      const lacks = parser._stateCounter === restState ? parser.packet.length - parser._list.length : 1;
      const end = Math.min(chunk.length, at + Math.max(1, lacks));
      parse(chunk.subarray(at, end));
      at = end;
    }
    return at;
  }

  /** @returns where the next packet starts */
  function finishPending(chunk: Buffer): number {
    const { taken, whole } = pending.add(chunk);
    if (!whole) return taken;
    const frame = frameAt(whole, 0);
    if (!frame || !emitPublish(parser, whole, 0, frame.bodyAt, frame.endAt)) parse(whole);
    return taken;
  }

  parser.parse = (chunk) => {
    if (!isAccepted()) return parse(chunk);
    let at = pending.isEmpty() ? finishBegun(chunk) : finishPending(chunk);
    if (parser.error) return 0;
    // What is not read here is gathered, and given to the parser before the next message is emitted.
    let restAt = at;
    while (at < chunk.length) {
      const frame = frameAt(chunk, at);
      if (!frame) break;
      const { bodyAt, endAt } = frame;
      if (!isQuick(chunk[at] as number)) {
        at = endAt;
        continue;
      }
      if (restAt < at) parse(chunk.subarray(restAt, at));
      if (parser.error) return 0;
      restAt = at;
      if (endAt > chunk.length) {
        pending.begin(chunk.subarray(at), endAt - at);
        return 0;
      }
      if (emitPublish(parser, chunk, at, bodyAt, endAt)) restAt = endAt;
      at = endAt;
    }
    return restAt < chunk.length ? parse(chunk.subarray(restAt)) : 0;
  };
}
