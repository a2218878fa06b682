import { Readable } from "node:stream";
import type { Aedes, AedesPublishPacket, Client } from "aedes";
import { clearLevel, emptyLevel, foundLevel, type Level, madeLevel } from "./levels.ts";

type Topics = Level<AedesPublishPacket>;

function* all(level: Topics): Generator<AedesPublishPacket> {
  if (level.here) yield level.here;
  for (const next of level.below.values()) yield* all(next);
}

/** What a wildcard stands for: on the first level nothing that begins with `$` (MQTT 3.1.1, 4.7.2-1). */
function* any(level: Topics, at: number): Generator<Topics> {
  for (const [word, next] of level.below) if (at > 0 || !word.startsWith("$")) yield next;
}

function* matching(level: Topics, words: readonly string[], at: number): Generator<AedesPublishPacket> {
  const word = words[at];
  if (word === undefined) {
    if (level.here) yield level.here;
  } else if (word === "#") {
    // It stands for its parent too (4.7.1.2).
    if (level.here) yield level.here;
    for (const next of any(level, at)) yield* all(next);
  } else if (word === "+") {
    for (const next of any(level, at)) yield* matching(next, words, at + 1);
  } else {
    const next = level.below.get(word);
    if (next) yield* matching(next, words, at + 1);
  }
}

/** Retained messages by the levels of their topics. */
export function retainedTree() {
  const root: Topics = emptyLevel();
  return {
    /** Keeps a message in place of the one before; without a payload it takes that away (3.3.1-10). */
    store: (packet: AedesPublishPacket): void => {
      if (packet.payload.length === 0) clearLevel(root, packet.topic);
      else madeLevel(root, packet.topic).here = { ...packet };
    },
    /** Whether a message is what is retained of its topic now. */
    has: ({ topic, payload }: Pick<AedesPublishPacket, "topic" | "payload">): boolean =>
      foundLevel(root, topic)?.here?.payload === payload,
    /** What is retained for filters, for each of them. */
    matching: function* (filters: readonly string[]): Generator<AedesPublishPacket> {
      for (const filter of filters) yield* matching(root, filter.split("/"), 0);
    },
  };
}

/**
 * Keeps retained messages in place of Aedes' own store, which goes through all of them for each filter: with five thousand births kept a
 * subscription took three milliseconds, and one piece of the network full of subscriptions held everyone up for seconds.
 */
export function retainByLevel(aedes: Aedes): void {
  const tree = retainedTree();
  // Its types leave this out.
  const { persistence } = aedes as unknown as { persistence: object };
  Object.assign(persistence, {
    storeRetained: async (packet: AedesPublishPacket) => tree.store(packet),
    createRetainedStreamCombi: (filters: readonly string[]) => Readable.from(tree.matching(filters)),
  });
  const forward = aedes.authorizeForward;
  /**
   * Whether what Aedes took from the stream goes out: not what was replaced or forgotten since then, which would come after what was told
   * at once, and nothing to who has gone, each of which Aedes takes for an error of the client. It marks these messages by no broker.
   */
  const isDue = (client: Client, packet: AedesPublishPacket): boolean =>
    packet.brokerId !== null || !packet.retain || (!client.closed && tree.has(packet));
  aedes.authorizeForward = (client, packet) => (isDue(client, packet) ? forward(client, packet) : null);
}
