import { write, writeSync } from "node:fs";
import { codeOf } from "@jilian/domain/errors.ts";

/** Lines that wait while nobody takes them, characters: a pipe that is not read must not fill the box's memory. */
const mostWaiting = 1_000_000;
const retryMs = 100;
const nothing = Buffer.alloc(0);

const isFull = (thrown: unknown): boolean => ["EAGAIN", "EBUSY"].includes(codeOf(thrown));

const droppedLine = (dropped: number): string =>
  `${JSON.stringify({ level: 40, time: Date.now(), dropped, msg: "lines of the log were dropped: nobody took them" })}\n`;

/**
 * Where the program's log goes. Nothing waits for whoever reads it: neither a reading nor the end of the process. The logger's own output
 * has no bound while a pipe is full, and at a fatal line or at the end it tries for ever to write to a pipe that is full or closed.
 * Lines beyond the bound are dropped, and counted in a line of their own once there is room.
 * @param fd does not block where it is a pipe: so is standard output once `process.stdout` was used, as long as no child inherits it
 */
export function logOutput(fd: number, most = mostWaiting) {
  let waiting: string[] = [];
  let size = 0;
  let dropped = 0;
  /** Begun or refused, and to be written first. */
  let rest: Buffer = nothing;
  let isUnderWay = false;
  let retry: NodeJS.Timeout | undefined;
  let isGone = false;

  /** What is to be written next. */
  function take(): Buffer {
    const lines = [...waiting, ...(dropped > 0 ? [droppedLine(dropped)] : [])].join("");
    const taken = Buffer.concat([rest, Buffer.from(lines)]);
    [waiting, size, dropped, rest] = [[], 0, 0, nothing];
    return taken;
  }

  function failed(bytes: Buffer, thrown: unknown): void {
    if (isFull(thrown)) rest = Buffer.concat([bytes, rest]);
    else if (codeOf(thrown) === "EPIPE") isGone = true;
    // Else a medium that is full, or the like: the lines are lost, and the next ones may have room.
  }

  function next(): void {
    if (isUnderWay || retry !== undefined || isGone) return;
    const bytes = rest.length > 0 ? rest : take();
    if (bytes.length === 0) return;
    rest = nothing;
    isUnderWay = true;
    write(fd, bytes, (thrown, written) => {
      isUnderWay = false;
      if (thrown) failed(bytes, thrown);
      else rest = Buffer.concat([bytes.subarray(written), rest]);
      if (!thrown || !isFull(thrown)) return next();
      retry = setTimeout(() => {
        retry = undefined;
        next();
      }, retryMs);
      retry.unref();
    });
  }

  /** At the end, and behind a fatal line: what is taken at once. What is under way is on a thread of libuv, for which the process waits. */
  function flushSync(): void {
    if (isGone) return;
    let bytes = take();
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(fd, bytes));
    } catch (thrown) {
      failed(bytes, thrown);
    }
  }

  process.on("exit", flushSync);
  return {
    write(line: string): void {
      if (isGone) return;
      if (size > 0 && size + line.length > most) {
        dropped += 1;
        return;
      }
      waiting.push(line);
      size += line.length;
      next();
    },
    flushSync,
    [Symbol.dispose]: (): void => void process.off("exit", flushSync),
  };
}
