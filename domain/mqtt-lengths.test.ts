import mqttPacket from "mqtt-packet";
import { expect, test } from "vitest";
import { keepEveryLength, keepLength } from "./mqtt-lengths.ts";

const topic = "spBv1.0/f/DDATA/g/d";

/** What the library writes for the length of a message. */
function lengthOf(payload: Buffer, qos: 0 | 1): Buffer {
  const written: Buffer[] = [];
  const stream = { write: (bytes: Buffer) => written.push(bytes) > 0 } as unknown as NodeJS.WritableStream;
  const packet = { cmd: "publish", topic, payload, qos, messageId: 1, dup: false, retain: false } as const;
  mqttPacket.writeToStream(packet, stream);
  return written[1] as Buffer;
}

test.each([0, 1] as const)(
  "a length that the MQTT library keeps holds on to its own bytes, not to the pool: QoS %i",
  (qos) => {
    const { poolSize } = Buffer;
    let heldBytes = 0;
    // Lengths that nothing else in this process has met.
    for (let bytes = 1501 + qos; bytes < 16_300; bytes += 16) {
      const payload = Buffer.alloc(bytes);
      keepLength(topic, payload, qos);
      const length = lengthOf(payload, qos);
      // Seven bits in each byte, the lowest first (MQTT 3.1.1, 2.2.3); a topic of 19 bytes and its length, with QoS 1 the packet's id.
      const sum = bytes + 21 + 2 * qos;
      expect([...length]).toEqual([(sum & 0x7f) | 0x80, sum >> 7]);
      heldBytes += length.buffer.byteLength;
    }
    expect(heldBytes).toBeLessThan(100_000);
    expect(Buffer.poolSize).toBe(poolSize);
  },
);

test("what has no kept length is let through", () => {
  for (const bytes of [0, 16_384, 900_000]) keepLength(topic, Buffer.alloc(bytes), 1);
  keepLength("", Buffer.alloc(0), 0);
});

test("all lengths can be kept before any is met", () => {
  keepEveryLength();
  let heldBytes = 0;
  for (let bytes = 1; bytes < 16_300; bytes += 97) heldBytes += lengthOf(Buffer.alloc(bytes), 0).buffer.byteLength;
  expect(heldBytes).toBeLessThan(1000);
});
