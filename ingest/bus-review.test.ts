import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { connectBus } from "./bus.ts";
import { silent, until } from "./test-world.ts";

/** Types of MQTT 3.1.1 packets (2.2.1), in the top four bits of the first byte. */
const Packet = { connect: 1, publish: 3, subscribe: 8 } as const;

test("a subscription that the broker refuses is asked for again, and STATE is told once it is granted", async () => {
  let refusals = 2;
  const heard: string[] = [];
  const sockets = new Set<Socket>();
  // The client waits for each answer: one packet a chunk.
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      const type = (bytes[0] as number) >> 4;
      if (type === Packet.connect) socket.write(Buffer.from([0x20, 2, 0, 0]));
      if (type === Packet.publish) heard.push("STATE");
      if (type !== Packet.subscribe) return;
      const code = refusals > 0 ? 0x80 : 1;
      refusals -= 1;
      heard.push(code === 1 ? "granted" : "refused");
      socket.write(Buffer.from([0x90, 3, bytes[2] as number, bytes[3] as number, code]));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const bus = connectBus(
    { host: "127.0.0.1", port, username: "jilian", password: "x", hostId: "jilian" },
    Date.now,
    silent,
  );
  try {
    await bus.announce?.();
    await until(() => heard.includes("STATE"), "STATE");
    expect(heard).toEqual(["refused", "refused", "granted", "STATE"]);
    // This broker acknowledges nothing: the end does not wait for it.
    const from = performance.now();
    await bus.close();
    expect(performance.now() - from).toBeLessThan(3000);
  } finally {
    for (const socket of sockets) socket.destroy();
    await bus.close();
    server.close();
  }
});
