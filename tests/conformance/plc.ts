/** A Modbus TCP server of a few holding registers, for the scenario. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

export type Plc = {
  readonly port: number;
  readonly set: (address: number, value: number) => void;
  /** Takes no connection any more and ends those there are; or is back. */
  readonly off: (isOff: boolean) => Promise<void>;
  readonly close: () => Promise<void>;
};

export async function startPlc(registers: Map<number, number>): Promise<Plc> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
    // A request of a master that waits for each answer comes whole: MBAP header, function, address, count.
    socket.on("data", (request) => {
      const unit = request[6] as number;
      if (request[7] !== 3) {
        socket.write(Buffer.from([...request.subarray(0, 4), 0, 3, unit, (request[7] as number) | 0x80, 1]));
        return;
      }
      const [address, count] = [request.readUInt16BE(8), request.readUInt16BE(10)];
      const answer = Buffer.alloc(9 + 2 * count);
      request.copy(answer, 0, 0, 4);
      answer.writeUInt16BE(3 + 2 * count, 4);
      answer.set([unit, 3, 2 * count], 6);
      for (let i = 0; i < count; i += 1) answer.writeUInt16BE(registers.get(address + i) ?? 0, 9 + 2 * i);
      socket.write(answer);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : undefined;
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    port,
    set: (address, value) => void registers.set(address, value),
    off: async (isOff) => {
      if (isOff) await stop();
      else await once(server.listen(port, "127.0.0.1"), "listening");
    },
    close: stop,
  };
}
