/** Frames of Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3) and whether an answer fits its request. Pure. */

/** Transaction id, protocol id, length. */
const prefixBytes = 6;
/** The length field counts unit id and PDU: a function code and at least one byte, at most 253. */
const minLength = 3;
const maxLength = 254;

export type Frame = { readonly transactionId: number; readonly unitId: number; readonly pdu: Buffer };

/**
 * Cuts a TCP stream into frames, however it was split or joined on the way; holds at most one incomplete frame.
 * The reader gives a text instead of frames when the stream cannot be one of Modbus TCP; nothing after that can be trusted.
 */
export function createFrameReader(): (chunk: Buffer) => Frame[] | string {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (data.length - at >= prefixBytes) {
      const protocolId = data.readUInt16BE(at + 2);
      const length = data.readUInt16BE(at + 4);
      if (protocolId !== 0) return `protocol id ${protocolId} instead of 0: no Modbus TCP frame`;
      if (length < minLength || length > maxLength) return `frame length ${length} outside ${minLength}-${maxLength}`;
      const end = at + prefixBytes + length;
      if (end > data.length) break;
      const unitId = data.readUInt8(at + prefixBytes);
      frames.push({ transactionId: data.readUInt16BE(at), unitId, pdu: data.subarray(at + prefixBytes + 1, end) });
      at = end;
    }
    rest = data.subarray(at);
    return frames;
  };
}

/** A request's bytes: MBAP header, unit id, PDU. */
export function buildFrame({ transactionId, unitId, pdu }: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(prefixBytes + 1 + pdu.length);
  bytes.writeUInt16BE(transactionId, 0);
  bytes.writeUInt16BE(0, 2);
  bytes.writeUInt16BE(pdu.length + 1, 4);
  bytes.writeUInt8(unitId, prefixBytes);
  pdu.copy(bytes, prefixBytes + 1);
  return bytes;
}

/** The frame at the beginning of bytes that hold it whole. */
export function readFrame(bytes: Buffer): Frame {
  const end = prefixBytes + bytes.readUInt16BE(4);
  const pdu = bytes.subarray(prefixBytes + 1, end);
  return { transactionId: bytes.readUInt16BE(0), unitId: bytes.readUInt8(prefixBytes), pdu };
}

/** Read Device Identification is function 43, MEI type 14 (V1.1b3, 6.21). */
const identification = 0x2b;
const meiType = 0x0e;

/**
 * What is wrong with an answer, measured by its request; undefined when it fits: right unit and function, and exactly the bytes asked for.
 * @param request a read (functions 1-4) or Read Device Identification
 */
export function answerFault(request: Frame, answer: Frame): string | undefined {
  if (answer.unitId !== request.unitId) return `answer of unit ${answer.unitId} to a request to unit ${request.unitId}`;
  const asked = request.pdu.readUInt8(0);
  const code = answer.pdu.readUInt8(0);
  if (code === (asked | 0x80)) return undefined;
  if (code !== asked) return `answer of function ${code} to a request of function ${asked}`;
  if (asked === identification) {
    const whole = answer.pdu.length >= 7 && answer.pdu.readUInt8(1) === meiType;
    return whole ? undefined : "answer to Read Device Identification that is none";
  }
  const quantity = request.pdu.readUInt16BE(3);
  const bytes = asked <= 2 ? Math.ceil(quantity / 8) : 2 * quantity;
  const counted = answer.pdu.readUInt8(1);
  const held = answer.pdu.length - 2;
  if (counted === bytes && held === bytes) return undefined;
  return `answer with ${held} bytes of data, byte count ${counted}, to a request for ${bytes}`;
}

/** CRC-16 of Modbus RTU (MODBUS over Serial Line V1.02, 6.2.2): the client library wants one even where TCP has none. */
export function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  }
  return crc;
}
