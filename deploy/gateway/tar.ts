import { gzipSync } from "node:zlib";

export type TarEntry = { path: string; mode: number; content: Uint8Array };

const blockBytes = 512;
/** Of every file: a fixed time, so that the same contents give the same bytes, and one that no program calls implausible. */
const modifiedS = Date.UTC(2020, 0, 1) / 1000;

const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, "0")}\0`;

/** Name and prefix of the ustar format: 100 and 155 bytes, cut at a slash. */
function splitPath(path: string): [name: string, prefix: string] {
  if (Buffer.byteLength(path) <= 100) return [path, ""];
  const at = path.indexOf("/", path.length - 101);
  if (at < 0 || at > 155 || Buffer.byteLength(path) !== path.length) throw new RangeError(`path too long: ${path}`);
  return [path.slice(at + 1), path.slice(0, at)];
}

function headerOf(path: string, mode: number, size: number, type: "0" | "5"): Buffer {
  const header = Buffer.alloc(blockBytes);
  const [name, prefix] = splitPath(path);
  header.write(name, 0, "utf8");
  header.write(octal(mode, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(size, 12), 124);
  header.write(octal(modifiedS, 12), 136);
  header.write(" ".repeat(8), 148);
  header.write(type, 156);
  header.write("ustar\x0000", 257, "latin1");
  header.write("root", 265);
  header.write("root", 297);
  header.write(prefix, 345, "utf8");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

/** Folders that the paths need, outermost first. */
function foldersOf(paths: readonly string[]): string[] {
  const folders = new Set<string>();
  for (const path of paths) {
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) folders.add(path.slice(0, at + 1));
  }
  return [...folders].sort();
}

/**
 * A tar archive (POSIX ustar), gzipped: files sorted by path, owned by root, with one fixed time. The same entries give the same bytes.
 * @param level of compression, 0-9
 * @throws RangeError for a path of more than 255 bytes
 */
export function tarGz(entries: readonly TarEntry[], level = 9): Buffer {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
  const blocks: Uint8Array[] = foldersOf(sorted.map(({ path }) => path)).map((path) => headerOf(path, 0o755, 0, "5"));
  for (const { path, mode, content } of sorted) {
    const rest = content.length % blockBytes;
    blocks.push(headerOf(path, mode, content.length, "0"), content, Buffer.alloc(rest === 0 ? 0 : blockBytes - rest));
  }
  blocks.push(Buffer.alloc(2 * blockBytes));
  return gzipSync(Buffer.concat(blocks), { level });
}
