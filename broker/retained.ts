import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Aedes, AedesPublishPacket, Client } from "aedes";
import { clearLevel, emptyLevel, type Level, madeLevel } from "./levels.ts";

/** A retained message, and as which of all of them it came. */
type Kept = AedesPublishPacket & { readonly order: number };
type Topics = Level<Kept>;

function* all(level: Topics): Generator<Topics> {
  if (level.here) yield level;
  for (const next of level.below.values()) yield* all(next);
}

/** What a wildcard stands for: on the first level nothing that begins with `$` (MQTT 3.1.1, 4.7.2-1). */
function* any(level: Topics, at: number): Generator<Topics> {
  for (const [word, next] of level.below) if (at > 0 || !word.startsWith("$")) yield next;
}

function* matching(level: Topics, words: readonly string[], at: number): Generator<Topics> {
  const word = words[at];
  if (word === undefined) {
    if (level.here) yield level;
  } else if (word === "#") {
    // It stands for its parent too (4.7.1.2).
    if (level.here) yield level;
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
    /** Where something is retained for a filter. It looks for the next one when that is asked for; what stands there may change later. */
    matching: (filter: string): Generator<Readonly<Topics>> => matching(root, filter.split("/"), 0),
  };
}

/** How many places are looked for in one turn, where nobody waits for them: about a millisecond. */
const placesInTurn = 500;

/** The rest of an iterator, as long as it is of use. */
async function restOf<T>(places: Iterable<T>, isOfUse: () => boolean): Promise<T[]> {
  const rest: T[] = [];
  for (const place of places) {
    rest.push(place);
    if (rest.length % placesInTurn === 0) await nextTurn();
    if (!isOfUse()) break;
  }
  return rest;
}

/** What its types leave out of a client: its filters. */
const filtersOf = (client: Client) =>
  (client as unknown as { subscriptions: Readonly<Record<string, unknown>> }).subscriptions;

/**
 * Keeps retained messages in place of Aedes' own store, which goes through all of them for each filter: with five thousand births kept a
 * subscription took three milliseconds, and one piece of the network full of subscriptions held everyone up for seconds.
 *
 * Hands them out at the pace of who reads, too: each when the connection has taken those before it. Of all that a filter asks for, only
 * what fills a connection's buffer and one message more is in memory for its client, and the places of the others. A client has one filter
 * in hand at a time; the others wait by name, as long as the client has them. One that it asks for again while it waits comes once, in its
 * later place. What is kept after a client has asked is not handed out, however long the filter waits: it is told as it comes.
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
  /** Filters that wait, and how many messages had been kept when they were asked for. */
  const asked = new WeakMap<Client, Map<string, number>>();
  /** The same of what was asked for and has not been answered: from then on a client is told what comes. */
  const begun = new WeakMap<object, number>();
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

  async function handOutOne(client: Client, filter: string, last: number): Promise<void> {
    const isHeld = () => !client.closed && filter in filtersOf(client);
    const all = tree.matching(filter);
    let places: Iterator<Readonly<Topics>> = all;
    let passed = 0;
    for (let next = places.next(); !next.done && isHeld(); next = places.next()) {
      const kept = next.value.here;
      // What came later is told to the client as it comes.
      if (!kept || kept.order > last) {
        passed += 1;
        if (passed % placesInTurn === 0) await nextTurn();
        continue;
      }
      await send(client, kept);
      const draining = drainOf(client);
      if (!draining) continue;
      // An iterator of a map keeps every table that the map has outgrown: of what comes and goes while a client does not read, all.
      if (places === all) places = (await restOf(all, isHeld)).values();
      await draining;
    }
  }

  async function handOut(client: Client, filters: Map<string, number>): Promise<void> {
    // Each time from its beginning, for the same reason. One that is asked for again meanwhile comes to the end of the map.
    for (let [next] = filters; next && !client.closed; [next] = filters) {
      const [filter, last] = next;
      filters.delete(filter);
      await handOutOne(client, filter, last);
    }
    // In the turn in which the last was found: who asks later begins anew.
    asked.delete(client);
  }

  const authorize = aedes.authorizeSubscribe;
  aedes.authorizeSubscribe = (client, subscription, done) => {
    begun.set(subscription, tree.count());
    authorize(client, subscription, done);
  };
  aedes.on("subscribe", (subscriptions, client) => {
    const before = asked.get(client);
    const filters = before ?? new Map<string, number>();
    for (const subscription of subscriptions) {
      const { topic } = subscription;
      // Refused ones are in no list of the client's.
      if (!(topic in filtersOf(client))) continue;
      // Of two that are made soon after each other the second may be answered first.
      const last = Math.max(filters.get(topic) ?? 0, begun.get(subscription) ?? tree.count());
      filters.delete(topic);
      filters.set(topic, last);
    }
    if (before) return;
    asked.set(client, filters);
    handOut(client, filters).catch((thrown: unknown) => client.emit("error", thrown));
  });
  // Or who takes ever new ones and gives them up, reading too little to be handed out the first, would have all their names kept.
  aedes.on("unsubscribe", (filters, client) => {
    for (const filter of filters) asked.get(client)?.delete(filter);
  });
}
