import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { fastify } from "fastify";
import { describe, expect, it } from "vitest";
import { eventText, openEventStream } from "./event-stream.ts";
import { createStats } from "./stats.ts";

describe("a stream of events", () => {
  it("writes fields in the form that EventSource reads", () => {
    expect(eventText({ id: 7, event: "change", data: '{"a":1}' })).toBe('id: 7\nevent: change\ndata: {"a":1}\n\n');
    expect(eventText({ id: 7 })).toBe("id: 7\n\n");
  });

  it("ends when its client does not read, holding no more than one text, and is counted", async () => {
    const app = fastify();
    const stats = createStats();
    const ended = new AbortController().signal;
    let sent = 0;
    const done = Promise.withResolvers<void>();
    app.get("/", async (request, reply) => {
      const stream = openEventStream(request, reply, { stats, ended, stallAfterMs: 200 });
      const text = "x".repeat(1_000_000);
      const send = async () => {
        for (; !stream.signal.aborted && sent < 1000; sent += 1) await stream.send(text);
      };
      send().finally(() => done.resolve());
      return reply;
    });
    await app.listen({ port: 0, host: "127.0.0.1" });
    const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await done.promise;
    // The kernel's own buffers take some; a server that did not wait would have made a thousand.
    expect(sent).toBeLessThan(30);
    expect(stats.read().counts.stalledStreams).toBe(1);
    socket.resume();
    await once(socket, "close");
    await app.close();
  });
});
