import { expect, it } from "vitest";
import { type Frame, frameReader, PUBLISH, publishPacket } from "./mqtt-frames.ts";

function read(bytes: Buffer, chunk: number): Frame[] {
  const found: Frame[] = [];
  const take = frameReader((frame) => found.push(frame));
  for (let at = 0; at < bytes.length; at += chunk) take(bytes.subarray(at, at + chunk));
  return found;
}

it("packets are cut out of a stream whatever its chunks, and a PUBLISH gives its topic and payload", () => {
  const long = Buffer.alloc(20_000, 7);
  // MQTT 3.1.1, 3.3: QoS 1 with packet id 10; 3.12: PINGREQ.
  const withId = Buffer.from([0x32, 0x08, 0x00, 0x03, 0x61, 0x2f, 0x62, 0x00, 0x0a, 0x78]);
  const stream = Buffer.concat([
    publishPacket("a/b", long),
    Buffer.from([0xc0, 0x00]),
    withId,
    publishPacket("c", Buffer.alloc(0)),
  ]);
  for (const chunk of [1, 3, 4096, stream.length]) {
    const frames = read(stream, chunk);
    expect(frames.map(({ type, topic }) => [type, topic])).toEqual([
      [PUBLISH, "a/b"],
      [12, undefined],
      [PUBLISH, "a/b"],
      [PUBLISH, "c"],
    ]);
    expect(frames[0]?.payload?.equals(long)).toBe(true);
    expect(frames[2]?.payload?.toString()).toBe("x");
    expect(Buffer.concat(frames.map(({ bytes }) => bytes)).equals(stream)).toBe(true);
  }
});

it("a length of more than four bytes is refused", () => {
  expect(() => read(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]), 6)).toThrow(RangeError);
});
