import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dataBytes, dataOf, exceptionOf, findAnswer, identityRequest, objectsOf, readRequest } from "./rtu-frame.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

/** CRC by the polynomial, bit by bit over the reflected message: not the driver's code. */
function withCrc(body: Buffer): Buffer {
  let crc = 0xffffn;
  for (const byte of body) {
    crc ^= BigInt(byte);
    for (let i = 0; i < 8; i += 1) crc = crc % 2n === 1n ? (crc / 2n) ^ 0xa001n : crc / 2n;
  }
  return Buffer.concat([body, Buffer.of(Number(crc % 256n), Number(crc / 256n))]);
}

type Case = { request: Buffer; answer: Buffer };
const unit = fc.integer({ min: 1, max: 247 });
const read: fc.Arbitrary<Case> = fc
  .record({
    unitId: unit,
    code: fc.integer({ min: 1, max: 4 }),
    address: fc.integer({ min: 0, max: 65_535 }),
    quantity: fc.integer({ min: 1, max: 125 }),
    seed: fc.uint8Array({ minLength: 250, maxLength: 250 }),
    exception: fc.option(fc.integer({ min: 1, max: 11 }), { freq: 3 }),
  })
  .map(({ unitId, code, address, quantity, seed, exception }) => {
    const bytes = dataBytes(code, quantity);
    const body =
      exception === null ? [unitId, code, bytes, ...seed.subarray(0, bytes)] : [unitId, code + 128, exception];
    return { request: readRequest(unitId, code, address, quantity), answer: withCrc(Buffer.from(body)) };
  });
const identity: fc.Arbitrary<Case> = fc
  .record({ unitId: unit, objects: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }) })
  .map(({ unitId, objects }) => {
    const list = objects.flatMap((object, i) => [i, object.length, ...object]);
    const body = [unitId, 0x2b, 0x0e, 1, 1, 0, 0, objects.length, ...list];
    return { request: identityRequest(unitId), answer: withCrc(Buffer.from(body)) };
  });
const asked = fc.oneof({ weight: 3, arbitrary: read }, identity);
const junk = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));

/** As a line does: looks after every chunk, however the stream was cut. @returns what was found first */
function lookAfterEach(request: Buffer, chunks: readonly Buffer[]): Buffer | undefined {
  let received = Buffer.alloc(0);
  for (const chunk of chunks) {
    received = Buffer.concat([received, chunk]);
    const found = findAnswer(request, received);
    if (found !== undefined) return found;
  }
  return undefined;
}

describe("findAnswer", () => {
  it("gives exactly the answer, whatever is before and behind it and however the stream was cut", () => {
    fc.assert(
      fc.property(
        asked,
        junk,
        junk,
        fc.array(fc.nat(320), { maxLength: 20 }),
        ({ request, answer }, before, behind, cuts) => {
          const stream = Buffer.concat([before, answer, behind]);
          const at = [0, ...cuts.filter((cut) => cut < stream.length).sort((a, b) => a - b), stream.length];
          const chunks = at.slice(1).map((end, i) => stream.subarray(at[i], end));
          expect(lookAfterEach(request, chunks)).toEqual(answer);
        },
      ),
    );
  });

  it("gives nothing while one byte is missing, wrong or too many", () => {
    fc.assert(
      fc.property(asked, fc.nat(300), fc.integer({ min: 1, max: 255 }), ({ request, answer }, place, change) => {
        const at = place % answer.length;
        const [head, tail] = [answer.subarray(0, at), answer.subarray(at + 1)];
        const changed = Buffer.concat([head, Buffer.of((answer[at] as number) ^ change), tail]);
        expect(findAnswer(request, changed)).toBeUndefined();
        expect(findAnswer(request, answer.subarray(0, -1))).toBeUndefined();
      }),
    );
  });

  it("gives nothing of what is the answer to another request: unit, function, length", () => {
    fc.assert(
      fc.property(read, read, (mine, other) => {
        const [a, b] = [mine.request, other.request];
        const isOther =
          a[0] !== b[0] ||
          a[1] !== b[1] ||
          dataBytes(a.readUInt8(1), a.readUInt16BE(4)) !== dataBytes(b.readUInt8(1), b.readUInt16BE(4));
        fc.pre(isOther && exceptionOf(other.answer) === undefined);
        expect(findAnswer(a, other.answer)).toBeUndefined();
        expect(findAnswer(a, Buffer.concat([a, other.answer, mine.answer]))).toEqual(mine.answer);
      }),
    );
  });

  it("never throws, and gives what it looked for or nothing, from bytes of chance", () => {
    fc.assert(
      fc.property(asked, fc.uint8Array({ maxLength: 300 }), ({ request }, bytes) => {
        expect(findAnswer(request, Buffer.from(bytes))).toBeUndefined();
      }),
    );
  });

  it("steps over another master's exchange with the same unit, and takes the next answer", () => {
    const request = readRequest(1, 3, 0, 1);
    const foreign = [readRequest(1, 3, 64, 1), withCrc(hex("01 03 02 BEEF"))];
    expect(findAnswer(request, Buffer.concat([request, ...foreign]))).toBeUndefined();
    const own = withCrc(hex("01 03 02 002A"));
    expect(findAnswer(request, Buffer.concat([request, ...foreign, own]))).toEqual(own);
  });

  it("skips the answer to another master that asked before us, whatever comes between: our echo, another unit", () => {
    const request = readRequest(1, 3, 7, 1);
    const [foreign, answer] = [readRequest(1, 3, 64, 1), withCrc(hex("01 03 02 BEEF"))];
    const own = withCrc(hex("01 03 02 002A"));
    for (const between of [request, withCrc(hex("02 03 02 0001")), Buffer.alloc(0)]) {
      const behind = Buffer.concat([between, answer, own]);
      expect(findAnswer(request, behind, foreign)).toEqual(own);
      expect(findAnswer(request, behind, Buffer.concat([foreign, between]))).toEqual(own);
      expect(findAnswer(request, Buffer.concat([foreign, behind]))).toEqual(own);
    }
    // It has had its answer before we asked.
    expect(findAnswer(request, Buffer.concat([request, own]), Buffer.concat([foreign, answer]))).toEqual(own);
  });

  it("is bounded on the longest noise that passes for beginnings of answers", () => {
    const request = readRequest(1, 3, 0, 125);
    const noise = Buffer.concat(Array.from({ length: 340 }, () => hex("01 03 FA"))).subarray(0, 1024);
    expect(findAnswer(request, noise)).toBeUndefined();
  });
});

describe("requests", () => {
  it("are those of the standard's examples", () => {
    // V1.1b3, 6.3 reads 3 holding registers from 107 (6Bh); the CRC of unit 17 is that of many manuals.
    expect(readRequest(0x11, 3, 0x6b, 3).toString("hex")).toBe("1103006b00037687");
    expect(identityRequest(1).toString("hex")).toBe("012b0e01007077");
  });

  it("take what an answer holds", () => {
    const answer = withCrc(hex("01 2B 0E 01 01 00 00 02 00 03 414243 02 01 31"));
    expect(objectsOf(answer)).toEqual({ 0: "ABC", 2: "1" });
    expect(exceptionOf(withCrc(hex("01 83 02")))).toBe(2);
    expect(dataOf(withCrc(hex("01 03 02 002A")))).toEqual(hex("002A"));
  });
});
