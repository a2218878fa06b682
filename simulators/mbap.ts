/** Framing of Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, clause 3.1.3: the MBAP header). */

/** Transaction id, protocol id and length: what precedes the unit id. */
const PREFIX_BYTES = 6;
/** The length field counts the unit id and a PDU of 1 to 253 bytes. */
const MIN_LENGTH = 2;
const MAX_LENGTH = 254;

export type Frame = { readonly transactionId: number; readonly unitId: number; readonly pdu: Buffer };

export type FrameHandlers = {
  onFrame(frame: Frame): void;
  /** A frame of another protocol: left out, as the guide asks (clause 4.4.2.1), and the stream goes on behind it. */
  onForeignProtocol(protocolId: number): void;
  /** The stream cannot be followed any more: the connection must be closed. */
  onBrokenLength(length: number): void;
};

/**
 * Cuts a TCP stream into frames, however it was split or joined on the way. Holds at most one incomplete frame.
 * After `onBrokenLength` it takes nothing more.
 */
export function createFrameReader(handlers: FrameHandlers): (chunk: Buffer) => void {
  let rest: Buffer | null = null;
  let broken = false;
  return (chunk) => {
    if (broken) return;
    const data = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (data.length - at >= PREFIX_BYTES) {
      const length = data.readUInt16BE(at + 4);
      if (length < MIN_LENGTH || length > MAX_LENGTH) {
        broken = true;
        rest = null;
        handlers.onBrokenLength(length);
        return;
      }
      const end = at + PREFIX_BYTES + length;
      if (end > data.length) break;
      const protocolId = data.readUInt16BE(at + 2);
      if (protocolId !== 0) handlers.onForeignProtocol(protocolId);
      else {
        handlers.onFrame({
          transactionId: data.readUInt16BE(at),
          unitId: data.readUInt8(at + PREFIX_BYTES),
          pdu: data.subarray(at + PREFIX_BYTES + 1, end),
        });
      }
      at = end;
    }
    rest = at === data.length ? null : data.subarray(at);
  };
}

/** Wraps an answer's PDU into a frame. */
export function buildFrame(transactionId: number, unitId: number, pdu: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + 1 + pdu.length);
  frame.writeUInt16BE(transactionId, 0);
  frame.writeUInt16BE(0, 2);
  frame.writeUInt16BE(pdu.length + 1, 4);
  frame.writeUInt8(unitId, PREFIX_BYTES);
  pdu.copy(frame, PREFIX_BYTES + 1);
  return frame;
}
