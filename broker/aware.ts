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

type Kept = { owner: string; bytes: number; births: Map<string, number> };

/**
 * Keeps births for who subscribes later, as a Sparkplug aware server does (Sparkplug 3.0, 10.1.4: tck-id-conformance-mqtt-aware-store,
 * -nbirth-mqtt-topic, -nbirth-mqtt-retain, -dbirth-mqtt-topic, -dbirth-mqtt-retain): retained, under `$sparkplug/certificates/`. A node's NBIRTH begins a session: births of devices of the session
 * before are forgotten, whose aliases mean nothing any more. In memory, as all that is retained here.
 * When all of the room is taken, the births of the gateway that has most go first, of the enterprise that has most.
 * @param most bytes kept of one gateway and of all, now
 * @param ownerOf whose a factory is
 * @param onDropped told the node of a birth that had no room
 */
export function keepBirths(
  aedes: Aedes,
  most: () => { gatewayBytes: number; totalBytes: number },
  onDropped: (node: string) => void,
  ownerOf: (factory: string) => string,
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

  const forgetAll = (kept: Kept) => {
    for (const known of [...kept.births.keys()]) forget(kept, known);
  };

  /** Takes births of who has more than the one that needs room, until it has it. @returns whether it has */
  function makeRoom(bytes: number, { owner }: Kept, totalBytes: number): boolean {
    while (total + bytes > totalBytes) {
      const sums = new Map<string, number>([[owner, bytes]]);
      for (const one of nodes.values()) sums.set(one.owner, (sums.get(one.owner) ?? 0) + one.bytes);
      let largest = owner;
      for (const [name, sum] of sums) if (sum > (sums.get(largest) as number)) largest = name;
      if (largest === owner) return false;
      let node = "";
      for (const [key, one] of nodes)
        if (one.owner === largest && one.bytes > (nodes.get(node)?.bytes ?? 0)) node = key;
      forgetAll(nodes.get(node) as Kept);
      onDropped(node);
    }
    return true;
  }

  function keep({ group, type, node }: SparkplugTopic, topic: string, payload: Buffer): void {
    const key = `${group}/${node}`;
    const kept = nodes.get(key) ?? { owner: ownerOf(group), bytes: 0, births: new Map<string, number>() };
    nodes.set(key, kept);
    kept.owner = ownerOf(group);
    const place = certificatePrefix + topic;
    if (type === "NBIRTH") forgetAll(kept);
    else forget(kept, place);
    const bytes = payload.length + place.length + overheadBytes;
    const { gatewayBytes, totalBytes } = most();
    if (payload.length === 0 || kept.bytes + bytes > gatewayBytes || !makeRoom(bytes, kept, totalBytes)) {
      onDropped(key);
      return;
    }
    kept.births.set(place, bytes);
    kept.bytes += bytes;
    total += bytes;
    // A copy: a part of what was read would keep all of it.
    aedes.publish(
      { cmd: "publish", topic: place, payload: Buffer.from(payload), qos: 0, retain: true, dup: false },
      () => {},
    );
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
