/** Units of Modbus RTU for the soak: behind a converter that listens, and behind a box (DTU) that dials. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { crc16 } from "@jilian/gateway/drivers/modbus-frame.ts";

/** What is wrong with all answers of a line; nothing if undefined. */
export type RtuFault = "silent" | "exception" | "garbage" | undefined;

const requestBytes = 8;

function frame(body: readonly number[]): Buffer {
  const made = Buffer.alloc(body.length + 2);
  made.set(body);
  made.writeUInt16LE(crc16(made.subarray(0, -2)), body.length);
  return made;
}

/** The answer to a read of registers, each of which holds its address and the second; to all else exception 1. */
function answerTo(request: Buffer, fault: RtuFault): Buffer {
  const [unit = 0, code = 0] = request;
  if (fault === "exception") return frame([unit, code | 0x80, 4]);
  if (code !== 3 && code !== 4) return frame([unit, code | 0x80, 1]);
  const data: number[] = [];
  const second = Math.floor(Date.now() / 1000);
  for (let i = 0; i < request.readUInt16BE(4); i += 1) {
    const value = (request.readUInt16BE(2) + i + second) & 0x7fff;
    data.push(value >> 8, value & 0xff);
  }
  const answer = frame([unit, code, data.length, ...data]);
  // Noise that begins like an answer, and an answer whose sum is wrong.
  return fault === "garbage"
    ? Buffer.concat([Buffer.from([unit, code, 0xff, 0x00]), answer.subarray(0, -1), Buffer.of(0)])
    : answer;
}

function serve(stream: Duplex, fault: () => RtuFault): void {
  let received: Buffer = Buffer.alloc(0);
  stream.on("error", () => stream.destroy());
  stream.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    // Whoever was cut in the middle of a request begins anew on another connection.
    while (received.length >= requestBytes) {
      const request = received.subarray(0, requestBytes);
      received = received.subarray(requestBytes);
      if (fault() !== "silent") stream.write(answerTo(request, fault()));
    }
  });
}

/** A converter on a port, with its units. */
export async function startRtuServer() {
  const sockets = new Set<Socket>();
  let fault: RtuFault;
  let isRefusing = false;
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    if (isRefusing) {
      socket.resetAndDestroy();
      return;
    }
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serve(socket, () => fault);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    fault: (now: RtuFault): void => {
      fault = now;
    },
    cut,
    /** Resets what connects. */
    refuse: (now: boolean): void => {
      isRefusing = now;
      if (now) cut();
    },
    close: async (): Promise<void> => {
      const closed = once(server, "close");
      server.close();
      cut();
      await closed;
    },
  };
}

/** How long a box waits before it dials again, and how often it tells that it is there. */
const dialMs = 300;
const heartbeatMs = 2000;

/** A box that dials, registers, sends heartbeats and passes on what its units say; it dials again when it is cut. */
export function startDialler({
  port,
  registration,
  heartbeat,
}: Record<"registration" | "heartbeat", string> & { port: number }) {
  let fault: RtuFault;
  let isAway = false;
  let isClosed = false;
  let box: Socket | undefined;
  let again: NodeJS.Timeout | undefined;
  const others = new Set<Socket>();

  /** Any socket that dials the gateway, and what it says first. */
  function open(first: string): Socket {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    others.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => others.delete(socket));
    socket.on("connect", () => socket.write(first));
    return socket;
  }

  function dial(): void {
    clearTimeout(again);
    if (isAway || isClosed) return;
    const own = open(registration);
    box = own;
    serve(own, () => fault);
    const telling = setInterval(() => own.write(heartbeat), heartbeatMs);
    own.on("close", () => {
      clearInterval(telling);
      if (box === own) again = setTimeout(dial, dialMs);
    });
  }

  dial();
  return {
    fault: (now: RtuFault): void => {
      fault = now;
    },
    away: (now: boolean): void => {
      isAway = now;
      if (now) box?.destroy();
      else dial();
    },
    /** Dials once more while the connection before is still open, as boxes do that have lost it without a word. */
    replace: (): void => dial(),
    /** Dials in with a registration that nobody knows, or with half of one, and waits. */
    stranger: (says: string): void => void open(says),
    close: (): void => {
      isClosed = true;
      clearTimeout(again);
      for (const socket of others) socket.destroy();
    },
  };
}
