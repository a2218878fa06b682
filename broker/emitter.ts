import type { AedesPublishPacket } from "aedes";
import { clearLevel, emptyLevel, foundLevel, type Level, madeLevel } from "./levels.ts";

export type Listener = (packet: AedesPublishPacket, done: () => void) => void;

type Filters = Level<Listener[]>;
/** For how many topics it is known who listens; each costs some hundred bytes. */
const maxKnownTopics = 16_384;

/** Whose a listener is, and the QoS of its filter. */
type Owned = { owner: object; qos: number };

function collect(level: Filters, words: readonly string[], at: number, found: Listener[]): void {
  // `#` stands for its parent too (MQTT 3.1.1, 4.7.1.2).
  const rest = level.below.get("#");
  if (rest?.here) for (const listener of rest.here) found.push(listener);
  const word = words[at];
  if (word === undefined) {
    if (level.here) for (const listener of level.here) found.push(listener);
    return;
  }
  const named = level.below.get(word);
  if (named) collect(named, words, at + 1, found);
  const any = level.below.get("+");
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

/** Of listeners of one owner the one with the highest QoS, which is what its filters that overlap come to (MQTT 3.1.1, 3.3.5). */
function onePerOwner(listeners: readonly Listener[], owned: WeakMap<Listener, Owned>): readonly Listener[] {
  const kept = new Map<object, Listener>();
  const qosOf = (listener: Listener) => owned.get(listener)?.qos ?? 0;
  for (const listener of listeners) {
    const key = owned.get(listener)?.owner ?? listener;
    const before = kept.get(key);
    if (!before || qosOf(before) < qosOf(listener)) kept.set(key, listener);
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
  const known = new Map<string, readonly Listener[]>();
  const later = laterTogether();
  const owned = new WeakMap<Listener, Owned>();
  let owning: Owned | undefined;
  let isClosed = false;

  function listenersOf(topic: string): readonly Listener[] {
    const before = known.get(topic);
    if (before) return before;
    const found = onePerOwner(tree.listeners(topic), owned);
    if (known.size >= maxKnownTopics) known.clear();
    known.set(topic, found);
    return found;
  }
  return {
    /** Whose the listeners are that `run` adds before it returns; without an owner each is on its own. */
    ownedBy: (owner: object, qos: number, run: () => void): void => {
      owning = { owner, qos };
      try {
        run();
      } finally {
        owning = undefined;
      }
    },
    on: (filter: string, listener: Listener, done?: () => void): void => {
      if (owning) owned.set(listener, owning);
      tree.add(filter, listener);
      known.clear();
      if (done) setImmediate(done);
    },
    removeListener: (filter: string, listener: Listener, done?: () => void): void => {
      tree.remove(filter, listener);
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
      const listeners = listenersOf(packet.topic);
      let left = listeners.length;
      if (left === 0) later(done);
      const heard = () => {
        left -= 1;
        if (left === 0) later(done);
      };
      for (const listener of listeners) listener(packet, heard);
    },
    close: (done: () => void): void => {
      isClosed = true;
      setImmediate(done);
    },
  };
}
