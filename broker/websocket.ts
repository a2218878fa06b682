import { createServer, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import { minuteBudget } from "./limits.ts";
import { roomFor } from "./strangers.ts";

/** Sub-protocol and binary frames: MQTT 3.1.1, 6. */
const subprotocol = "mqtt";
const path = "/mqtt";
/** Pings, pongs and empty frames; as many at once. */
const idleFramesPerMinute = 600;
/** What a client that was not accepted may send beside its CONNECT: frame headers. */
const strangerBytes = 32_768;

/** A connection as the broker takes it: the address is that of its socket. */
export type Connection = Duplex & { readonly remoteAddress?: string | undefined };

/** The connections that carry a stream, by the stream: TLS knows the certificate. */
const carriers = new WeakMap<object, Duplex>();

/** The socket below a connection: of a WebSocket that of its TLS, of any other itself. */
export function secureSocketOf(connection: object): object {
  return carriers.get(connection) ?? connection;
}

export type WebSocketSide = {
  /** Takes a connection whose TLS handshake is done; tells, once it speaks MQTT, whether its client was let in. */
  readonly take: (socket: TLSSocket, know: (isAccepted: () => boolean) => void) => void;
  readonly pending: () => number;
  readonly count: () => { done: number; failed: number };
};

export type WebSocketDeps = {
  /** The whole of the HTTP part must be over by then. */
  timeoutMs: number;
  maxPending: () => number;
  /** Largest frame; a message of MQTT may come in several. */
  maxFrameBytes: () => number;
  /** Hands the stream over; tells later whether its client was let in. */
  onClient: (stream: Connection) => { isAccepted: () => boolean };
  onFailure: (why: string, address: string) => void;
};

/** Protocols that a client offers; text of the network, of bounded length (the head of a request is). */
function offered({ headers }: IncomingMessage): string[] {
  return (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
}

/** Ends a connection whose frames carry nothing all the time: they cost the thread that carries everything, and count as no message. */
function boundIdleFrames(ws: WebSocket): void {
  const frames = minuteBudget(() => idleFramesPerMinute);
  const idle = () => {
    if (frames.isLeft("")) frames.spend("");
    else ws.terminate();
  };
  ws.on("ping", idle);
  ws.on("pong", idle);
  ws.on("message", (data: Buffer) => {
    if (data.length === 0) idle();
  });
}

/** The bytes of MQTT in the frames of a connection. */
function streamOf(ws: WebSocket, socket: Duplex): Connection {
  const stream = createWebSocketStream(ws);
  // What is written in one turn, a packet or many, goes in one frame and not in one for each of its fields.
  stream._writev = (chunks, done) => ws.send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done);
  // Ahead of the stream's own listener, so that nothing of a text frame is taken for MQTT (3.1.1, 6.0.0-1).
  ws.prependListener("message", (_data, isBinary) => {
    if (!isBinary) stream.destroy();
  });
  carriers.set(stream, socket);
  return Object.assign(stream, { remoteAddress: (socket as TLSSocket).remoteAddress });
}

/**
 * MQTT over WebSocket over TLS: takes TLS connections, speaks HTTP until the upgrade, and hands on the stream inside. It listens on
 * nothing itself.
 */
export function webSocketSide(deps: WebSocketDeps): WebSocketSide {
  const pending = new Map<Duplex, { timer: NodeJS.Timeout; know: (isAccepted: () => boolean) => void }>();
  const room = roomFor<Duplex>((socket) => fail(socket, "its place was needed"));
  const counts = { done: 0, failed: 0 };
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    // Compression costs the thread that carries everything, and memory for each connection.
    perMessageDeflate: false,
    handleProtocols: () => subprotocol,
  });
  const http = createServer({ maxHeaderSize: 8192, keepAlive: false });

  function settle(socket: Duplex): void {
    clearTimeout(pending.get(socket)?.timer);
    pending.delete(socket);
    room.leave(socket);
  }
  function fail(socket: Duplex, why: string, answer?: string): void {
    if (!pending.has(socket)) return;
    settle(socket);
    counts.failed += 1;
    deps.onFailure(why, (socket as TLSSocket).remoteAddress ?? "unknown");
    if (answer === undefined) socket.destroy();
    else socket.end(`HTTP/1.1 ${answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
  }
  function carry(ws: WebSocket, socket: Duplex): void {
    const know = pending.get(socket)?.know;
    settle(socket);
    counts.done += 1;
    let bytes = 0;
    boundIdleFrames(ws);
    const { isAccepted } = deps.onClient(streamOf(ws, socket));
    know?.(isAccepted);
    const count = (chunk: Uint8Array) => {
      bytes += chunk.length;
      if (isAccepted()) socket.removeListener("data", count);
      else if (bytes > strangerBytes) socket.destroy();
    };
    socket.on("data", count);
  }

  http.on("request", ({ socket }) =>
    fail(socket, "no WebSocket upgrade", "426 Upgrade Required\r\nUpgrade: websocket"),
  );
  http.on("clientError", (error, socket) => fail(socket, `no HTTP: ${error.message}`));
  http.on("upgrade", (request, socket, head) => {
    if (request.url?.split("?")[0] !== path) return fail(socket, "another path than /mqtt", "404 Not Found");
    if (!offered(request).includes(subprotocol)) return fail(socket, "no sub-protocol mqtt", "400 Bad Request");
    // What is wrong with the rest of the upgrade is answered there, and the connection ended.
    socket.prependOnceListener("close", () => fail(socket, "no valid WebSocket upgrade"));
    sockets.options.maxPayload = deps.maxFrameBytes();
    sockets.handleUpgrade(request, socket, head, (ws) => carry(ws, socket));
  });
  return {
    take: (socket, know) => {
      const address = socket.remoteAddress ?? "unknown";
      if (room.size() >= deps.maxPending() && !room.makeRoom(address)) {
        socket.destroy();
        return;
      }
      const timer = setTimeout(() => fail(socket, "no upgrade in time"), deps.timeoutMs);
      pending.set(socket, { timer, know });
      room.enter(socket, address);
      socket.once("close", () => settle(socket));
      http.emit("connection", socket);
    },
    pending: () => pending.size,
    count: () => ({ ...counts }),
  };
}
