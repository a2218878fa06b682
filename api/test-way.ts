import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A way to a server that can be made to carry nothing while its connections stay. */
export type Way = {
  readonly port: number;
  readonly freeze: () => void;
  readonly thaw: () => void;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export async function openWay(toPort: number): Promise<Way> {
  const sockets = new Set<Socket>();
  let frozen = false;
  const carry = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.on("data", (bytes) => to.write(bytes));
    from.on("error", () => undefined);
    from.on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
    if (frozen) from.pause();
  };
  const server = createServer((client) => {
    const there = connect(toPort, "127.0.0.1");
    carry(client, there);
    carry(there, client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    freeze: () => {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    thaw: () => {
      frozen = false;
      for (const socket of sockets) socket.resume();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
