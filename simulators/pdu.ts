/**
 * Requests and answers by the MODBUS Application Protocol Specification V1.1b3: functions 1 to 4 and 43/14. Nothing else
 * is supported, and nothing here can change a plant: every write function is answered with exception 1.
 */
import type { DeviceImage, Read, Snapshot } from "./image.ts";
import type { Table } from "./register-layout.ts";

export const EXCEPTION = { illegalFunction: 1, illegalAddress: 2, illegalValue: 3, gatewayPath: 0x0b } as const;

/** Functions that write (clauses 6.5, 6.6, 6.11, 6.12, 6.15, 6.16, 6.17). */
const WRITE_FUNCTIONS: ReadonlySet<number> = new Set([5, 6, 15, 16, 21, 22, 23]);

const TABLE_BY_FUNCTION: Readonly<Record<number, Table>> = { 1: "coil", 2: "discrete", 3: "holding", 4: "input" };
const MAX_REGISTERS = 125;
const MAX_BITS = 2000;
const READ_REQUEST_BYTES = 5;

const DEVICE_IDENTIFICATION = 43;
const MEI_READ_DEVICE_ID = 0x0e;

/** What an answered read took, for the served log. */
export type AnsweredRead = Read & { readonly snapshot: Snapshot; readonly offset: number };
export type Answer = { readonly pdu: Buffer; readonly read?: AnsweredRead };

export function isWriteFunction(functionCode: number): boolean {
  return WRITE_FUNCTIONS.has(functionCode);
}

/** An exception answer (clause 7). */
export function exceptionPdu(functionCode: number, code: number): Buffer {
  return Buffer.from([(functionCode | 0x80) & 0xff, code]);
}

/** The range that a read request names; undefined if the request is no well-formed read. */
export function parseRead(pdu: Buffer): Read | undefined {
  const table = TABLE_BY_FUNCTION[pdu[0] ?? 0];
  if (table === undefined || pdu.length !== READ_REQUEST_BYTES) return undefined;
  return { table, address: pdu.readUInt16BE(1), quantity: pdu.readUInt16BE(3) };
}

function registersPdu(functionCode: number, { snapshot, offset, quantity }: AnsweredRead): Buffer {
  const pdu = Buffer.allocUnsafe(2 + 2 * quantity);
  pdu[0] = functionCode;
  pdu[1] = 2 * quantity;
  for (let i = 0; i < quantity; i++) pdu.writeUInt16BE(snapshot.words[offset + i] ?? 0, 2 + 2 * i);
  return pdu;
}

function bitsPdu(functionCode: number, { snapshot, offset, quantity }: AnsweredRead): Buffer {
  const bytes = Math.ceil(quantity / 8);
  const pdu = Buffer.alloc(2 + bytes);
  pdu[0] = functionCode;
  pdu[1] = bytes;
  for (let i = 0; i < quantity; i++) {
    const at = 2 + (i >> 3);
    if (snapshot.words[offset + i] === 1) pdu[at] = (pdu[at] ?? 0) | (1 << (i & 7));
  }
  return pdu;
}

function answerRead(functionCode: number, pdu: Buffer, image: DeviceImage): Answer {
  const read = parseRead(pdu);
  const bits = functionCode <= 2;
  if (read === undefined || read.quantity < 1 || read.quantity > (bits ? MAX_BITS : MAX_REGISTERS)) {
    return { pdu: exceptionPdu(functionCode, EXCEPTION.illegalValue) };
  }
  const offset = image.locate(read);
  if (offset < 0) return { pdu: exceptionPdu(functionCode, EXCEPTION.illegalAddress) };
  const answered = { ...read, offset, snapshot: image.snapshot() };
  return { pdu: (bits ? bitsPdu : registersPdu)(functionCode, answered), read: answered };
}

/** Read Device Identification (clause 6.21), basic category with stream and individual access (conformity 0x81). */
function answerIdentification(pdu: Buffer, image: DeviceImage): Buffer {
  const objects = ["Jilian Simulator", image.map.device, "simulated"].map((text) => Buffer.from(text, "ascii"));
  const [, mei, idCode = 0, objectId = 0] = pdu;
  if (mei !== MEI_READ_DEVICE_ID) return exceptionPdu(DEVICE_IDENTIFICATION, EXCEPTION.illegalFunction);
  if (pdu.length !== 4 || idCode < 1 || idCode > 4) {
    return exceptionPdu(DEVICE_IDENTIFICATION, EXCEPTION.illegalValue);
  }
  const individual = idCode === 4;
  if (individual && objectId >= objects.length) {
    return exceptionPdu(DEVICE_IDENTIFICATION, EXCEPTION.illegalAddress);
  }
  // A stream that asks to start at an unknown object starts at the first, by the same clause.
  const first = objectId < objects.length ? objectId : 0;
  const ids = individual ? [objectId] : objects.map((_, i) => i).slice(first);
  const parts = ids.flatMap((id) => {
    const object = objects[id] ?? Buffer.alloc(0);
    return [Buffer.from([id, object.length]), object];
  });
  return Buffer.concat([Buffer.from([DEVICE_IDENTIFICATION, mei, idCode, 0x81, 0, 0, ids.length]), ...parts]);
}

/** Answers one request from a device's image. */
export function answerPdu(pdu: Buffer, image: DeviceImage): Answer {
  const functionCode = pdu[0] ?? 0;
  if (TABLE_BY_FUNCTION[functionCode] !== undefined) return answerRead(functionCode, pdu, image);
  if (functionCode === DEVICE_IDENTIFICATION) return { pdu: answerIdentification(pdu, image) };
  return { pdu: exceptionPdu(functionCode, EXCEPTION.illegalFunction) };
}
