import type { Overheard } from "./line.ts";

/**
 * Frames of DL/T 645-2007, as bytes. A frame (clause 5.2): 68H, address A0..A5, 68H, control code C, length L, L bytes of data, checksum
 * CS, 16H. Addresses and data travel least significant byte first (5.3.2), and every data byte is sent plus 33H (5.2.5).
 */

/** What may leave the gateway: read data and read following data (clause 7). Everything else of the standard sets or controls a meter. */
const readControls = [0x11, 0x12] as const;
type ReadControl = (typeof readControls)[number];

/** One question to one meter. */
export type Asked = {
  /** 12 decimal digits, most significant first, as printed on the meter. */
  readonly meterAddress: string;
  /** DI3 DI2 DI1 DI0 as 8 hexadecimal digits, as the standard writes them. */
  readonly dataId: string;
  /** Number of a following frame, 1-255; undefined for the first. */
  readonly sequence?: number;
};

export type Answer =
  | { readonly kind: "data"; readonly data: Buffer; readonly more: boolean }
  /** The meter refuses: the error byte of the standard's annex on codes, see dlt645-errors.ts. */
  | { readonly kind: "refused"; readonly error: number };

const start = 0x68;
const end = 0x16;
const offset = 0x33;
/** 68H, address, 68H, C, L before the data; CS and 16H behind them. */
const headBytes = 10;
const tailBytes = 2;
/** L of an answer to a read is at most 200 (5.2.4). */
const maxDataBytes = 200;
const dataIdBytes = 4;
/** Up to four bytes that wake a meter's receiver, sent before each request (5.3.1). */
const preamble = Buffer.alloc(4, 0xfe);

/** The address of the broadcast. */
const everyone = Buffer.alloc(6, 0x99);
const fromServer = 0x80;
const refuses = 0x40;
const moreFollows = 0x20;

function leastFirst(digits: string): Buffer {
  return Buffer.from(digits, "hex").reverse();
}

function controlOf({ sequence }: Asked): ReadControl {
  return sequence === undefined ? 0x11 : 0x12;
}

/** Sum of the bytes modulo 256 (5.2.6). */
export function checksum(bytes: Buffer): number {
  return bytes.reduce((sum, byte) => (sum + byte) & 0xff, 0);
}

/**
 * The bytes of a read request, wake-up bytes included. No other request can be made: there is no control code to pass.
 * @throws RangeError for an address that is not 12 decimal digits, or is the broadcast address, which no meter answers
 */
export function requestFrame(asked: Asked): Buffer {
  const { meterAddress, dataId, sequence } = asked;
  if (!/^\d{12}$/.test(meterAddress) || meterAddress === "9".repeat(12)) {
    throw new RangeError(`"${meterAddress}" is no address of one meter`);
  }
  const data = [...leastFirst(dataId), ...(sequence === undefined ? [] : [sequence])].map((byte) => byte + offset);
  const head = [start, ...leastFirst(meterAddress), start, controlOf(asked), data.length];
  const frame = Buffer.from([...head, ...data]);
  return Buffer.concat([preamble, frame, Buffer.from([checksum(frame), end])]);
}

/** Length of the frame that begins at a byte; 0 when none begins there, undefined while it may still come. */
function frameLength(bytes: Buffer, at: number): number | undefined {
  if (bytes[at] !== start) return 0;
  if (at + headBytes > bytes.length) return undefined;
  const dataBytes = bytes.readUInt8(at + headBytes - 1);
  if (bytes[at + 7] !== start || dataBytes > maxDataBytes) return 0;
  const length = headBytes + dataBytes + tailBytes;
  if (at + length > bytes.length) return undefined;
  const sum = checksum(bytes.subarray(at, at + length - tailBytes));
  return bytes[at + length - 2] === sum && bytes[at + length - 1] === end ? length : 0;
}

/**
 * Reads a whole frame as the answer to a question.
 * @returns undefined when it is none: another meter's, a request or its echo, of another control code, data identifier or sequence number
 */
export function answerIn(frame: Buffer, asked: Asked): Answer | undefined {
  if (!frame.subarray(1, 7).equals(leastFirst(asked.meterAddress))) return undefined;
  const control = frame.readUInt8(8);
  const data = frame.subarray(headBytes, -tailBytes).map((byte) => byte - offset) as Buffer;
  const expected = controlOf(asked) | fromServer;
  if (control === (expected | refuses)) {
    return data.length === 1 ? { kind: "refused", error: data.readUInt8(0) } : undefined;
  }
  if (control !== expected && control !== (expected | moreFollows)) return undefined;
  if (!data.subarray(0, dataIdBytes).equals(leastFirst(asked.dataId))) return undefined;
  const more = (control & moreFollows) !== 0;
  if (asked.sequence === undefined) return { kind: "data", data: data.subarray(dataIdBytes), more };
  if (data.length <= dataIdBytes || data.at(-1) !== asked.sequence) return undefined;
  return { kind: "data", data: data.subarray(dataIdBytes, -1), more };
}

/** The whole frames, whatever is between them passed over. */
function* framesIn(received: Buffer): Generator<Buffer> {
  for (let at = received.indexOf(start); at >= 0; at = received.indexOf(start, at)) {
    const length = frameLength(received, at) ?? 0;
    if (length > 0) yield received.subarray(at, at + length);
    at += Math.max(length, 1);
  }
}

/**
 * Whether another master waits for an answer of the meter whose refusal ours cannot be told from, after one more frame on the line.
 * @param wasAsked whether it did before: an echo of our request and what other meters say change nothing of that
 */
function isAskedAfter(asked: Asked, frame: Buffer, wasAsked: boolean): boolean {
  const isEcho = frame.equals(requestFrame(asked).subarray(preamble.length));
  if (isEcho || !frame.subarray(1, 7).equals(leastFirst(asked.meterAddress))) return wasAsked;
  return frame.readUInt8(8) === controlOf(asked);
}

/**
 * Looks for the answer to a question among the bytes that a line has brought: whatever is in front of it (wake-up bytes, noise, an echo,
 * an answer of another meter or to another question, a frame with a wrong checksum) is passed over. A refusal does not say what it
 * refuses: the first one behind another master's question is that master's. Pure; looks at each byte once, and sums at most 212 from it.
 * @param heard what came shortly before the question: another master may have asked there
 * @returns the answer's frame from 68H to 16H; undefined while it may still come
 */
export function findAnswer(received: Buffer, asked: Asked, heard: Buffer = Buffer.alloc(0)): Buffer | undefined {
  let isAsked = false;
  for (const frame of framesIn(heard)) isAsked = isAskedAfter(asked, frame, isAsked);
  for (const frame of framesIn(received)) {
    const answer = answerIn(frame, asked);
    if (answer?.kind === "data" || (answer !== undefined && !isAsked)) return frame;
    isAsked = isAskedAfter(asked, frame, isAsked);
  }
  return undefined;
}

/** What other masters ask, among bytes that came while nobody was asked or beside an answer (an echo left out). */
export function overheardIn(bytes: Buffer): Overheard {
  let requests = 0;
  let isAwaiting = false;
  for (const frame of framesIn(bytes)) {
    const asks = (frame.readUInt8(8) & fromServer) === 0;
    if (asks) requests += 1;
    // Nobody answers a broadcast.
    isAwaiting = asks && !frame.subarray(1, 7).equals(everyone);
  }
  return { requests, isAwaiting };
}
