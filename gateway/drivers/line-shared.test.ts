import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import pino from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { reasonOf } from "../collect.ts";
import type { Exchange } from "./line.ts";
import { createLines } from "./line-pool.ts";
import { createLine, type SharedLine } from "./line-shared.ts";
import { tcpMedium } from "./line-socket.ts";

const log = pino({ level: "silent" });
const never = new AbortController().signal;
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Peer = { port: number; server: Server; sockets: Set<Socket>; asked: string[]; connections: () => number };

/** A converter: what comes from the line is told to `onAsked`, one packet at a time. */
async function converter(onAsked: (asked: string, socket: Socket) => void): Promise<Peer> {
  const sockets = new Set<Socket>();
  const asked: string[] = [];
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.on("data", (chunk) => {
      asked.push(chunk.toString("latin1"));
      onAsked(chunk.toString("latin1"), socket);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as { port: number }).port,
    server,
    sockets,
    asked,
    connections: () => connections,
  };
}

function lineTo(port: number, turnaroundMs = 0): SharedLine {
  const config = { id: "bus", kind: "tcp", host: "127.0.0.1", port, quietMs: 2, turnaroundMs } as const;
  const line = createLine("bus", tcpMedium(config, log), log);
  closers.push(line.close);
  return line;
}

/** Asks for the text in capitals: `a1` wants `A1`. */
function ask(device: string, text: string, over: Partial<Exchange> = {}): Exchange {
  const wanted = text.toUpperCase();
  const find = (received: Buffer) => {
    const at = received.indexOf(wanted);
    return at < 0 ? undefined : received.subarray(at, at + wanted.length);
  };
  return { device, request: Buffer.from(text), timeoutMs: 80, signal: never, find, ...over };
}

