import type { Socket } from "node:net";

/** How the scripted server cuts requests out of a stream and writes its answers: by hand, once for each way on which Modbus travels. */

export type Asked = {
  socket: Socket;
  /** What the box had sent first, where one dialled in. */
  registration: string | undefined;
  /** Of Modbus TCP; empty in RTU. */
  transactionId: string;
  unit: number;
  pdu: Buffer;
};

export type Wire = {
  /** The first request of what was received, and how many bytes it took. */
  readonly cut: (
    received: Buffer,
  ) => { bytes: number; asked: Pick<Asked, "transactionId" | "unit" | "pdu"> } | undefined;
  /** What a text of a script stands for. */
  readonly bytesOf: (text: string, asked: Asked) => Buffer;
  /** A device without Read Device Identification says so with exception 1 (illegal function). */
  readonly noIdentification: string;
  /** Whether answers leave in the order of the requests, as on a line. */
  readonly isOrdered: boolean;
};

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");

/** Function, byte count and data of the right answer to a read: each register holds its own address, each bit its address's lowest bit. */
function addressesPdu(pdu: Buffer): string {
  const code = pdu.readUInt8(0);
  const address = pdu.readUInt16BE(1);
  const quantity = pdu.readUInt16BE(3);
  let data = "";
  if (code >= 3) for (let i = 0; i < quantity; i += 1) data += hex(address + i, 4);
  else {
    const bits = Buffer.alloc(Math.ceil(quantity / 8));
    for (let i = 0; i < quantity; i += 1)
      if ((address + i) % 2 === 1) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    data = bits.toString("hex");
  }
  return `${hex(code, 2)}${hex(data.length / 2, 2)}${data}`;
}

function fromHex(text: string): Buffer {
  const digits = text.replaceAll(/\s/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error(`"${text}" is not hexadecimal`);
  return Buffer.from(digits, "hex");
}

export const tcpWire: Wire = {
  cut(received) {
    if (received.length < 7) return undefined;
    const bytes = 6 + received.readUInt16BE(4);
    if (received.length < bytes) return undefined;
    const transactionId = received.toString("hex", 0, 2);
    return { bytes, asked: { transactionId, unit: received.readUInt8(6), pdu: received.subarray(7, bytes) } };
  },
  bytesOf(text, { transactionId, unit, pdu }) {
    if (text === "addresses") {
      const answer = `${hex(unit, 2)}${addressesPdu(pdu)}`;
      return fromHex(`${transactionId}0000${hex(answer.length / 2, 4)}${answer}`);
    }
    const other = hex((Number.parseInt(transactionId, 16) + 1) % 65_536, 4);
    const filled = text.replaceAll("TTTT", transactionId).replaceAll("XXXX", other).replaceAll("UU", hex(unit, 2));
    return fromHex(filled);
  },
  noIdentification: "TTTT 0000 0003 UU AB 01",
  isOrdered: false,
};

/** CRC of Modbus RTU, low byte first: a table of 16 in place of the driver's loop over bits. */
function crcOf(bytes: Buffer): Buffer {
  const table = Array.from({ length: 16 }, (_, i) => {
    let crc = i;
    for (let bit = 0; bit < 4; bit += 1) crc = crc % 2 === 1 ? ((crc - 1) / 2) ^ 0xa001 : crc / 2;
    return crc;
  });
  let crc = 0xffff;
  for (const byte of bytes)
    for (const nibble of [byte & 15, byte >> 4]) crc = (crc >> 4) ^ (table[(crc ^ nibble) & 15] as number);
  return Buffer.of(crc & 0xff, crc >> 8);
}

export const rtuWire: Wire = {
  cut(received) {
    // What the drivers ask has 8 bytes, but for Read Device Identification.
    const bytes = received[1] === 0x2b ? 7 : 8;
    if (received.length < bytes) return undefined;
    const body = received.subarray(0, bytes - 2);
    if (!crcOf(body).equals(received.subarray(bytes - 2, bytes)))
      throw new Error(`${received.toString("hex")}: wrong CRC`);
    return { bytes, asked: { transactionId: "", unit: received.readUInt8(0), pdu: received.subarray(1, bytes - 2) } };
  },
  bytesOf(written, { unit, pdu }) {
    const text = written === "addresses" ? `UU ${addressesPdu(pdu)} CRC` : written;
    const request = `| ${hex(unit, 2)}${pdu.toString("hex")} CRC |`;
    const parts = text.replaceAll("REQUEST", request).split(/("[^"]*"|CRC|\|)/);
    let sent = Buffer.alloc(0);
    let begin = 0;
    for (const part of parts) {
      if (part === "|") begin = sent.length;
      else if (part === "CRC") sent = Buffer.concat([sent, crcOf(sent.subarray(begin))]);
      else if (part.startsWith('"')) sent = Buffer.concat([sent, Buffer.from(part.slice(1, -1), "latin1")]);
      else sent = Buffer.concat([sent, fromHex(part.replaceAll("UU", hex(unit, 2)))]);
    }
    return sent;
  },
  noIdentification: "UU AB 01 CRC",
  isOrdered: true,
};
