import { Readable } from "node:stream";
import type { Aedes, AedesPublishPacket, Client } from "aedes";
import { clearLevel, emptyLevel, type Level, madeLevel } from "./levels.ts";

/** A retained message, and as which of all of them it came. */
type Kept = AedesPublishPacket & { readonly order: number };
type Topics = Level<Kept>;

function* all(level: Topics): Generator<Kept> {
  if (level.here) yield level.here;
  for (const next of level.below.values()) yield* all(next);
}

/** What a wildcard stands for: on the first level nothing that begins with `$` (MQTT 3.1.1, 4.7.2-1). */
function* any(level: Topics, at: number): Generator<Topics> {
  for (const [word, next] of level.below) if (at > 0 || !word.startsWith("$")) yield next;
}

function* matching(level: Topics, words: readonly string[], at: number): Generator<Kept> {
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
  let order = 0;
  return {
    /** Keeps a message in place of the one before; without a payload it takes that away (3.3.1-10). */
    store: (packet: AedesPublishPacket): void => {
      if (packet.payload.length === 0) clearLevel(root, packet.topic);
      else madeLevel(root, packet.topic).here = { ...packet, order: ++order };
    },
    /** How many were kept until now: what has a greater order came later. */
    count: (): number => order,
    /** What is retained for a filter. It looks for the next one when that is asked for: what was replaced by then comes as it is then. */
    matching: (filter: string): Generator<Kept> => matching(root, filter.split("/"), 0),
  };
}

/** What its types leave out of a client: its filters. */
const filtersOf = (client: Client) =>
  (client as unknown as { subscriptions: Readonly<Record<string, unknown>> }).subscriptions;

/**
 * Keeps retained messages in place of Aedes' own store, which goes through all of them for each filter: with five thousand births kept a
 * subscription took three milliseconds, and one piece of the network full of subscriptions held everyone up for seconds.
 *
 * Hands them out at the pace of who reads, too: each when the connection has taken those before it. Of all that a filter asks for, only
 * what fills a connection's buffer and one message more is in memory for its client. A client has one filter in hand at a time; the others
 * wait by name. One that it asks for again while it waits comes once, after that.
 * @param qosOf the highest QoS of a client's filters for a topic
 * @param drainOf resolves when a client's connection takes more, or has ended; undefined where it takes more now
 */
export function retainByLevel(
  aedes: Aedes,
  {
    qosOf,
    drainOf,
  }: {
    qosOf: (client: Client, topic: string) => number | undefined;
    drainOf: (client: Client) => Promise<void> | undefined;
  },
): void {
  const tree = retainedTree();
  const asked = new WeakMap<Client, Set<string>>();
  // Its types leave this out.
  const { persistence } = aedes as unknown as { persistence: object };
  Object.assign(persistence, {
    storeRetained: async (packet: AedesPublishPacket) => tree.store(packet),
    createRetainedStreamCombi: () => Readable.from([]),
  });

  /** Resolves when the connection was given the message. */
  function send(client: Client, { topic, payload, qos }: Kept): Promise<void> {
    const most = qos === 0 ? 0 : (qosOf(client, topic) ?? 0);
    const message = {
      cmd: "publish",
      topic,
      payload,
      qos: Math.min(qos, most) as 0 | 1,
      retain: true,
      dup: false,
    } as const;
    return new Promise((resolve) => client.publish(message, () => resolve()));
  }

  async function handOut(client: Client, filters: Set<string>): Promise<void> {
    // One that is asked for again meanwhile comes to the end of the set.
    for (const filter of filters) {
      filters.delete(filter);
      const last = tree.count();
      for (const kept of tree.matching(filter)) {
        if (client.closed) return;
        if (!(filter in filtersOf(client))) break;
        // What came later is told to the client as it comes.
        if (kept.order > last) continue;
        await send(client, kept);
        await drainOf(client);
      }
    }
    // In the turn in which the last was found: who asks later begins anew.
    asked.delete(client);
  }

  aedes.on("subscribe", (subscriptions, client) => {
    const before = asked.get(client);
    const filters = before ?? new Set<string>();
    // Refused ones are in no list of the client's.
    for (const { topic } of subscriptions) if (topic in filtersOf(client)) filters.add(topic);
    if (before) return;
    asked.set(client, filters);
    handOut(client, filters).catch((thrown: unknown) => client.emit("error", thrown));
  });
}
