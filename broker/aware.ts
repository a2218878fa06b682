import { withTimestamp } from "@jilian/domain/sparkplug/timestamp.ts";
import { parseTopic, type SparkplugTopic } from "@jilian/domain/topics.ts";
import type { Aedes } from "aedes";
import { certificatePrefix } from "./access.ts";

/** What a kept message costs beside its payload and topic. */
const overheadBytes = 1024;

/**
 * An NDEATH with the time at which it goes out: a will's own was written when its client connected, days ago maybe. Of what cannot be
 * read nothing is changed.
 */
export function stampDeath(topic: string, payload: Buffer, nowMs: number): Buffer {
  // Asked for every message: most are told apart without taking the topic to pieces.
  if (!topic.includes("/NDEATH/") || parseTopic(topic)?.type !== "NDEATH") return payload;
  const stamped = withTimestamp(payload, nowMs);
  return stamped ? Buffer.from(stamped.buffer, stamped.byteOffset, stamped.byteLength) : payload;
}

type Kept = { bytes: number; births: Map<string, number> };

/**
 * Keeps births for who subscribes later, as a Sparkplug aware server does (Sparkplug 3.0, 10.1.4: tck-id-conformance-mqtt-aware-store,
 * -nbirth-mqtt-topic, -nbirth-mqtt-retain, -dbirth-mqtt-topic, -dbirth-mqtt-retain): retained, under `$sparkplug/certificates/`. A node's NBIRTH begins a session: births of devices of the session
 * before are forgotten, whose aliases mean nothing any more. In memory, as all that is retained here.
 * @param most bytes kept of one gateway and of all, now
 * @param onDropped told the node of a birth that had no room
 */
export function keepBirths(
  aedes: Aedes,
  most: () => { gatewayBytes: number; totalBytes: number },
  onDropped: (node: string) => void,
): { note: (topic: string, payload: Buffer) => void; bytes: () => number } {
  // Its types leave this out.
  const { persistence } = aedes as unknown as { persistence: { storeRetained: (packet: object) => Promise<void> } };
  const nodes = new Map<string, Kept>();
  let total = 0;

  function forget(kept: Kept, topic: string): void {
    const bytes = kept.births.get(topic);
    if (bytes === undefined) return;
    kept.births.delete(topic);
    kept.bytes -= bytes;
    total -= bytes;
    // Without a word to those who have subscribed: an empty message would be no birth.
    void persistence.storeRetained({ cmd: "publish", topic, payload: Buffer.alloc(0), qos: 0, retain: true });
  }

  function keep({ group, type, node }: SparkplugTopic, topic: string, payload: Buffer): void {
    const key = `${group}/${node}`;
    const kept = nodes.get(key) ?? { bytes: 0, births: new Map<string, number>() };
    nodes.set(key, kept);
    const place = certificatePrefix + topic;
    for (const known of type === "NBIRTH" ? [...kept.births.keys()] : [place]) forget(kept, known);
    const bytes = payload.length + place.length + overheadBytes;
    const { gatewayBytes, totalBytes } = most();
    if (payload.length === 0 || kept.bytes + bytes > gatewayBytes || total + bytes > totalBytes) {
      onDropped(key);
      return;
    }
    kept.births.set(place, bytes);
    kept.bytes += bytes;
    total += bytes;
    aedes.publish({ cmd: "publish", topic: place, payload, qos: 0, retain: true, dup: false }, () => {});
  }
  return {
    note: (topic, payload) => {
      if (!topic.includes("BIRTH/")) return;
      const parsed = parseTopic(topic);
      if (parsed?.type === "NBIRTH" || parsed?.type === "DBIRTH") keep(parsed, topic, payload);
    },
    bytes: () => total,
  };
}
