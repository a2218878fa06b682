import type { Overheard } from "./line.ts";
import { crc16 } from "./modbus-frame.ts";
import { exceptionIn, identityPdu, objectsIn, readPdu } from "./modbus-pdu.ts";

/**
 * Frames of Modbus RTU (MODBUS over Serial Line V1.02, 2.5.1; application protocol V1.1b3): unit, PDU, CRC. They have neither a beginning
 * nor a length of their own, so that an answer is looked for by what was asked. Pure.
 */

const identification = 0x2b;
const meiType = 0x0e;
const exceptionBit = 0x80;
const exceptionBytes = 5;
/** Of a request to read, of one to write a single value and its answer, and of the answer to a write of several. */
const shortBytes = 8;
/** Unit, function, byte count, CRC: an answer to a read without its data. */
const readOverhead = 5;
/** Unit, function, address, quantity, byte count, CRC: a request to write several values without its data. */
const writeOverhead = 9;
/** Unit, function, MEI type, read code, conformity, more follows, next object, number of objects. */
const identityHead = 8;
const crcBytes = 2;

/** Unit and PDU with the CRC behind. */
function frameOf(unitId: number, pdu: Buffer): Buffer {
  const frame = Buffer.concat([Buffer.of(unitId), pdu, Buffer.alloc(crcBytes)]);
  frame.writeUInt16LE(crc16(frame.subarray(0, -crcBytes)), frame.length - crcBytes);
  return frame;
}

/** A read of registers or bits. @param code function 1-4 */
export function readRequest(unitId: number, code: number, address: number, quantity: number): Buffer {
  return frameOf(unitId, readPdu(code, address, quantity));
}

/** Read Device Identification of the basic objects (V1.1b3, 6.21). */
export function identityRequest(unitId: number): Buffer {
  return frameOf(unitId, identityPdu);
}

/** Bytes of data in the answer to a read. @param code function 1-4 */
export function dataBytes(code: number, quantity: number): number {
  return code <= 2 ? Math.ceil(quantity / 8) : 2 * quantity;
}

/** Most bytes in the answer to a request: of an identification what a frame holds (V1.02, 2.5.1: 256). */
export function answerBytes(request: Buffer): number {
  const code = request.readUInt8(1);
  return code === identification ? 256 : readOverhead + dataBytes(code, request.readUInt16BE(4));
}

function fitsCrc(bytes: Buffer, at: number, length: number): boolean {
  const end = at + length;
  return end <= bytes.length && crc16(bytes.subarray(at, end - crcBytes)) === bytes.readUInt16LE(end - crcBytes);
}

/** Length of an identification's answer, by its list of objects; undefined while that is not whole. */
function identityLength(bytes: Buffer, at: number): number | undefined {
  let length = identityHead;
  for (let left = bytes[at + identityHead - 1] ?? 256; left > 0; left -= 1) {
    const size = bytes[at + length + 1];
    if (size === undefined) return undefined;
    length += 2 + size;
  }
  return length + crcBytes;
}

/** Length that an answer to the request has at a place, if one begins there. */
function answerLength(request: Buffer, bytes: Buffer, at: number): number | undefined {
  const code = request.readUInt8(1);
  if (bytes[at] !== request[0]) return undefined;
  if (bytes[at + 1] === (code | exceptionBit)) return exceptionBytes;
  if (bytes[at + 1] !== code) return undefined;
  if (code === identification) return bytes[at + 2] === meiType ? identityLength(bytes, at) : undefined;
  const data = dataBytes(code, request.readUInt16BE(4));
  return bytes[at + 2] === data ? readOverhead + data : undefined;
}

/** Lengths that a frame of a function may have: request and answer to it, or exception. */
function lengthsOf(code: number, bytes: Buffer, at: number): readonly number[] {
  if (code >= 1 && code <= 4) return [shortBytes, readOverhead + (bytes[at + 2] ?? 0)];
  // A write of one value, and of several (V1.1b3, 6.5, 6.6, 6.11, 6.12).
  if (code === 5 || code === 6) return [shortBytes];
  if (code === 15 || code === 16) return [shortBytes, writeOverhead + (bytes[at + 6] ?? 0)];
  return code > exceptionBit ? [exceptionBytes] : [];
}

