import mqttPacket, { type IPublishPacket } from "mqtt-packet";

/** Lengths below this are kept by the library, each once it is needed. */
const keptBelow = 16_384;
const packet = { cmd: "publish", topic: "t", qos: 0, dup: false, retain: false } as const;
/** Length of the topic in two bytes, and the topic (MQTT 3.1.1, 3.3.2). */
const headBytes = 2 + packet.topic.length;
const noughts = Buffer.alloc(keptBelow);
// What is written goes nowhere; the packet is made for what the library keeps of it.
const nowhere = { write: () => true } as unknown as NodeJS.WritableStream;
const isKept = new Uint8Array(keptBelow);

function keep(length: number): void {
  if (length >= keptBelow || length < headBytes || isKept[length] === 1) return;
  isKept[length] = 1;
  const { poolSize } = Buffer;
  Buffer.poolSize = 0;
  try {
    const same: IPublishPacket = { ...packet, payload: noughts.subarray(0, length - headBytes) };
    mqttPacket.writeToStream(same, nowhere);
  } finally {
    Buffer.poolSize = poolSize;
  }
}

/**
 * To be called before a message is published. The MQTT library keeps the bytes of each length that it has met (mqtt-packet 9.0.2,
 * writeToStream.js: varByteIntCache), cut from the pool of Node's small buffers; each of them alone holds on to its piece of the pool,
 * 64 KiB in Node 24: with messages of ever new lengths up to a gigabyte. Here the library is made to meet a new length while there is no
 * pool, so that it keeps those few bytes alone.
 */
export function keepLength(topic: string, payload: Uint8Array, qos: 0 | 1): void {
  keep(2 + Buffer.byteLength(topic) + (qos > 0 ? 2 : 0) + payload.length);
}

/** The same for all lengths at once, some 4 MB: for a process that does not see what it sends, as a broker. */
export function keepEveryLength(): void {
  for (let length = headBytes; length < keptBelow; length += 1) keep(length);
}
