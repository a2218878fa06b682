import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";
import { type CommitNotice, decodeHeader, encodeNotice, type RecordHeader } from "@jilian/domain/commit.ts";
import { DataType, type Value } from "@jilian/domain/datatypes.ts";
import type { Range } from "@jilian/domain/range-set.ts";
import { decodePayload, encodePayload, type InPayload, readValue } from "@jilian/domain/sparkplug/payload.ts";
import { commitMetric, parseTopic, rebirthMetric, type SparkplugTopic } from "@jilian/domain/topics.ts";
import { Aedes } from "aedes";

/** For tests: a real broker and, listening inside it, a Sparkplug host application that decodes all by the births alone. */

export type Seen = SparkplugTopic & {
  payload: InPayload;
  bytes: Uint8Array;
  qos: number;
  retain: boolean;
  /** Id of our outbox record, for DDATA. */
  header: RecordHeader | undefined;
  /** Values by metric name, resolved by the births seen so far. */
  values: Record<string, Value>;
  /** When it came, by performance.now(). */
  atMs: number;
};

export type Host = Awaited<ReturnType<typeof startHost>>;

export async function startHost(port = 0) {
  const broker = await Aedes.createBroker({ concurrency: 1000 });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    broker.handle(socket);
  });
  const seen: Seen[] = [];
  /** Names and datatypes by device and alias, or by name for metrics of the node. */
  const born = new Map<string, { name: string; datatype: number }>();
  const waiting = new Set<() => void>();
  const listeners = new Set<(seen: Seen) => void>();

  broker.on("publish", (packet, client) => {
    const topic = parseTopic(packet.topic);
    const isCommand = topic?.type === "NCMD" || topic?.type === "DCMD";
    // A will is published by the broker itself: it has no client.
    if (!topic || isCommand || (!client && topic.type !== "NDEATH")) return;
    const bytes = Uint8Array.from(packet.payload as Buffer);
    const payload = decodePayload(bytes);
    const values: Record<string, Value> = {};
    for (const metric of payload.metrics) {
      const key = `${topic.device ?? ""}/${metric.alias ?? metric.name}`;
      if (metric.name !== undefined && metric.datatype !== undefined)
        born.set(key, { name: metric.name, datatype: metric.datatype });
      const known = born.get(key);
      values[known?.name ?? `unknown ${key}`] = known ? readValue(metric, known.datatype) : null;
    }
    const header = payload.body && decodeHeader(payload.body);
    const atMs = performance.now();
    const message = { ...topic, payload, bytes, qos: packet.qos, retain: packet.retain, header, values, atMs };
    seen.push(message);
    for (const listen of listeners) listen(message);
    for (const check of waiting) check();
  });

  server.listen(port, "127.0.0.1");
  await once(server, "listening");

  function publish(topic: string, payload: Uint8Array | string, retain = false): Promise<void> {
    return new Promise((resolve, reject) => {
      const packet = {
        cmd: "publish" as const,
        dup: false,
        qos: 1 as const,
        retain,
        topic,
        payload: Buffer.from(payload),
      };
      broker.publish(packet, (error) => (error ? reject(error) : resolve()));
    });
  }

  function command(name: string, datatype: number, value: Exclude<Value, null>, address = "factory-1/NCMD/gateway-1") {
    const metrics = [{ name, timestampMs: 1, datatype, declare: true, value }];
    return publish(`spBv1.0/${address}`, encodePayload({ timestampMs: 1, metrics }));
  }

  return {
    broker,
    seen,
    port: (server.address() as AddressInfo).port,
    publish,
    command,
    rebirth: () => command(rebirthMetric, DataType.Boolean, true),
    commit: (epoch: string, ranges: Range[], told: Partial<CommitNotice> = {}) =>
      command(commitMetric, DataType.String, encodeNotice({ epoch, ranges, atMs: 1, ...told })),
    /** Tells of every message from now on, before it is looked for by `until`. */
    listen: (to: (seen: Seen) => void): void => void listeners.add(to),
    ofType: (type: Seen["type"], device?: string) =>
      seen.filter((s) => s.type === type && (device === undefined || s.device === device)),
    /** Waits until a condition holds, checked with every message; it gives the value it was waiting for. */
    until: <T>(what: string, find: () => T | undefined | false, boundMs = 8000): Promise<T> =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(check);
          reject(
            new Error(`not within ${boundMs} ms: ${what}; seen: ${seen.map((s) => `${s.type} ${s.device ?? ""}`)}`),
          );
        }, boundMs);
        function check(): void {
          const found = find();
          if (found === undefined || found === false) return;
          clearTimeout(timer);
          waiting.delete(check);
          resolve(found);
        }
        waiting.add(check);
        check();
      }),
    /** Cuts every connection without a word. */
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: async (): Promise<void> => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await new Promise<void>((resolve) => broker.close(() => resolve()));
    },
  };
}

/** A TCP relay that can stop taking data, as a slow or dead network does. */
export async function startRelay(targetPort: number) {
  const sockets: Socket[] = [];
  let stalled = false;
  const server: Server = createServer((near) => {
    const far = createConnection(targetPort, "127.0.0.1");
    sockets.push(near, far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
    if (stalled) near.pause();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    stall: () => {
      stalled = true;
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    resume: () => {
      stalled = false;
      for (let i = 0; i < sockets.length; i += 2) {
        const [near, far] = [sockets[i], sockets[i + 1]];
        if (!near || !far) continue;
        near.pipe(far);
        far.pipe(near);
      }
    },
    close: async (): Promise<void> => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