/** Length of a whole frame of somebody else at a place. */
function foreignLength(bytes: Buffer, at: number): number | undefined {
  const lengths = lengthsOf(bytes[at + 1] ?? 0, bytes, at);
  return lengths.find((length) => fitsCrc(bytes, at, length));
}

/**
 * Whether another master waits for an answer that ours cannot be told from, after one more frame on the line.
 * @param wasAsked whether it did before: an echo of our request and what others than the unit say change nothing of that
 */
function isAskedAfter(request: Buffer, frame: Buffer, wasAsked: boolean): boolean {
  if (frame[0] !== request[0] || frame.equals(request)) return wasAsked;
  return frame.length === shortBytes && frame[1] === request[1];
}

function* framesIn(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at + exceptionBytes <= bytes.length; ) {
    const length = foreignLength(bytes, at);
    if (length !== undefined) yield bytes.subarray(at, at + length);
    at += length ?? 1;
  }
}

/**
 * Whether a frame asks, and does not answer. An answer with three bytes of bits is as long as a request for bits from 768 on; it is taken
 * for an answer.
 */
function isRequest(frame: Buffer, before: Buffer | undefined): boolean {
  const code = frame.readUInt8(1);
  if (code === 15 || code === 16) return frame.length > shortBytes;
  if (frame.length !== shortBytes || code > 6 || (code <= 2 && frame[2] === 3)) return false;
  // The answer to a write of one value is the request once more.
  return code <= 4 || before?.equals(frame) !== true;
}

/** What other masters ask, among bytes that came while nobody was asked or beside an answer (an echo left out). */
export function overheardIn(bytes: Buffer): Overheard {
  let requests = 0;
  let isAwaiting = false;
  let before: Buffer | undefined;
  for (const frame of framesIn(bytes)) {
    const asks = isRequest(frame, before);
    if (asks) requests += 1;
    // Nobody answers a broadcast.
    isAwaiting = asks && frame[0] !== 0;
    before = asks ? frame : undefined;
  }
  return { requests, isAwaiting };
}

/** Whether the last whole frame that concerns the unit asks for something that the answer to our request cannot be told from. */
function isAskedAlike(request: Buffer, heard: Buffer): boolean {
  let isAsked = false;
  for (const frame of framesIn(heard)) {
    const isAnswer = frame[0] === request[0] && !isRequest(frame, undefined);
    isAsked = !isAnswer && isAskedAfter(request, frame, isAsked);
  }
  return isAsked;
}

/**
 * Looks for the answer among what was received since the request was written. Whole frames of others (an echo of the request, another
 * unit, another master) are stepped over, and noise byte by byte.
 * @param request of {@link readRequest} or {@link identityRequest}
 * @param heard what came shortly before the request: the first answer may be to another master that asked there
 * @returns the frame: right unit and function, the length that was asked for or an exception, and a CRC that fits; undefined otherwise
 */
export function findAnswer(request: Buffer, received: Buffer, heard: Buffer = Buffer.alloc(0)): Buffer | undefined {
  let isAnswerToOther = isAskedAlike(request, heard);
  let at = 0;
  while (at + exceptionBytes <= received.length) {
    const own = answerLength(request, received, at);
    if (own !== undefined && fitsCrc(received, at, own)) {
      if (!isAnswerToOther) return received.subarray(at, at + own);
      isAnswerToOther = false;
      at += own;
      continue;
    }
    const foreign = foreignLength(received, at);
    if (foreign !== undefined)
      isAnswerToOther = isAskedAfter(request, received.subarray(at, at + foreign), isAnswerToOther);
    at += foreign ?? 1;
  }
  return undefined;
}

/** The exception code of an answer that is one. */
export function exceptionOf(answer: Buffer): number | undefined {
  return exceptionIn(answer.subarray(1));
}

/** The data of an answer to a read. */
export function dataOf(answer: Buffer): Buffer {
  return answer.subarray(3, -crcBytes);
}

/** The objects of an identification by their ids; those of a broken list that were whole. */
export function objectsOf(answer: Buffer): Record<number, string> {
  return objectsIn(answer.subarray(1, -crcBytes));
}
