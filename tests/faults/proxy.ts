import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { type Frame, frameReader } from "./mqtt-frames.ts";

/** Decides about one packet: what is sent on, how often and when is up to it. */
export type Rule = (frame: Frame, send: (bytes: Buffer) => void) => void;

export type FaultProxy = {
  readonly port: number;
  /** Rules for packets toward the broker (up) and toward the gateway (down) from now on; without any they pass. */
  readonly rules: (rules: { up?: Rule; down?: Rule }) => void;
  /** Refuses new connections while true. */
  readonly refuse: (wanted: boolean) => void;
  /** Resets every connection on both sides. */
  readonly reset: () => void;
  /** Nothing passes any more on the connections of now, whose ends are not told: what a NAT that forgets them does. */
  readonly blackHole: () => void;
  /** Resets the gateway's side alone; the broker's stays open, without a word, until the end or the broker's. */
  readonly abandon: () => void;
  /** Sends bytes to the gateway on every connection that lives. */
  readonly inject: (bytes: Buffer) => void;
  /** Connections that were made since the start. */
  readonly connections: () => number;
  /** Connections that were refused since the start. */
  readonly refused: () => number;
  readonly close: () => Promise<void>;
};

type Pair = { near: Socket; far: Socket; deaf: boolean };

const pass: Rule = ({ bytes }, send) => send(bytes);

/** A TCP proxy between a gateway and its broker that does to connections what networks do, and to MQTT packets what it is told. */
export async function startFaultProxy(brokerPort: number): Promise<FaultProxy> {
  const pairs = new Set<Pair>();
  let up: Rule = pass;
  let down: Rule = pass;
  let refusing = false;
  let made = 0;
  let refused = 0;

  function join(from: Socket, to: Socket, pair: Pair, rule: () => Rule): void {
    const send = (bytes: Buffer) => {
      if (!pair.deaf && to.writable) to.write(bytes);
    };
    const read = frameReader((frame) => rule()(frame, send));
    from.on("data", (chunk: Buffer) => {
      if (!pair.deaf) read(chunk);
    });
    // Either side's end is the other's, unless nothing passes any more.
    from.on("close", () => {
      if (!pair.deaf) to.destroy();
      if (pair.near.destroyed && pair.far.destroyed) pairs.delete(pair);
    });
    from.on("error", () => from.destroy());
  }

  const server = createServer((near) => {
    if (refusing) {
      refused += 1;
      near.resetAndDestroy();
      return;
    }
    made += 1;
    const far = createConnection(brokerPort, "127.0.0.1");
    near.setNoDelay(true);
    far.setNoDelay(true);
    const pair: Pair = { near, far, deaf: false };
    pairs.add(pair);
    join(near, far, pair, () => up);
    join(far, near, pair, () => down);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const reset = (): void => {
    for (const { near, far } of pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    rules: (rules) => {
      up = rules.up ?? pass;
      down = rules.down ?? pass;
    },
    refuse: (wanted) => {
      refusing = wanted;
    },
    reset,
    blackHole: () => {
      for (const pair of pairs) pair.deaf = true;
    },
    abandon: () => {
      for (const pair of pairs) {
        pair.deaf = true;
        pair.near.resetAndDestroy();
      }
    },
    inject: (bytes) => {
      for (const { near, deaf } of pairs) if (!deaf && near.writable) near.write(bytes);
    },
    connections: () => made,
    refused: () => refused,
    close: async () => {
      reset();
      server.close();
      await once(server, "close");
    },
  };
}
