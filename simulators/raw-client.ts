/** For tests: a TCP socket that speaks bytes and knows nothing of Modbus. */
import { once } from "node:events";
import { createConnection } from "node:net";

export type RawClient = {
  /** Own address and port, as the server logs them. */
  readonly name: string;
  /** Sends bytes given in hexadecimal, blanks allowed. Each call is one write. */
  send(hex: string): void;
  /** The next `count` bytes in hexadecimal with blanks. Rejects when they do not come within `boundMs`. */
  receive(count: number, boundMs?: number): Promise<string>;
  /** Bytes that came and were not received. */
  pending(): number;
  /** Takes nothing more from the socket. */
  stopReading(): void;
  /** How the other side ended the connection: `end` in good order, or the code of the error (ECONNRESET). */
  readonly ended: Promise<string>;
  close(): void;
};

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Waits until a condition holds, looking every few ms. Rejects after `boundMs`. */
export async function until(what: string, condition: () => boolean, boundMs = 5000): Promise<void> {
  const endMs = performance.now() + boundMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited ${boundMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export async function connectRaw(port: number): Promise<RawClient> {
  const socket = createConnection({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  let arrived = Buffer.alloc(0);
  let end: string | undefined;
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const finish = (how: string): void => {
    end ??= how;
    resolve(end);
  };
  socket.on("data", (chunk) => {
    arrived = Buffer.concat([arrived, chunk]);
  });
  socket.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
  socket.on("end", () => finish("end"));
  socket.on("close", () => finish("closed"));
  return {
    name: `${socket.localAddress}:${socket.localPort}`,
    ended,
    send: (hex) => void socket.write(Buffer.from(hex.replaceAll(" ", ""), "hex")),
    async receive(count, boundMs = 5000) {
      await until(`${count} bytes`, () => arrived.length >= count || end !== undefined, boundMs);
      if (arrived.length < count) throw new Error(`connection: ${end}, ${arrived.length} of ${count} bytes came`);
      const taken = arrived.subarray(0, count);
      arrived = arrived.subarray(count);
      return toHex(taken);
    },
    pending: () => arrived.length,
    stopReading: () => void socket.pause(),
    close: () => void socket.destroy(),
  };
}
