/** MQTT 3.1.1 packets, from frames to what the checks look at. */
import { type Frame, PUBLISH, SUBACK } from "../faults/mqtt-frames.ts";
import type { Message, Packet } from "./capture.ts";
import { rawPayload } from "./payload.ts";

type Body<P> = P extends Packet ? Omit<P, "at" | "who" | "link" | "from"> : never;

const utf8 = new TextDecoder("utf-8", { fatal: true });

function isText(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function stateOf(bytes: Uint8Array): Message["state"] {
  return attempt(() => {
    const found: unknown = JSON.parse(utf8.decode(bytes));
    return typeof found === "object" && found !== null && "online" in found && "timestamp" in found
      ? { online: found.online, timestamp: found.timestamp }
      : undefined;
  });
}

function messageOf(topicBytes: Uint8Array, bytes: Uint8Array, qos: number, retain: boolean): Message {
  const topic = Buffer.from(topicBytes).toString("utf8");
  const isState = topic.startsWith("spBv1.0/STATE/");
  return {
    topic,
    isTopicText: isText(topicBytes),
    qos,
    retain,
    payload: isState ? undefined : attempt(() => rawPayload(bytes)),
    state: isState ? stateOf(bytes) : undefined,
  };
}

/** Reads fields one after the other from behind the fixed header. */
function reader(bytes: Buffer) {
  let at = 1;
  while ((bytes[at] as number) >= 0x80) at += 1;
  at += 1;
  const take = (length: number): Buffer => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  return {
    byte: (): number => take(1).readUInt8(),
    two: (): number => take(2).readUInt16BE(),
    field: (): Buffer => take(take(2).readUInt16BE()),
    rest: (): Buffer => take(bytes.length - at),
    isAtEnd: (): boolean => at >= bytes.length,
  };
}

/** CONNECT: protocol, flags, client id, will (MQTT 3.1.1, 3.1). */
function connectOf(bytes: Buffer): Body<Packet> {
  const read = reader(bytes);
  read.field();
  const protocolLevel = read.byte();
  const flags = read.byte();
  read.two();
  const clientId = read.field().toString("utf8");
  const hasWill = (flags & 4) !== 0;
  const will = hasWill ? messageOf(read.field(), read.field(), (flags >> 3) & 3, (flags & 32) !== 0) : undefined;
  return { kind: "connect", protocolLevel, clientId, clean: (flags & 2) !== 0, will };
}

/** One packet; undefined for pings and what else says nothing about Sparkplug. */
export function packetOf({ bytes, type }: Frame): Body<Packet> | undefined {
  const read = reader(bytes);
  const first = bytes[0] as number;
  switch (type) {
    case 1:
      return connectOf(bytes);
    case 2:
      read.byte();
      return { kind: "connack", code: read.byte() };
    case PUBLISH: {
      const qos = (first >> 1) & 3;
      const topic = read.field();
      const id = qos > 0 ? read.two() : undefined;
      return { kind: "publish", ...messageOf(topic, read.rest(), qos, (first & 1) !== 0), id };
    }
    case 4:
      return { kind: "puback", id: read.two() };
    case 8: {
      const id = read.two();
      const filters: { filter: string; qos: number }[] = [];
      while (!read.isAtEnd()) filters.push({ filter: read.field().toString("utf8"), qos: read.byte() });
      return { kind: "subscribe", id, filters };
    }
    case SUBACK:
      return { kind: "suback", id: read.two(), codes: [...read.rest()] };
    case 14:
      return { kind: "disconnect" };
    default:
      return undefined;
  }
}
