/** A relay between MQTT clients and their broker that writes down every packet, and does to the way what networks do. */
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { type Frame, frameReader, publishPacket } from "../faults/mqtt-frames.ts";
import { type Entry, isPublish, type Packet, type Publish, type Who } from "./capture.ts";
import { packetOf } from "./wire.ts";

/** What becomes of a packet on its way. */
type Fate = "pass" | "drop" | "hold";

export type Recorder = {
  readonly port: number;
  /** Ends every connection without a word, as a lost network does. */
  readonly cut: () => void;
  /** Nobody answers at the port any more, or somebody does again. */
  readonly refuse: (refuses: boolean) => Promise<void>;
  /** The next message of a client that fits never reaches the broker. */
  readonly loseNext: (fits: (packet: Publish) => boolean) => Promise<Publish>;
  /** The next message of a client that fits reaches the broker after the one that follows it. */
  readonly swapNext: (fits: (packet: Publish) => boolean) => Promise<Publish>;
  /** Gives the connected client a message that no broker sent; QoS 0. */
  readonly inject: (topic: string, payload: Uint8Array) => void;
  readonly close: () => Promise<void>;
};

type Pair = { near: Socket; far: Socket; note: (from: "client" | "server", frame: Frame) => Packet | undefined };

/**
 * @param log takes what is seen, of all recorders of a scenario in one order
 * @param onEntry told of each entry, after it is in the log
 */
export async function startRecorder(
  who: Who,
  brokerPort: number,
  log: Entry[],
  onEntry: () => void,
): Promise<Recorder> {
  const pairs = new Set<Pair>();
  let count = 0;
  let awaited: { fits: (packet: Publish) => boolean; fate: Fate; met: (packet: Publish) => void } | undefined;
  let held: Buffer | undefined;

  function noter(link: string): Pair["note"] {
    return (from, frame) => {
      const body = packetOf(frame);
      if (!body) return undefined;
      const packet = { at: Date.now(), who, link, from, ...body } as Packet;
      log.push(packet);
      onEntry();
      return packet;
    };
  }

  function fateOf(packet: Packet | undefined): Fate {
    if (!awaited || !packet || !isPublish(packet) || !awaited.fits(packet)) return "pass";
    const { fate, met } = awaited;
    awaited = undefined;
    met(packet);
    return fate;
  }

  function forward(far: Socket, packet: Packet | undefined, bytes: Buffer): void {
    const fate = fateOf(packet);
    if (fate === "hold") held = bytes;
    if (fate !== "pass") return;
    far.write(bytes);
    if (held && packet && isPublish(packet)) {
      far.write(held);
      held = undefined;
    }
  }

  function join(near: Socket): void {
    count += 1;
    const link = `${who} ${count}`;
    const far = createConnection(brokerPort, "127.0.0.1");
    const pair: Pair = { near, far, note: noter(link) };
    pairs.add(pair);
    near.on(
      "data",
      frameReader((frame) => forward(far, pair.note("client", frame), frame.bytes)),
    );
    far.on(
      "data",
      frameReader((frame) => {
        pair.note("server", frame);
        near.write(frame.bytes);
      }),
    );
    const over = (from: "client" | "server", other: Socket): void => {
      if (pairs.delete(pair)) {
        log.push({ at: Date.now(), who, link, from, kind: "end" });
        onEntry();
      }
      // What was written before it, a DISCONNECT above all, still goes out.
      other.end();
    };
    near
      .on("error", () => far.destroy())
      .on("end", () => over("client", far))
      .on("close", () => over("client", far));
    far
      .on("error", () => near.destroy())
      .on("end", () => over("server", near))
      .on("close", () => over("server", near));
  }

  const server = createServer(join);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const cut = (): void => {
    for (const { near, far } of pairs) {
      near.destroy();
      far.destroy();
    }
  };
  const next = (fate: Fate) => (fits: (packet: Publish) => boolean) =>
    new Promise<Publish>((met) => {
      awaited = { fits, fate, met };
    });
  return {
    port,
    cut,
    refuse: async (refuses) => {
      if (refuses) server.close();
      else await once(server.listen(port, "127.0.0.1"), "listening");
    },
    loseNext: next("drop"),
    swapNext: next("hold"),
    inject: (topic, payload) => {
      const bytes = publishPacket(topic, payload);
      const read = frameReader((frame) => {
        for (const { near, note } of pairs) {
          note("server", frame);
          near.write(frame.bytes);
        }
      });
      read(bytes);
    },
    close: async () => {
      cut();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}
