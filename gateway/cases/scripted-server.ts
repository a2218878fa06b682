import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/**
 * A Modbus TCP server that does what a script says, byte by byte, right or wrong. It shares nothing with the driver: frames are cut and
 * written here by hand, so that one mistake cannot hide in both.
 */
export type Rule = {
  /** The request's PDU begins with these hexadecimal digits; every request where left out. */
  when?: string;
  unit?: number;
  /** The rule answers so many requests and is then used up. */
  times?: number;
  /**
   * Segments to send, in hexadecimal. TTTT stands for the request's transaction id, XXXX for another one, UU for its unit id. The word
   * "addresses" sends a right answer in which every register holds its own address.
   */
  send?: string[];
  delayMs?: number;
  /** Pause between two segments, so that they arrive apart. */
  gapMs?: number;
  /** Answers leave when so many requests wait: joined in one segment, the last first. */
  hold?: number;
  end?: "close" | "reset";
};

export type Script = {
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

type Asked = { socket: Socket; transactionId: string; unit: number; pdu: Buffer };

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");

/** The right answer to a read, each register holding its own address, each bit its address's lowest bit. */
function addressesAnswer({ pdu, unit, transactionId }: Asked): string {
  const code = pdu.readUInt8(0);
  const address = pdu.readUInt16BE(1);
  const quantity = pdu.readUInt16BE(3);
  let data = "";
  if (code >= 3) for (let i = 0; i < quantity; i += 1) data += hex(address + i, 4);
  else {
    const bits = Buffer.alloc(Math.ceil(quantity / 8));
    for (let i = 0; i < quantity; i += 1)
      if ((address + i) % 2 === 1) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    data = bits.toString("hex");
  }
  const bytes = data.length / 2;
  return `${transactionId}0000${hex(bytes + 3, 4)}${hex(unit, 2)}${hex(code, 2)}${hex(bytes, 2)}${data}`;
}

function bytesOf(text: string, asked: Asked): Buffer {
  if (text === "addresses") return Buffer.from(addressesAnswer(asked), "hex");
  const other = hex((Number.parseInt(asked.transactionId, 16) + 1) % 65_536, 4);
  const filled = text
    .replaceAll(/\s/g, "")
    .replaceAll("TTTT", asked.transactionId)
    .replaceAll("XXXX", other)
    .replaceAll("UU", hex(asked.unit, 2));
  if (!/^([0-9a-f]{2})*$/i.test(filled)) throw new Error(`"${text}" is not hexadecimal`);
  return Buffer.from(filled, "hex");
}

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
    const { delayMs = 0, gapMs = 0, end } = rule;
    const segments = (rule.send ?? []).map((text) => bytesOf(text, asked));
    for (const [i, segment] of segments.entries()) {
      later(delayMs + i * gapMs, () => {
        if (i === segments.length - 1) sockets.set(socket, (sockets.get(socket) ?? 1) - 1);
        if (socket.writable) socket.write(segment);
      });
    }
    if (end === undefined) return;
    // Behind the last segment, and not in its timer's tick: a reset would take the segment with it.
    later(delayMs + segments.length * gapMs + 1, () => (end === "reset" ? socket.resetAndDestroy() : socket.end()));
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
      if (pdu.startsWith("2b")) answer({ ...noIdentification, left: 1, held: [] }, asked);
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
    asked.socket.write(Buffer.concat(held.flatMap((one) => (rule.send ?? []).map((text) => bytesOf(text, one)))));
    sockets.set(asked.socket, inFlight - held.length);
  }

  function onConnection(socket: Socket): void {
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
      while (rest.length >= 7 && rest.length >= 6 + rest.readUInt16BE(4)) {
        const end = 6 + rest.readUInt16BE(4);
        const frame = rest.subarray(0, end);
        rest = rest.subarray(end);
        onRequest({
          socket,
          transactionId: frame.toString("hex", 0, 2),
          unit: frame.readUInt8(6),
          pdu: frame.subarray(7),
        });
      }
    });
  }

  let server: Server = createServer(onConnection);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };

  async function listen(): Promise<void> {
    if (server.listening) return;
    server = createServer(onConnection).listen(port, "127.0.0.1");
    await once(server, "listening");
  }

  async function stop(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets.keys()) socket.destroy();
    await closed;
  }

  if (script.listen === "afterFirstFailure") await stop();
  return {
    port,
    listen,
    requests,
    unmatched,
    counts,
    async close() {
      for (const timer of timers) clearTimeout(timer);
      await stop();
    },
  };
}

const noIdentification: Rule = { send: ["TTTT 0000 0003 UU AB 01"] };

/** Waits until something holds; the bound turns a wait for ever into a failure that says for what. */
export async function until(what: string, holds: () => boolean, boundMs = 10_000): Promise<void> {
  const deadline = performance.now() + boundMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${boundMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
