import type { AedesPublishPacket } from "aedes";
import { clearLevel, emptyLevel, foundLevel, type Level, madeLevel } from "./levels.ts";

export type Listener = (packet: AedesPublishPacket, done: () => void) => void;

type Filters = Level<Listener[]>;
/** For how many topics it is known who listens; each costs some hundred bytes. */
const maxKnownTopics = 16_384;

/** The highest QoS that MQTT has: who has no owner is told a message as it came. */
const anyQos = 2;

/** What an owner was granted for one of its filters. */
type Grant = { readonly owner: object; qos: number };
/** One who hears a topic, and with which QoS at most. */
type Hearer = { listener: Listener; owner: object | undefined; qos: number };

function collect(level: Filters, words: readonly string[], at: number, found: Listener[]): void {
  const word = words[at];
  // On the first level a wildcard stands for nothing that begins with `$` (MQTT 3.1.1, 4.7.2-1).
  const isWildcardDue = at > 0 || !word?.startsWith("$");
  // `#` stands for its parent too (4.7.1.2).
  const rest = isWildcardDue ? level.below.get("#") : undefined;
  if (rest?.here) for (const listener of rest.here) found.push(listener);
  if (word === undefined) {
    if (level.here) for (const listener of level.here) found.push(listener);
    return;
  }
  const named = level.below.get(word);
  if (named) collect(named, words, at + 1, found);
  const any = isWildcardDue ? level.below.get("+") : undefined;
  if (any) collect(any, words, at + 1, found);
}

/** Filters and who listens to them. */
function filterTree() {
  const root: Filters = emptyLevel();
  return {
    add: (filter: string, listener: Listener): void => {
      const level = madeLevel(root, filter);
      level.here ??= [];
      level.here.push(listener);
    },
    remove: (filter: string, listener: Listener): void => {
      const listeners = foundLevel(root, filter)?.here ?? [];
      const at = listeners.indexOf(listener);
      if (at >= 0) listeners.splice(at, 1);
      if (listeners.length === 0) clearLevel(root, filter);
    },
    listeners: (topic: string): Listener[] => {
      const found: Listener[] = [];
      collect(root, topic.split("/"), 0, found);
      return found;
    },
  };
}

/** Of listeners of one owner one, with the highest QoS of its filters, which is what those that overlap come to (MQTT 3.1.1, 3.3.5-1). */
function onePerOwner(listeners: readonly Listener[], grants: WeakMap<Listener, Grant>): readonly Hearer[] {
  const kept = new Map<object, Hearer>();
  for (const listener of listeners) {
    const { owner, qos = anyQos } = grants.get(listener) ?? {};
    const before = kept.get(owner ?? listener);
    if (!before) kept.set(owner ?? listener, { listener, owner, qos });
    else if (before.qos < qos) before.qos = qos;
  }
  return [...kept.values()];
}

/** Calls what is due in a later turn, all of one turn together: a timer for each message costs as much as the message. */
function laterTogether(): (done: () => void) => void {
  let due: (() => void)[] = [];
  function run(): void {
    const now = due;
    due = [];
    let at = 0;
    try {
      for (; at < now.length; at += 1) (now[at] as () => void)();
    } finally {
      // One threw: those behind it are due all the same.
      if (at < now.length) for (const done of now.slice(at + 1)) later(done);
    }
  }
  function later(done: () => void): void {
    if (due.push(done) === 1) setImmediate(run);
  }
  return later;
}

/**
 * Aedes' emitter (option `mq`), in place of mqemitter: it remembers who listens to a topic, and completes in a later turn whatever its
 * listeners do. mqemitter passes to its next queued message within the release of the last one: when a stalled subscriber dies, its whole
 * backlog is released at once, and the stack overflows. Here nothing is queued. What waits is bounded all the same: Aedes reads no more of
 * a publisher until all that it has read of it is delivered.
 *
 * Who has many filters that overlap hears a message once. Aedes finds that out too, but after it has made a packet for each of them: a
 * hundred clients of another enterprise with two dozen such filters made each message cost a millisecond.
 */
export function createEmitter() {
  const tree = filterTree();
  const known = new Map<string, readonly Hearer[]>();
  const later = laterTogether();
  const grants = new WeakMap<Listener, Grant>();
  const grantsOf = new WeakMap<object, Map<string, Grant>>();
  let granting: Grant | undefined;
  let isClosed = false;

  function hearersOf(topic: string): readonly Hearer[] {
    const before = known.get(topic);
    if (before) return before;
    const found = onePerOwner(tree.listeners(topic), grants);
    if (known.size >= maxKnownTopics) known.clear();
    known.set(topic, found);
    return found;
  }

  /** What an owner is granted for a filter from now on, in place of what it was before. */
  function grantOf(owner: object, filter: string, qos: number): Grant {
    const own = grantsOf.get(owner) ?? new Map<string, Grant>();
    grantsOf.set(owner, own);
    const grant = own.get(filter) ?? { owner, qos };
    own.set(filter, grant);
    if (grant.qos !== qos) known.clear();
    grant.qos = qos;
    return grant;
  }
  return {
    /**
     * Whose a filter is, and the QoS granted for it: `run` adds its listener, or not where the owner has it already. Listeners without an
     * owner are each on their own.
     */
    ownedBy: (owner: object, granted: { topic: string; qos: number }, run: () => void): void => {
      granting = grantOf(owner, granted.topic, granted.qos);
      try {
        run();
      } finally {
        granting = undefined;
      }
    },
    /** The highest QoS of an owner's filters for a topic; undefined where it has none. */
    qosOf: (owner: object, topic: string): number | undefined =>
      hearersOf(topic).find((hearer) => hearer.owner === owner)?.qos,
    on: (filter: string, listener: Listener, done?: () => void): void => {
      if (granting) {
        grants.set(listener, granting);
        grantsOf.get(granting.owner)?.set(filter, granting);
      }
      tree.add(filter, listener);
      known.clear();
      if (done) setImmediate(done);
    },
    removeListener: (filter: string, listener: Listener, done?: () => void): void => {
      tree.remove(filter, listener);
      const owner = grants.get(listener)?.owner;
      if (owner) grantsOf.get(owner)?.delete(filter);
      known.clear();
      // At once: Aedes forgets the subscription here, and takes one that comes in the same piece of the network for one that it has.
      done?.();
    },
    emit: (packet: AedesPublishPacket, done: (error?: Error) => void = () => undefined): void => {
      if (isClosed) {
        done(new Error("the broker is closed"));
        return;
      }
      // Aedes numbers messages when they come and drops, for each client, what has a lower number than the one before: of two under way
      // the one that waited for the store of retained messages was lost. Nothing comes twice here; each listener numbers it anew.
      packet.brokerCounter = 0;
      const hearers = hearersOf(packet.topic);
      let left = hearers.length;
      if (left === 0) later(done);
      const heard = () => {
        left -= 1;
        if (left === 0) later(done);
      };
      for (const { listener, qos } of hearers)
        listener(qos < packet.qos ? { ...packet, qos: qos as 0 | 1 } : packet, heard);
    },
    close: (done: () => void): void => {
      isClosed = true;
      setImmediate(done);
    },
  };
}
