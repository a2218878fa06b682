import fs, { close, open } from "node:fs";
import { promisify } from "node:util";

/** On a worker thread of libuv, by descriptor. Not of `node:fs/promises`, which takes 1 MB with what it needs for other things. */
export const openFile = promisify(open);
export const closeFile = promisify(close);

export function syncData(descriptor: number): Promise<void> {
  return new Promise((done, fail) => fs.fdatasync(descriptor, (error) => (error ? fail(error) : done())));
}
