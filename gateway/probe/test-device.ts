/** For tests: a Modbus TCP device with memory in places, that refuses what it does not have. Frames are cut and written by hand. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

export type Memory = {
  /** Registers by address; the first in a row at the key. Tables that are not named answer with exception 1. */
  readonly holding?: Readonly<Record<number, readonly number[]>>;
  readonly input?: Readonly<Record<number, readonly number[]>>;
  /** More registers in one read are refused with exception 3. */
  readonly most?: number;
  /** Basic identification: vendor, product, revision. */
  readonly identity?: readonly string[];
};

export type TestDevice = {
  readonly port: number;
  readonly requests: readonly { unit: number; pdu: string; atMs: number }[];
  readonly counts: { maxOpen: number; maxInFlight: number };
  readonly close: () => Promise<void>;
};

function flat(rows: Readonly<Record<number, readonly number[]>>): Map<number, number> {
  return new Map(
    Object.entries(rows).flatMap(([from, words]) => words.map((word, i) => [Number(from) + i, word] as const)),
  );
}

function answerTo(pdu: Buffer, { holding, input, most = 125, identity }: Memory): Buffer {
  const code = pdu.readUInt8(0);
  const refused = (exception: number) => Buffer.from([code | 0x80, exception]);
  if (code === 0x2b && identity) {
    const objects = identity.flatMap((text, id) => [id, text.length, ...Buffer.from(text)]);
    return Buffer.from([0x2b, 0x0e, 1, 1, 0, 0, identity.length, ...objects]);
  }
  const rows = code === 3 ? holding : code === 4 ? input : undefined;
  if (rows === undefined) return refused(1);
  const quantity = pdu.readUInt16BE(3);
  if (quantity > most) return refused(3);
  const memory = flat(rows);
  const bytes = Buffer.alloc(2 * quantity);
  for (let i = 0; i < quantity; i += 1) {
    const word = memory.get(pdu.readUInt16BE(1) + i);
    if (word === undefined) return refused(2);
    bytes.writeUInt16BE(word, 2 * i);
  }
  return Buffer.concat([Buffer.from([code, bytes.length]), bytes]);
}

/** @param units memory by unit id; others stay silent, or are called absent by a gateway where `absent` says so */
export async function startTestDevice(
  units: Readonly<Record<number, Memory>>,
  { absent = "silent" }: { absent?: "silent" | "exception" } = {},
): Promise<TestDevice> {
  const requests: { unit: number; pdu: string; atMs: number }[] = [];
  const counts = { maxOpen: 0, maxInFlight: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // After this turn of the loop: the end of the connection before may be in it, behind the start of this one.
    setImmediate(() => {
      counts.maxOpen = Math.max(counts.maxOpen, sockets.size);
    });
    socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let inFlight = 1; rest.length >= 7 && rest.length >= 6 + rest.readUInt16BE(4); inFlight += 1) {
        const frame = rest.subarray(0, 6 + rest.readUInt16BE(4));
        rest = rest.subarray(frame.length);
        counts.maxInFlight = Math.max(counts.maxInFlight, inFlight);
        const unit = frame.readUInt8(6);
        const pdu = frame.subarray(7);
        requests.push({ unit, pdu: pdu.toString("hex"), atMs: performance.now() });
        const memory = units[unit];
        if (memory === undefined && absent === "silent") continue;
        const body = memory ? answerTo(pdu, memory) : Buffer.from([pdu.readUInt8(0) | 0x80, 11]);
        const head = Buffer.from(frame.subarray(0, 7));
        head.writeUInt16BE(body.length + 1, 4);
        socket.write(Buffer.concat([head, body]));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as { port: number }).port,
    requests,
    counts,
    async close() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
