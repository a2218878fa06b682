import { shortestFloat32 } from "./decimal.ts";

/** How one element of an array of fixed width is read, little endian, as JSON. */
type Element = { bytes: number; read: (view: DataView, at: number) => string };

const whole = (bytes: number, read: (view: DataView, at: number) => number | bigint): Element => ({
  bytes,
  read: (view, at) => String(read(view, at)),
});

/** The shortest decimal at its own width; JSON has no word for NaN and infinities. */
const real = (bytes: number, read: (view: DataView, at: number) => number): Element => ({
  bytes,
  read: (view, at) => {
    const value = read(view, at);
    if (!Number.isFinite(value)) return "null";
    return String(bytes === 4 ? Number(shortestFloat32(value)) : value);
  },
});

/** By datatype: Int8Array to DoubleArray, and DateTimeArray, UTC ms (Sparkplug 3.0, 6.4.17). */
const elements: ReadonlyMap<number, Element> = new Map([
  [22, whole(1, (view, at) => view.getInt8(at))],
  [23, whole(2, (view, at) => view.getInt16(at, true))],
  [24, whole(4, (view, at) => view.getInt32(at, true))],
  [25, whole(8, (view, at) => view.getBigInt64(at, true))],
  [26, whole(1, (view, at) => view.getUint8(at))],
  [27, whole(2, (view, at) => view.getUint16(at, true))],
  [28, whole(4, (view, at) => view.getUint32(at, true))],
  [29, whole(8, (view, at) => view.getBigUint64(at, true))],
  [30, real(4, (view, at) => view.getFloat32(at, true))],
  [31, real(8, (view, at) => view.getFloat64(at, true))],
  [34, whole(8, (view, at) => view.getBigUint64(at, true))],
]);
const booleanArray = 32;
const stringArray = 33;

/** A number of bits, 4 bytes little endian, then the bits, the highest of each byte first. */
function bitsOf(view: DataView): string[] | undefined {
  if (view.byteLength < 4) return undefined;
  const count = view.getUint32(0, true);
  if (view.byteLength !== 4 + Math.ceil(count / 8)) return undefined;
  return Array.from({ length: count }, (_, i) => String(((view.getUint8(4 + (i >> 3)) >> (7 - (i & 7))) & 1) === 1));
}

/** Texts in UTF-8, each ended by a zero. */
function textsOf(bytes: Uint8Array): string[] | undefined {
  if (bytes.length === 0) return [];
  if (bytes.at(-1) !== 0) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, -1));
    return text.split("\0").map((part) => JSON.stringify(part));
  } catch {
    return undefined;
  }
}

function partsOf(datatype: number, bytes: Uint8Array): string[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (datatype === booleanArray) return bitsOf(view);
  if (datatype === stringArray) return textsOf(bytes);
  const element = elements.get(datatype);
  if (!element || bytes.length % element.bytes !== 0) return undefined;
  return Array.from({ length: bytes.length / element.bytes }, (_, i) => element.read(view, i * element.bytes));
}

/**
 * An array of Sparkplug (datatypes 22-34; 3.0, 6.4.17) as JSON without spaces, which is how it is stored: numbers exactly, 64-bit ones too,
 * DateTime in UTC ms.
 * @returns undefined when the bytes are no such array
 */
export function arrayText(datatype: number, bytes: Uint8Array): string | undefined {
  const parts = partsOf(datatype, bytes);
  return parts && `[${parts.join(",")}]`;
}
