/** Frames of DL/T 645-2007 (clause 5.2), as a meter reads and writes them. */

export type Dlt645Frame = {
  /** 12 digits, most significant first; AA in front of those that a request leaves open. */
  readonly address: string;
  readonly control: number;
  /** As meant: without the 33H that each byte is sent with. */
  readonly data: Buffer;
};

/** 68H, six bytes of address, 68H, control code and length. */
const HEAD_BYTES = 10;
const MAX_FRAME_BYTES = HEAD_BYTES + 255 + 2;

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return sum & 0xff;
}

/** Turns digits as written into bytes as sent, least significant first, and back. */
export function reversed(hex: string): Buffer {
  return Buffer.from(hex, "hex").reverse();
}

export function buildDlt645Frame({ address, control, data }: Dlt645Frame): Buffer {
  const coded = data.map((byte) => (byte + 0x33) & 0xff);
  const body = Buffer.concat([
    Buffer.from([0x68]),
    reversed(address),
    Buffer.from([0x68, control, data.length]),
    coded,
  ]);
  return Buffer.concat([body, Buffer.from([sumOf(body), 0x16])]);
}

/** Wake-up bytes, noise and frames with a wrong sum are left out, as a meter does. Holds at most one incomplete frame. */
export function createDlt645Reader(onFrame: (frame: Dlt645Frame, bytes: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    let data = Buffer.concat([rest, chunk]);
    for (;;) {
      const start = data.indexOf(0x68);
      data = start < 0 ? Buffer.alloc(0) : data.subarray(start);
      if (data.length < HEAD_BYTES) break;
      const length = HEAD_BYTES + data.readUInt8(HEAD_BYTES - 1) + 2;
      if (data[7] === 0x68 && data.length < length) break;
      const bytes = data.subarray(0, length);
      const whole =
        data[7] === 0x68 && bytes[length - 1] === 0x16 && bytes[length - 2] === sumOf(bytes.subarray(0, -2));
      if (!whole) {
        data = data.subarray(1);
        continue;
      }
      data = data.subarray(length);
      const address = Buffer.from(bytes.subarray(1, 7)).reverse().toString("hex").toUpperCase();
      const meant = bytes.subarray(HEAD_BYTES, -2).map((byte) => (byte - 0x33) & 0xff);
      onFrame({ address, control: bytes.readUInt8(8), data: Buffer.from(meant) }, Buffer.from(bytes));
    }
    rest = Buffer.from(data.subarray(-MAX_FRAME_BYTES));
  };
}
