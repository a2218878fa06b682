/** MQTT 3.1.1 on the wire, as far as a proxy needs it: packets whole, and what a PUBLISH carries. */

export type Frame = {
  readonly bytes: Buffer;
  /** Packet type, 1 CONNECT to 14 DISCONNECT (MQTT 3.1.1, 2.2.1). */
  readonly type: number;
  /** Of a PUBLISH. */
  readonly topic?: string;
  readonly payload?: Buffer;
};

export const PUBLISH = 3;
export const SUBACK = 9;

/** Length of the packet at the start of the bytes and of its fixed header; undefined while that is not whole. */
function lengths(bytes: Buffer): { header: number; total: number } | undefined {
  let size = 0;
  for (let i = 1; i <= 4; i += 1) {
    const digit = bytes[i];
    if (digit === undefined) return undefined;
    size += (digit & 0x7f) * 128 ** (i - 1);
    if (digit < 0x80) return { header: i + 1, total: i + 1 + size };
  }
  throw new RangeError("the remaining length of an MQTT packet has more than four bytes");
}

function frameOf(bytes: Buffer, header: number): Frame {
  const first = bytes[0] as number;
  const type = first >> 4;
  if (type !== PUBLISH) return { bytes, type };
  const topicEnd = header + 2 + bytes.readUInt16BE(header);
  const packetId = (first & 0x06) === 0 ? 0 : 2;
  return {
    bytes,
    type,
    topic: bytes.toString("utf8", header + 2, topicEnd),
    payload: bytes.subarray(topicEnd + packetId),
  };
}

/** Cuts a stream into packets, whatever its chunks. */
export function frameReader(take: (frame: Frame) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let found = lengths(rest); found && rest.length >= found.total; found = lengths(rest)) {
      const { header, total } = found;
      const bytes = Buffer.from(rest.subarray(0, total));
      rest = rest.subarray(total);
      take(frameOf(bytes, header));
    }
  };
}

/** A PUBLISH at QoS 0, not retained. */
export function publishPacket(topic: string, payload: Uint8Array): Buffer {
  const name = Buffer.from(topic, "utf8");
  const size = 2 + name.length + payload.length;
  const length: number[] = [];
  for (let left = size; ; ) {
    const digit = left % 128;
    left = Math.floor(left / 128);
    length.push(left > 0 ? digit | 0x80 : digit);
    if (left === 0) break;
  }
  const head = Buffer.alloc(2);
  head.writeUInt16BE(name.length);
  return Buffer.concat([Buffer.from([PUBLISH << 4, ...length]), head, name, payload]);
}
