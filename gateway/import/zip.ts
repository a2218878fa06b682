import { inflateRawSync } from "node:zlib";

/** The parts of a zip file by name: read when asked for, and bounded, whatever the file says of its sizes. */
export type ZipParts = { readonly read: (name: string) => Buffer | undefined };

/** What is inflated at most, of all parts together; a sheet of 100,000 rows takes about 40 MB. */
const mostInflatedBytes = 128 * 1024 * 1024;
const mostParts = 5000;
const endSignature = 0x06054b50;
const directorySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
/** Of the comment behind the end record. */
const mostComment = 65_535;

type Part = { method: number; flags: number; compressedBytes: number; localAt: number };

/** Names and places of the parts: the central directory (APPNOTE 6.3.10, 4.3.12 and 4.3.16). */
function directoryOf(file: Buffer): Map<string, Part> {
  let end = file.length - endBytes;
  while (end >= 0 && file.readUInt32LE(end) !== endSignature) {
    end -= 1;
    if (end < file.length - endBytes - mostComment) break;
  }
  if (end < 0 || file.readUInt32LE(end) !== endSignature) throw new Error("no zip file, or one that was cut off");
  const count = file.readUInt16LE(end + 10);
  if (count > mostParts) throw new Error(`more than ${mostParts} parts`);
  const parts = new Map<string, Part>();
  let at = file.readUInt32LE(end + 16);
  for (let i = 0; i < count; i += 1) {
    if (file.readUInt32LE(at) !== directorySignature) throw new Error("a zip file whose directory is damaged");
    const nameBytes = file.readUInt16LE(at + 28);
    parts.set(file.toString("utf8", at + 46, at + 46 + nameBytes), {
      flags: file.readUInt16LE(at + 8),
      method: file.readUInt16LE(at + 10),
      compressedBytes: file.readUInt32LE(at + 20),
      localAt: file.readUInt32LE(at + 42),
    });
    at += 46 + nameBytes + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32);
  }
  return parts;
}

/**
 * Opens a zip file in memory. Node's own zlib inflates, and stops where the bound is reached: sizes that a file tells of itself are not
 * believed.
 * @throws Error (RangeError where the file points outside of itself) that says what is wrong with it
 */
export function openZip(file: Buffer): ZipParts {
  const parts = directoryOf(file);
  let left = mostInflatedBytes;
  return {
    read(name) {
      const part = parts.get(name);
      if (part === undefined) return undefined;
      const { flags, method, compressedBytes, localAt } = part;
      if ((flags & 1) !== 0) throw new Error("it is encrypted");
      if (file.readUInt32LE(localAt) !== localSignature) throw new Error("a zip file whose parts are damaged");
      const from = localAt + 30 + file.readUInt16LE(localAt + 26) + file.readUInt16LE(localAt + 28);
      const data = file.subarray(from, from + compressedBytes);
      if (method !== 0 && method !== 8) throw new Error(`compressed by method ${method}, which no spreadsheet uses`);
      if (method === 0 && data.length > left) throw new Error(`more than ${mostInflatedBytes} bytes when unpacked`);
      const content = method === 0 ? data : inflate(data, left);
      left -= content.length;
      return content;
    },
  };
}

function inflate(data: Buffer, most: number): Buffer {
  try {
    return inflateRawSync(data, { maxOutputLength: Math.max(1, most) });
  } catch (thrown) {
    if (thrown instanceof RangeError) {
      throw new Error(`more than ${mostInflatedBytes} bytes when unpacked`, { cause: thrown });
    }
    throw new Error("a zip file whose content is damaged", { cause: thrown });
  }
}
