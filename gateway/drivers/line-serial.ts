import { spawn } from "node:child_process";
import { closeSync, constants, open } from "node:fs";
import { isatty, ReadStream } from "node:tty";
import { promisify } from "node:util";
import type { SerialLine } from "./line-config.ts";
import { mediumError } from "./line-errors.ts";
import type { Medium, Port, PortEvents } from "./line-medium.ts";

/**
 * A serial port with what Node has: a terminal's stream, which is read by the event loop (no thread waits in a read), set raw by `stty`
 * of coreutils or busybox. No native package: `serialport` would cost 18 MB and a binary for each kind of box.
 */

const sttyBoundMs = 5000;
/** Some requests; a port on which they pile up does not send. */
const mostUnwritten = 4096;

const unopened = (message: string, remedy: string) => mediumError("LINE_OPEN_FAILED", message, remedy);

/** Bits of a character on the wire: start, data, parity, stop. */
function bitsOf({ dataBits, parity, stopBits }: SerialLine): number {
  return 1 + dataBits + (parity === "none" ? 0 : 1) + stopBits;
}

/** 3.5 characters; above 19200 baud the standard's fixed 1.75 ms (MODBUS over Serial Line V1.02, 2.5.1.1). */
export function quietMsOf(line: SerialLine): number {
  return line.baudRate > 19_200 ? 1.75 : (3.5 * bitsOf(line) * 1000) / line.baudRate;
}

/** What `stty` is told. Raw, no flow control, and no wait for a carrier; a character with a wrong parity is left out and not read as 0. */
function sttyArguments({ baudRate, dataBits, parity, stopBits }: SerialLine): string[] {
  const parities = {
    none: ["-parenb", "-inpck"],
    even: ["parenb", "-parodd", "inpck"],
    odd: ["parenb", "parodd", "inpck"],
  };
  const line = [`cs${dataBits}`, ...parities[parity], stopBits === 2 ? "cstopb" : "-cstopb"];
  const raw = ["raw", "-echo", "-echoe", "-echok", "-iexten", "min", "1", "time", "0"];
  return [String(baudRate), ...raw, ...line, "clocal", "cread", "-crtscts", "-ixon", "-ixoff", "ignbrk", "ignpar"];
}

/** Sets the port that is its standard input. */
function stty(fd: number, line: SerialLine, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("stty", sttyArguments(line), { stdio: [fd, "ignore", "pipe"], timeout: sttyBoundMs, signal });
    let said = "";
    child.stderr?.on("data", (text: Buffer) => {
      said = (said + text.toString("utf8")).slice(0, 500);
    });
    const refuse = (why: string, remedy: string) => reject(unopened(why, remedy));
    child.on("error", (thrown) =>
      refuse(`stty cannot be run (${thrown.message})`, "install coreutils or busybox: stty sets the port"),
    );
    child.on("close", (code) => {
      if (code === 0) resolve();
      else refuse(`stty failed: ${said.trim() || code}`, "does the port have this baud rate, parity and stop bits?");
    });
  });
}

/** The descriptor that the stream reads. Node has no public name for it. */
function descriptorOf(stream: ReadStream): number | undefined {
  return (stream as unknown as { _handle?: { fd?: number } })._handle?.fd;
}

async function openStream(line: SerialLine, signal: AbortSignal): Promise<ReadStream> {
  const { O_RDWR, O_NOCTTY, O_NONBLOCK } = constants;
  // Non-blocking: an open would else wait for the carrier of a modem that is not there.
  const fd = await promisify(open)(line.path, O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
  let stream: ReadStream | undefined;
  try {
    if (!isatty(fd)) throw unopened("this is no serial port", "write the path of one");
    await stty(fd, line, signal);
    stream = new ReadStream(fd);
  } finally {
    // libuv opens the port once more, so as to set it non-blocking for itself alone. Ours is not needed then.
    if (stream === undefined || descriptorOf(stream) !== fd) closeSync(fd);
  }
  if (descriptorOf(stream) !== fd) return stream;
  // Where it cannot, it takes ours, and every write would hold up the process.
  stream.destroy();
  throw unopened("the system does not know this port by a name below /dev", "give the path of the port itself");
}

function portOf(stream: ReadStream, events: PortEvents): Port {
  let open = true;
  const lose = (cause?: unknown) => {
    if (!open) return;
    open = false;
    stream.destroy();
    events.onLost(cause);
  };
  stream.on("data", (chunk: Buffer) => {
    if (open) events.onData(chunk);
  });
  // The adapter was pulled: an error, or the end of what never ends.
  stream.on("error", lose);
  stream.on("end", () => lose(new Error("the port hung up")));
  stream.on("close", () => lose());
  return {
    write: (bytes) => {
      if (!open) return;
      stream.write(bytes);
      if (stream.writableLength > mostUnwritten) lose(new Error("the port takes no bytes"));
    },
    close: () => {
      open = false;
      stream.destroy();
    },
  };
}

/** A serial port as the medium of a line. Opens nothing yet. */
export function serialMedium(line: SerialLine): Medium {
  return {
    endpoint: () => line.path,
    open: async (opening) => portOf(await openStream(line, opening.signal), opening.events),
    reopensSilent: false,
    endsIdle: false,
    servesInTurn: false,
    characterMs: (bitsOf(line) * 1000) / line.baudRate,
    quietMs: line.quietMs ?? quietMsOf(line),
    turnaroundMs: line.turnaroundMs,
    interjections: [],
    close: async () => undefined,
  };
}
