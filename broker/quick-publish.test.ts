import { createRequire } from "node:module";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type PacketParser, readPublishesQuickly } from "./quick-publish.ts";

// As Aedes has it: the copy that belongs to it, whatever others there are.
const { parser: makeParser } = createRequire(import.meta.resolve("aedes"))("mqtt-packet") as {
  parser: () => PacketParser;
};

type Heard = { packets: object[]; errors: string[]; slow: number };

/** What a parser emits for some pieces; it hears nothing more after an error, as Aedes' clients do. */
function hear(pieces: readonly Buffer[], isQuick: boolean): Heard {
  const parser = makeParser();
  const heard: Heard = { packets: [], errors: [], slow: 0 };
  parser.on("packet", (packet: object) => heard.packets.push({ ...packet }));
  parser.on("error", (error: Error) => {
    heard.errors.push(error.message);
    parser.removeAllListeners("packet");
  });
  const parse = parser.parse.bind(parser);
  parser.parse = (chunk) => {
    heard.slow += 1;
    return parse(chunk);
  };
  if (isQuick) readPublishesQuickly(parser, () => true);
  for (const piece of pieces) if (heard.errors.length === 0) parser.parse(piece);
  return heard;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at
    .slice(1)
    .map((end, i) => bytes.subarray(at[i], end))
    .filter((piece) => piece.length > 0);
}

function framed(first: number, body: Buffer): Buffer {
  const header = [first];
  for (let rest = body.length; header.length === 1 || rest > 0; rest >>= 7)
    header.push((rest & 127) | (rest > 127 ? 128 : 0));
  return Buffer.concat([Buffer.from(header), body]);
}

const id = fc.integer({ min: 1, max: 65_535 }).map((n) => Buffer.from([n >> 8, n & 255]));
const topic = fc
  .oneof(fc.string({ unit: "binary", maxLength: 40 }), fc.constant("spBv1.0/f1/DDATA/gw-1/press"))
  .map((text) => {
    const bytes = Buffer.from(text);
    return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
  });
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 30 }),
  fc.uint8Array({ minLength: 120, maxLength: 300 }),
  fc.constant(new Uint8Array(20_000)),
);
const publish = fc
  .tuple(fc.constantFrom(0x30, 0x31, 0x38, 0x32, 0x3b, 0x34), topic, id, payload)
  .map(([first, name, messageId, bytes]) =>
    framed(first, Buffer.concat([name, ...((first & 6) > 0 ? [messageId] : []), bytes])),
  );
const others = fc.oneof(
  fc.constantFrom(Buffer.from([0xc0, 0]), Buffer.from([0xe0, 0])),
  id.map((bytes) => framed(0x40, bytes)),
  fc.tuple(id, topic).map(([messageId, filter]) => framed(0x82, Buffer.concat([messageId, filter, Buffer.from([1])]))),
);
/** Headers of no packet, lengths without end, a topic longer than its packet. */
const wrong = fc.constantFrom(
  "00",
  "f00100",
  "30ffffffffff7f",
  "3603000161",
  "300400ff6161",
  "320300016161",
  "300100",
  "82020001",
  "41020001",
);
const places = fc.array(fc.nat({ max: 60_000 }), { maxLength: 12 });

it("emits what Aedes' own parser emits, however the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(publish, others), { maxLength: 12 }),
      fc.option(wrong),
      places,
      (packets, end, at) => {
        const bytes = Buffer.concat([...packets, ...(end === null ? [] : [Buffer.from(end, "hex")])]);
        const pieces = cut(bytes, at);
        const [quick, slow] = [hear(pieces, true), hear(pieces, false)];
        expect(quick.packets).toEqual(slow.packets);
        expect(quick.errors).toEqual(slow.errors);
      },
    ),
    { numRuns: 500, seed: 20_261_127 },
  );
});

it("leaves nothing of a client's messages to that parser, whole or in pieces", () => {
  const one = framed(0x32, Buffer.concat([Buffer.from("0001610001", "hex"), Buffer.alloc(1000)]));
  const bytes = Buffer.concat(Array.from({ length: 20 }, () => one));
  // No piece begins within a header.
  const heard = hear(cut(bytes, [500, 700, 2500, 9000, 9100]), true);
  expect([heard.packets.length, heard.slow]).toEqual([20, 0]);
});
