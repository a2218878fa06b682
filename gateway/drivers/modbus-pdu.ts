import type { ModbusTag } from "./modbus-config.ts";

/** What is asked of a unit and what it says, without the frame around it (MODBUS Application Protocol V1.1b3). Pure. */

export const tableCodes = { coil: 1, discrete: 2, holding: 3, input: 4 } as const satisfies Record<
  ModbusTag["table"],
  number
>;

const exceptionBit = 0x80;
/** Function, MEI type, read code, conformity, more follows, next object, number of objects. */
const identityHead = 7;

/** A read of registers or bits (6.1-6.4). @param code function 1-4 */
export function readPdu(code: number, address: number, quantity: number): Buffer {
  return Buffer.of(code, address >> 8, address & 0xff, quantity >> 8, quantity & 0xff);
}

/** Read Device Identification of the basic objects (6.21). */
export const identityPdu: Buffer = Buffer.of(0x2b, 0x0e, 1, 0);

/** The exception code of an answer that is one (7). */
export function exceptionIn(pdu: Buffer): number | undefined {
  return (pdu.readUInt8(0) & exceptionBit) === 0 ? undefined : pdu.readUInt8(1);
}

/** Whether a gateway to a line says with its exception that the unit behind it does not answer: then it does for no other registers either. */
export const isUnitAway = (exception: number | undefined): boolean => exception === 10 || exception === 11;

/** The objects of an identification by their ids; those of a broken list that are whole. */
export function objectsIn(pdu: Buffer): Record<number, string> {
  const objects: Record<number, string> = {};
  let at = identityHead;
  for (let left = pdu[identityHead - 1] ?? 0; left > 0; left -= 1) {
    const [id, size] = [pdu[at], pdu[at + 1]];
    if (id === undefined || size === undefined || at + 2 + size > pdu.length) break;
    objects[id] = pdu.toString("latin1", at + 2, at + 2 + size);
    at += 2 + size;
  }
  return objects;
}