describe("a line", () => {
  it("has one exchange at a time, and devices take turns whatever one of them asks for", async () => {
    let underWay = 0;
    let most = 0;
    const { port, asked } = await converter((text, socket) => {
      underWay += 1;
      most = Math.max(most, underWay);
      setTimeout(() => {
        underWay -= 1;
        socket.write(text.toUpperCase());
      }, 3);
    });
    const line = lineTo(port);
    const greedy = ["a1", "a2", "a3", "a4", "a5", "a6"].map((text) => line.exchange(ask("a", text)));
    const modest = ["b1", "c1"].map((text) => line.exchange(ask(text.slice(0, 1), text)));
    const answers = await Promise.all([...greedy, ...modest]);
    expect(answers.map(String)).toEqual(["A1", "A2", "A3", "A4", "A5", "A6", "B1", "C1"]);
    expect(most).toBe(1);
    // Each of the others is asked before the greedy one has its next turn.
    expect(asked).toEqual(["a1", "a2", "b1", "c1", "a3", "a4", "a5", "a6"]);
    const none = { timeouts: 0, discardedBytes: 0, foreignRequests: 0, takeovers: 0 };
    expect(line.stats()).toEqual({ line: "bus", open: true, exchanges: 8, opens: 1, ...none });
  });

  it("refuses a seventeenth exchange of one device as a defect", async () => {
    const { port } = await converter(() => undefined);
    const line = lineTo(port);
    const waiting = Array.from({ length: 17 }, (_, i) => line.exchange(ask("a", `a${i}`)));
    for (const one of waiting) one.catch(() => undefined);
    await expect(line.exchange(ask("a", "more"))).rejects.toThrow("more than 16");
  });

  it("throws away what came before a request, and what came late", async () => {
    const { port, sockets } = await converter((text, socket) => {
      if (text === "a1") setTimeout(() => socket.write("A1A2"), 100);
      if (text === "b1") setTimeout(() => socket.write("B1"), 60);
    });
    const line = lineTo(port);
    await expect(line.exchange(ask("a", "a1", { timeoutMs: 50 }))).rejects.toMatchObject({
      code: "LINE_TIMEOUT",
      device: "a",
      address: `line bus (127.0.0.1:${port})`,
    });
    expect(String(await line.exchange(ask("b", "b1")))).toBe("B1");
    expect(line.stats()).toMatchObject({ timeouts: 1, discardedBytes: 4 });
    for (const socket of sockets) socket.write("A2");
    await until("the bytes are thrown away", () => line.stats().discardedBytes === 6);
    await expect(line.exchange(ask("a", "a2", { timeoutMs: 30 }))).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
  });

  it("tells bytes that are no answer from silence, and an echo from neither", async () => {
    const { port } = await converter((text, socket) => {
      if (text === "a1") socket.write("zzz");
      if (text === "a2") socket.write("a2");
      if (text === "a3") socket.write("zzzzz");
    });
    const line = lineTo(port);
    const garbled = await line.exchange(ask("a", "a1", { timeoutMs: 30 })).catch((thrown: unknown) => thrown);
    expect(garbled).toMatchObject({ code: "LINE_GARBLED" });
    // Of another number of bytes it is the same news: reasons are compared as texts.
    const again = await line.exchange(ask("a", "a3", { timeoutMs: 30 })).catch((thrown: unknown) => thrown);
    expect(reasonOf(again)).toBe(reasonOf(garbled));
    await expect(line.exchange(ask("a", "a2", { timeoutMs: 30 }))).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
  });

  it("fails the exchange of a lost connection, and opens another for the next", async () => {
    const { port, connections } = await converter((text, socket) => {
      if (text === "a1") socket.resetAndDestroy();
      else socket.write(text.toUpperCase());
    });
    const line = lineTo(port);
    await expect(line.exchange(ask("a", "a1"))).rejects.toMatchObject({ code: "LINE_LOST", device: "a" });
    expect(String(await line.exchange(ask("a", "a2")))).toBe("A2");
    expect(connections()).toBe(2);
  });

  it("does not go on for ever with a converter that takes connections only to end them", async () => {
    const { port, server, connections } = await converter(() => undefined);
    server.on("connection", (socket) => socket.end());
    const line = lineTo(port, 50);
    await expect(line.exchange(ask("a", "a1"))).rejects.toMatchObject({ code: "LINE_LOST" });
    expect(connections()).toBeLessThanOrEqual(2);
  });

  it("tells all that wait why it cannot be opened, each with its own device", async () => {
    const { port, server } = await converter(() => undefined);
    server.close();
    await once(server, "close");
    const line = lineTo(port);
    const failed = await Promise.allSettled(["a", "b"].map((device) => line.exchange(ask(device, "x"))));
    expect(failed.map((one) => (one as PromiseRejectedResult).reason)).toMatchObject([
      { code: "LINE_OPEN_FAILED", device: "a", message: "connection refused" },
      { code: "LINE_OPEN_FAILED", device: "b", message: "connection refused" },
    ]);
  });

  it("opens a silent connection anew: the other side may have forgotten it", async () => {
    const { port, connections } = await converter((text, socket) => {
      if (text === "a4") socket.write("A4");
    });
    const line = lineTo(port);
    for (const text of ["a1", "a2", "a3"])
      await expect(line.exchange(ask("a", text, { timeoutMs: 15 }))).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
    expect(String(await line.exchange(ask("a", "a4")))).toBe("A4");
    expect(connections()).toBe(2);
  });

  it("keeps the connection while one device is dead and another one answers", async () => {
    const { port, connections } = await converter((text, socket) => {
      if (text.startsWith("b")) socket.write(text.toUpperCase());
    });
    const line = lineTo(port);
    expect(String(await line.exchange(ask("b", "b1")))).toBe("B1");
    for (const text of ["a1", "a2", "a3", "a4", "a5"])
      await expect(line.exchange(ask("a", text, { timeoutMs: 15 }))).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
    expect(String(await line.exchange(ask("b", "b2")))).toBe("B2");
    expect(connections()).toBe(1);
  });

  it("lets a caller go at once, and keeps the line until the answer that it no longer wants", async () => {
    const order: string[] = [];
    const { port, asked } = await converter((text, socket) => {
      setTimeout(() => {
        order.push(text);
        socket.write(text.toUpperCase());
      }, 40);
    });
    const line = lineTo(port);
    const stop = new AbortController();
    const given = line.exchange(ask("a", "a1", { signal: stop.signal }));
    await until("it is asked", () => asked.length === 1);
    const queued = line.exchange(ask("a", "a2", { signal: stop.signal }));
    const other = line.exchange(ask("b", "b1"));
    stop.abort();
    await expect(given).rejects.toMatchObject({ code: "LINE_STOPPED" });
    await expect(queued).rejects.toMatchObject({ code: "LINE_STOPPED" });
    expect(order).toEqual([]);
    expect(String(await other)).toBe("B1");
    expect(order).toEqual(["a1", "b1"]);
  });

  it("ends everything when it is closed", async () => {
    const { port, asked, sockets } = await converter(() => undefined);
    const line = lineTo(port);
    const both = [line.exchange(ask("a", "a1")), line.exchange(ask("b", "b1"))];
    await until("it is asked", () => asked.length === 1);
    const ended = Promise.allSettled(both);
    await line.close();
    expect((await ended).map((one) => (one as PromiseRejectedResult).reason.code)).toEqual([
      "LINE_STOPPED",
      "LINE_STOPPED",
    ]);
    await until("the connection is gone", () => sockets.size === 0);
    await expect(line.exchange(ask("a", "a1"))).rejects.toMatchObject({ code: "LINE_STOPPED" });
  });

  it("passes on what a defective find throws, and goes on", async () => {
    const { port } = await converter((text, socket) => socket.write(text.toUpperCase()));
    const line = lineTo(port);
    const find = () => {
      throw new Error("defect");
    };
    await expect(line.exchange(ask("a", "a1", { find }))).rejects.toThrow("defect");
    expect(String(await line.exchange(ask("a", "a2")))).toBe("A2");
  });

  it("looks for a silent device only as long as answers take, and has the next one wait for what a converter may still wait for", async () => {
    const heard: number[] = [];
    const { port } = await converter((text, socket) => {
      heard.push(performance.now());
      if (text === "b1") socket.write("B1");
      // As a converter that serves one after the other: it waits for a1 until 900 ms, and asks b only then.
      if (text === "b2") setTimeout(() => socket.write("B2"), (heard[1] ?? 0) + 900 - performance.now());
    });
    const line = lineTo(port);
    await line.exchange(ask("b", "b1"));
    const startedMs = performance.now();
    const silent = line.exchange(ask("a", "a1", { timeoutMs: 3000, isProbe: true }));
    const other = line.exchange(ask("b", "b2", { timeoutMs: 300 }));
    await expect(silent).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
    expect(performance.now() - startedMs).toBeLessThan(850);
    expect(String(await other)).toBe("B2");
    // Answered, the other side is free: nothing is lent any more.
    const againMs = performance.now();
    await expect(line.exchange(ask("b", "b3", { timeoutMs: 300 }))).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
    expect(performance.now() - againMs).toBeLessThan(1500);
  });

  it("has probes in a row that are all short on a serial port, where no converter waits for the one before", async () => {
    const { port } = await converter((text, socket) => text === "a1" && socket.write("A1"));
    const medium = tcpMedium({ id: "bus", host: "127.0.0.1", port, turnaroundMs: 0 }, log);
    const line = createLine("bus", { ...medium, servesInTurn: false }, log);
    closers.push(line.close);
    await line.exchange(ask("a", "a1"));
    const startedMs = performance.now();
    const probes = ["b", "c", "d", "e"].map((id) =>
      line.exchange(ask(id, `${id}1`, { timeoutMs: 2000, isProbe: true })),
    );
    const ended = await Promise.allSettled(probes);
    expect(ended.map(({ status }) => status)).toEqual(Array(4).fill("rejected"));
    // With the time lent that a converter may need they took one time-out each, but for the first.
    expect(performance.now() - startedMs).toBeLessThan(3500);
  });

  it("gives its connection back while nobody uses it, also one that is being opened", async () => {
    const { port, sockets, connections } = await converter((text, socket) => socket.write(text.toUpperCase()));
    const line = lineTo(port);
    await line.exchange(ask("a", "a1"));
    line.rest();
    await until("the connection is gone", () => sockets.size === 0);
    const stop = new AbortController();
    const given = line.exchange(ask("a", "a2", { signal: stop.signal }));
    stop.abort();
    line.rest();
    await expect(given).rejects.toMatchObject({ code: "LINE_STOPPED" });
    await until("the second was opened and ended", () => connections() === 2 && sockets.size === 0);
    expect(line.stats().open).toBe(false);
    expect(String(await line.exchange(ask("a", "a3")))).toBe("A3");
  });
});

