import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import pino from "pino";
import { afterEach, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import type { ListenLine } from "./line-config.ts";
import { createListeners } from "./line-listen.ts";
import { createLine, type SharedLine } from "./line-shared.ts";
import { freePort } from "./test-ports.ts";

const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The lines of some boxes on one port, and what is logged of them. */
async function listenFor(boxes: readonly (Partial<ListenLine> & { id: string })[], strangerMs = 10_000) {
  const port = await freePort();
  const logged: Record<string, unknown>[] = [];
  const log = pino({ level: "info" }, { write: (text: string) => void logged.push(JSON.parse(text)) });
  const listeners = createListeners({ log, strangerMs });
  const lines = boxes.map((box) => {
    const config = { kind: "listen", host: "127.0.0.1", port, turnaroundMs: 0, quietMs: 2, ...box } as const;
    return createLine(box.id, listeners.medium(config), log);
  });
  closers.push(async () => {
    await Promise.all(lines.map((line) => line.close()));
    await listeners.close();
  });
  return { port, lines, logged };
}

/** Asks for "pong" and tells which box it was. */
const ask = (line: SharedLine | undefined, timeoutMs = 3000) =>
  (line as SharedLine)
    .exchange({
      device: "meter",
      request: Buffer.from("ping"),
      timeoutMs,
      signal: never,
      find: (received) =>
        /pong-\w;/.test(String(received)) ? Buffer.from(String(received).match(/pong-\w;/)?.[0] ?? "") : undefined,
    })
    .then(String);

/** A box that sends the segments, and answers what it is asked with its name. */
function dial(port: number, name: string, ...segments: string[]): Promise<Socket> {
  return dialFrom("127.0.0.1", port, name, ...segments);
}

/** The same from an address of this machine: all of 127.0.0.0/8 are. */
async function dialFrom(localAddress: string, port: number, name: string, ...segments: string[]): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress, noDelay: true });
  await once(socket, "connect");
  closers.push(async () => void socket.destroy());
  socket
    .on("error", () => undefined)
    .on("data", (chunk) => {
      if (String(chunk) === "ping") socket.write(`pong-${name};`);
    });
  for (const segment of segments) {
    socket.write(Buffer.from(segment, "latin1"));
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  return socket;
}

const isGone = (socket: Socket) => socket.destroyed || socket.readableEnded;

/** Of the first exchange, which opens the port. */
const away = { code: "LINE_BOX_AWAY", device: "meter" };

it("tells that a box has not dialled in, and knows several on one port by their first bytes, however they arrive", async () => {
  const { port, lines, logged } = await listenFor([
    { id: "a", registration: "box-a" },
    { id: "b", registration: "hex:0001626F78" },
  ]);
  await expect(ask(lines[0], 20)).rejects.toMatchObject({ ...away, address: `line a (box on port ${port})` });
  await dial(port, "B", "\x00\x01b", "ox");
  await dial(port, "A", "box-a");
  expect(await Promise.all([ask(lines[0]), ask(lines[1])])).toEqual(["pong-A;", "pong-B;"]);
  expect(logged.filter(({ msg }) => msg === "a box dialled in").map(({ line }) => line)).toEqual(["b", "a"]);
});

it("waits for a box that dials in while it is asked", async () => {
  const { port, lines } = await listenFor([{ id: "a", registration: "box-a" }]);
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  const answer = ask(lines[0]);
  await dial(port, "A", "box-a");
  expect(await answer).toBe("pong-A;");
});

it("refuses and logs a box that nobody knows, and one that says nothing, and goes on", async () => {
  const { port, lines, logged } = await listenFor([{ id: "a", registration: "box-a" }], 40);
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  const unknown = await dial(port, "X", "box-x");
  await until("it is refused", () => isGone(unknown));
  expect(logged).toContainEqual(
    expect.objectContaining({ code: "LINE_BOX_REFUSED", port, sent: '"box-x"', peer: "127.0.0.1" }),
  );
  const silent = await dial(port, "S");
  await until("it is refused", () => isGone(silent));
  await dial(port, "A", "box-a");
  expect(await ask(lines[0])).toBe("pong-A;");
});

it("holds sixteen sockets that do not register, and lets the oldest go for another", async () => {
  const { port, lines } = await listenFor([{ id: "a", registration: "box-a" }]);
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  const strangers = await Promise.all(Array.from({ length: 40 }, () => dial(port, "S")));
  const gone = () => strangers.filter(isGone).length;
  await until("all but sixteen are gone", () => gone() === 24);
  await dial(port, "A", "box-a");
  expect(await ask(lines[0])).toBe("pong-A;");
  expect(gone()).toBe(25);
});

it("lets a box that dials in again take the place of its old connection at once, also between two exchanges", async () => {
  const { port, lines } = await listenFor([{ id: "a", registration: "box-a" }]);
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  const old = await dial(port, "1", "box-a");
  expect(await ask(lines[0])).toBe("pong-1;");
  await dial(port, "2", "box-a");
  expect(await ask(lines[0])).toBe("pong-2;");
  expect(isGone(old)).toBe(true);
  expect(lines[0]?.stats()).toMatchObject({ opens: 2, timeouts: 0 });
});

