import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Asked, rtuWire, tcpWire } from "./scripted-wire.ts";

/**
 * A Modbus server that does what a script says, byte by byte, right or wrong: Modbus TCP, RTU behind a converter, or RTU behind a box that
 * dials in. It shares nothing with the drivers: frames are cut and written by hand (scripted-wire.ts), so that one mistake cannot hide in
 * both.
 */
export type Rule = {
  /** The request's PDU begins with these hexadecimal digits; every request where left out. */
  when?: string;
  unit?: number;
  /** The rule answers so many requests and is then used up. */
  times?: number;
  /**
   * Segments to send, in hexadecimal. TTTT stands for the request's transaction id, XXXX for another one, UU for its unit id. The word
   * "addresses" sends a right answer in which every register holds its own address. In RTU, CRC stands for that of what is before it,
   * from the last | or from the beginning; REQUEST for the request; and "text" in quotation marks for itself.
   */
  send?: string[];
  delayMs?: number;
  /** Pause between two segments, so that they arrive apart. */
  gapMs?: number;
  /** Answers leave when so many requests wait: joined in one segment, the last first. */
  hold?: number;
  /** In RTU: every byte is a segment of its own. */
  bytewise?: boolean;
  /** "redial": a box dials in once more and leaves its old connection as it is. */
  end?: "close" | "reset" | "redial";
};

export type Script = {
  /** Modbus TCP where left out. */
  wire?: "rtu";
  /** Boxes that dial the gateway in place of a server, in this order: what each sends first. */
  dial?: string[];
  /** When the port opens; until then connects are refused. */
  listen?: "now" | "afterFirstFailure";
  rules: Rule[];
};

export type Request = { atMs: number; unit: number; pdu: string };

export type ScriptedServer = {
  readonly port: number;
  readonly listen: () => Promise<void>;
  readonly requests: readonly Request[];
  /** Requests that no rule was for. */
  readonly unmatched: readonly string[];
  readonly counts: { connections: number; open: number; maxOpen: number; maxInFlight: number };
  readonly close: () => Promise<void>;
};

export async function startScriptedServer(script: Script): Promise<ScriptedServer> {
  const rules = script.rules.map((rule) => ({
    ...rule,
    left: rule.times ?? Number.POSITIVE_INFINITY,
    held: [] as Asked[],
  }));
  const requests: Request[] = [];
  const unmatched: string[] = [];
  const counts = { connections: 0, open: 0, maxOpen: 0, maxInFlight: 0 };
  const sockets = new Map<Socket, number>();
  const timers = new Set<NodeJS.Timeout>();
  const wire = script.wire === "rtu" ? rtuWire : tcpWire;
  /** When the last answer of a unit leaves: on a line nobody answers the second request before the first. */
  const busyUntilMs = new Map<number, number>();
  let closed = false;

  function later(delayMs: number, action: () => void): void {
    if (delayMs === 0) {
      action();
      return;
    }
    const timer = setTimeout(() => {
      timers.delete(timer);
      action();
    }, delayMs);
    timers.add(timer);
  }

  function answer(rule: (typeof rules)[number], asked: Asked): void {
    const { socket } = asked;
    const { gapMs = 0, end } = rule;
    const written = (rule.send ?? []).map((text) => wire.bytesOf(text, asked));
    const segments = rule.bytewise ? [...Buffer.concat(written)].map((byte) => Buffer.of(byte)) : written;
    const nowMs = performance.now();
    const sentMs = Math.max(nowMs + (rule.delayMs ?? 0), wire.isOrdered ? (busyUntilMs.get(asked.unit) ?? 0) : 0);
    if (segments.length > 0) busyUntilMs.set(asked.unit, sentMs);
    const delayMs = sentMs - nowMs;
    for (const [i, segment] of segments.entries()) {
      later(delayMs + i * gapMs, () => {
        if (i === segments.length - 1) sockets.set(socket, (sockets.get(socket) ?? 1) - 1);
        if (socket.writable) socket.write(segment);
      });
    }
    if (end === undefined) return;
    // Behind the last segment, and not in its timer's tick: a reset would take the segment with it.
    later(delayMs + segments.length * gapMs + 1, () => {
      if (end === "redial") dial(asked.registration ?? "");
      else if (end === "reset") socket.resetAndDestroy();
      else socket.end();
    });
  }

  function onRequest(asked: Asked): void {
    const pdu = asked.pdu.toString("hex");
    requests.push({ atMs: performance.now(), unit: asked.unit, pdu });
    const inFlight = (sockets.get(asked.socket) ?? 0) + 1;
    sockets.set(asked.socket, inFlight);
    counts.maxInFlight = Math.max(counts.maxInFlight, inFlight);
    const rule = rules.find(
      ({ left, when = "", unit = asked.unit }) =>
        left > 0 && unit === asked.unit && pdu.startsWith(when.replaceAll(" ", "").toLowerCase()),
    );
    if (rule === undefined) {
      // A device without Read Device Identification says so with exception 1 (illegal function), unless the script has its own answer.
      if (pdu.startsWith("2b")) answer({ send: [wire.noIdentification], left: 1, held: [] }, asked);
      else unmatched.push(pdu);
      return;
    }
    rule.left -= 1;
    if (rule.hold === undefined) {
      answer(rule, asked);
      return;
    }
    rule.held.push(asked);
    if (rule.held.length < rule.hold) return;
    const held = rule.held.splice(0).reverse();
    asked.socket.write(Buffer.concat(held.flatMap((one) => (rule.send ?? []).map((text) => wire.bytesOf(text, one)))));
    sockets.set(asked.socket, inFlight - held.length);
  }

  function onConnection(socket: Socket, registration?: string): void {
    counts.connections += 1;
    counts.open += 1;
    // After this turn of the loop: the end of the connection before may be in it, behind the start of this one.
    setImmediate(() => {
      counts.maxOpen = Math.max(counts.maxOpen, counts.open);
    });
    sockets.set(socket, 0);
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      counts.open -= 1;
      sockets.delete(socket);
    });
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let cut = wire.cut(rest); cut !== undefined; cut = wire.cut(rest)) {
        rest = rest.subarray(cut.bytes);
        onRequest({ socket, registration, ...cut.asked });
      }
    });
  }

  /** Dials until the gateway takes it, and then behaves as a server does. */
  function dial(registration: string): void {
    if (closed) return;
    const socket = connect({ host: "127.0.0.1", port });
    const again = () => later(20, () => dial(registration));
    socket.once("error", again);
    socket.once("connect", () => {
      socket.off("error", again);
      onConnection(socket, registration);
      socket.write(registration);
    });
  }

  let server: Server = createServer((socket) => onConnection(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };

  async function listen(): Promise<void> {
    if (server.listening || script.dial !== undefined) return;
    server = createServer((socket) => onConnection(socket)).listen(port, "127.0.0.1");
    await once(server, "listening");
  }

  async function stop(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets.keys()) socket.destroy();
    await closed;
  }

  if (script.listen === "afterFirstFailure" || script.dial !== undefined) await stop();
  for (const registration of script.dial ?? []) dial(registration);
  return {
    port,
    listen,
    requests,
    unmatched,
    counts,
    async close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      await stop();
    },
  };
}

/** Waits until something holds; the bound turns a wait for ever into a failure that says for what. */
export async function until(what: string, holds: () => boolean, boundMs = 10_000): Promise<void> {
  const deadline = performance.now() + boundMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${boundMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