it("what answers took on a line is no measure any more once the device that gave them was taken off it", async () => {
  const { port } = await converter((text, socket) => text.startsWith("q") && socket.write(text.toUpperCase()));
  const bus = { id: "bus", kind: "tcp", host: "127.0.0.1", port, quietMs: 2, turnaroundMs: 0 } as const;
  const lines = createLines([bus], log);
  closers.push(lines.close);
  const probe = async () => {
    const fromMs = performance.now();
    await expect(
      lines.line("bus").exchange(ask("dead", "d1", { isProbe: true, timeoutMs: 400 })),
    ).rejects.toMatchObject({ code: "LINE_TIMEOUT" });
    return performance.now() - fromMs;
  };
  await lines.line("bus").exchange(ask("quick", "q1"));
  const onBus = (id: string) => ({ id, line: "bus" });
  await lines.set([bus], [onBus("quick"), onBus("dead")]);
  expect(await probe()).toBeLessThan(300);
  // On another line there may be one of that name.
  await lines.set([bus], [{ id: "quick", line: "other" }, onBus("dead")]);
  await expect(lines.line("bus").exchange(ask("dead", "d2", { timeoutMs: 400 }))).rejects.toThrow();
  expect(await probe()).toBeGreaterThan(350);
});

it("a device that is taken off a line amid its exchange is not learnt of: nobody is held back for it", async () => {
  const { port, asked } = await converter((text, socket) => {
    if (text.startsWith("g")) setTimeout(() => socket.write(text.toUpperCase()), 60);
  });
  const line = lineTo(port);
  const stop = new AbortController();
  const given = line.exchange(ask("gone", "g1", { signal: stop.signal, timeoutMs: 2000 }));
  await until("it is asked", () => asked.length === 1);
  stop.abort();
  line.keep(new Set(["dead", "new"]));
  await expect(given).rejects.toThrow();
  await expect(line.exchange(ask("dead", "d1", { timeoutMs: 400 }))).rejects.toThrow();
  // Nobody answers on it: one after the other. While one answers, who was silent would be the last.
  await Promise.allSettled([line.exchange(ask("dead", "d2")), line.exchange(ask("new", "n1"))]);
  expect(asked).toEqual(["g1", "d1", "d2", "n1"]);
});