it("takes any box where its line is alone on the port and has no registration", async () => {
  const { port, lines } = await listenFor([{ id: "a" }]);
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  await dial(port, "A");
  expect(await ask(lines[0])).toBe("pong-A;");
});

it("takes no box from where none is allowed, with the right registration or without one", async () => {
  const { port, lines, logged } = await listenFor([
    { id: "a", registration: "box-a", allow: ["127.0.0.2"] },
    { id: "b", registration: "box-b", allow: ["127.0.0.0/30"] },
  ]);
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  // Allowed on one of the two lines, and not on that which it names.
  const wrong = await dialFrom("127.0.0.3", port, "X", "box-a");
  await until("it is refused", () => isGone(wrong));
  // Allowed on none: not even waited for.
  const foreign = await dialFrom("127.0.0.9", port, "Y");
  await until("it is refused", () => isGone(foreign));
  await dialFrom("127.0.0.2", port, "A", "box-a");
  await dialFrom("127.0.0.3", port, "B", "box-b");
  expect(await Promise.all([ask(lines[0]), ask(lines[1])])).toEqual(["pong-A;", "pong-B;"]);
  expect(logged).toContainEqual(
    expect.objectContaining({ code: "LINE_BOX_REFUSED", peer: "127.0.0.3", msg: expect.stringContaining("allows") }),
  );
  const alone = await listenFor([{ id: "c", allow: ["127.0.0.2"] }]);
  await expect(ask(alone.lines[0], 20)).rejects.toMatchObject(away);
  await dialFrom("127.0.0.2", alone.port, "C");
  expect(await ask(alone.lines[0])).toBe("pong-C;");
  const other = await dialFrom("127.0.0.3", alone.port, "X");
  await until("it is refused", () => isGone(other));
  expect(await ask(alone.lines[0])).toBe("pong-C;");
  expect(alone.lines[0]?.stats()).toMatchObject({ opens: 1, takeovers: 0 });
});

it("tells with both addresses that another box took a line over, counts it, and tells two that take turns once", async () => {
  const { port, lines, logged } = await listenFor([{ id: "a" }]);
  const taken = () => logged.filter(({ code }) => code === "LINE_BOX_REPLACED");
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  await dial(port, "1");
  expect(await ask(lines[0])).toBe("pong-1;");
  await dialFrom("127.0.0.2", port, "2");
  await until("it was taken over", () => taken().length === 1);
  expect(taken()).toMatchObject([{ level: 40, line: "a", peer: "127.0.0.2", before: "127.0.0.1" }]);
  expect(await ask(lines[0])).toBe("pong-2;");
  for (let i = 0; i < 20; i += 1) await dialFrom(`127.0.0.${(i % 2) + 1}`, port, "3");
  await until("all are counted", () => lines[0]?.stats().takeovers === 21);
  expect(taken()).toHaveLength(1);
});

it("tells no takeover of a box that comes back from its own address, but of two that share one", async () => {
  const { port, lines, logged } = await listenFor([{ id: "a", registration: "box-a" }]);
  const taken = () => logged.filter(({ code }) => code === "LINE_BOX_REPLACED");
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
  for (const times of [1, 2]) {
    await dial(port, "A", "box-a");
    expect(await ask(lines[0])).toBe("pong-A;");
    expect([lines[0]?.stats().takeovers, taken()]).toEqual([times - 1, []]);
  }
  await dial(port, "A", "box-a");
  await until("it is told", () => taken().length === 1);
});

it("knows a box that dialled while its line was exchanged for another", async () => {
  const port = await freePort();
  const log = pino({ level: "silent" });
  const listeners = createListeners({ log, strangerMs: 10_000 });
  closers.push(listeners.close);
  const config = { kind: "listen", id: "a", host: "127.0.0.1", port, turnaroundMs: 0, quietMs: 2 } as const;
  const old = createLine("a", listeners.medium(config), log);
  await expect(ask(old, 20)).rejects.toMatchObject(away);
  await old.close();
  await listeners.keep([config]);
  // It has said nothing by which it could be known, and nothing more comes.
  await dial(port, "A", "");
  const line = createLine("a", listeners.medium(config), log);
  closers.push(line.close);
  expect(await ask(line)).toBe("pong-A;");
});

it("says that its port is taken, and listens once it is free", async () => {
  const { port, lines } = await listenFor([{ id: "a", registration: "box-a" }]);
  const other = createServer().listen(port, "127.0.0.1");
  await once(other, "listening");
  const taken = { code: "LINE_OPEN_FAILED", message: "another program listens on this port" };
  await expect(ask(lines[0], 20)).rejects.toMatchObject(taken);
  other.close();
  await once(other, "close");
  await expect(ask(lines[0], 20)).rejects.toMatchObject(away);
});
