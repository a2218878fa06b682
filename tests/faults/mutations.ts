/**
 * Ways to break the product, one for each guarantee, with the rows of the matrix that must turn red. A mutation is made of edits: a
 * snippet that stands exactly once in a source file, and what comes in its place (mutate-hook.ts).
 */
export type Edit = { readonly file: string; readonly find: string; readonly put: string };

export type Mutation = {
  readonly name: string;
  /** The guarantee that it breaks, in words. */
  readonly breaks: string;
  readonly edits: readonly Edit[];
  /** Faults that must show it. */
  readonly reddens: readonly string[];
  /** How they do: samples lost, samples stored twice, or what is said to be wrong. Another redness proves nothing. */
  readonly shows: "lost" | "twice" | RegExp;
};

const edit = (file: string, find: string, put: string): Edit => ({ file, find, put });

/** The store keeps every row that comes. */
const withoutKey = edit(
  "store/duckdb/write.ts",
  "if (late.length === 0) return { kept, duplicates: 0, conflicts: 0 };",
  "return { kept: Array.from({ length: batch.length }, (_, i) => i), duplicates: 0, conflicts: 0 };",
);

/** Every data message is stored as new, whatever is known of its record; the store keeps every row that comes. */
const storedAgain = [
  edit("ingest/receive.ts", 'const claim = record ? book.claim(group, node, record) : "new";', 'const claim = "new";'),
  withoutKey,
];

export const mutations: readonly Mutation[] = [
  {
    name: "commit before store",
    breaks: "a notice goes out only after the store has confirmed",
    edits: [
      edit(
        "ingest/write.ts",
        "const outcome = await telemetry.write(batch);",
        `book.stored(batch.commits);
         for (const { topic, payload } of book.notices(parts.clock.now()))
           parts.bus.publish(topic, payload, { qos: 0, retain: false }).catch(() => undefined);
         await pause(500, new AbortController().signal);
         const outcome = await telemetry.write(batch);`,
      ),
    ],
    reddens: ["ingest killed"],
    shows: "lost",
  },
  {
    name: "cumulative watermark",
    breaks: "a notice names ranges of offsets, not all up to one",
    edits: [
      edit(
        "ingest/commit-book.ts",
        "const value = encodeNotice({ epoch, atMs, ...each,",
        "const upTo = each.ranges.slice(-1).map(([, to]) => [0, to] as const);\n" +
          "const value = encodeNotice({ epoch, atMs, ...each, ranges: upTo, writtenAtMs: undefined,",
      ),
    ],
    reddens: ["half-open TCP"],
    shows: "lost",
  },
  {
    name: "reused offsets",
    breaks:
      "a record's id is never given to other content: a new epoch at every start, and a stored offset is no proof",
    edits: [
      edit("gateway/outbox-state.ts", 'randomBytes(8).toString("hex")', '"0123456789abcdef"'),
      edit("gateway/outbox.ts", "tables.dropEpochsExcept(state.epochNames());", "tables.dropEpochsExcept([]);"),
      edit("ingest/commit-book.ts", "if (known === writtenAtMs) {", "if (epoch.stored.has(offset)) {"),
      // The second line: a gateway that hears of offsets which it has not sent takes another epoch.
      edit("gateway/edge-commit.ts", "isSetBack(notice) ||", "isSetBack({ ...notice, last: undefined }) ||"),
    ],
    reddens: ["gateway killed"],
    shows: "lost",
  },
  {
    name: "publish without write",
    breaks: "a record is on disk before it goes out",
    edits: [
      edit(
        "gateway/outbox-write.ts",
        "tables.insert({ position, device: device.id, writtenAtMs, samples: samples.length, bytes });",
        "",
      ),
    ],
    reddens: ["half-open TCP"],
    shows: "lost",
  },
  {
    name: "freed on publish",
    breaks: "a record is freed by its commit, not by being sent",
    edits: [
      edit(
        "gateway/sender.ts",
        "const bytes = transport?.send(record) ?? 0;",
        "const bytes = transport?.send(record) ?? 0; if (bytes > 0) outbox.commit(epoch, [[offset, offset]]);",
      ),
    ],
    reddens: ["half-open TCP"],
    shows: "lost",
  },
  {
    name: "backlog never sent",
    breaks: "what could not go out live goes later",
    edits: [edit("gateway/sender.ts", "    sendBacklog(nowMs);", "")],
    reddens: ["network cut"],
    shows: "lost",
  },
  {
    name: "no fsync",
    breaks: "a power cut costs at most the last outbox.fsyncMs",
    edits: [
      edit("gateway/outbox-sync.ts", "await syncData(descriptor);", ""),
      // Nor those that SQLite makes of itself whenever it has copied its log into the database, which save what came before.
      edit("gateway/outbox-file.ts", "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = OFF"),
      edit("gateway/outbox-store.ts", "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = OFF"),
    ],
    reddens: ["power cut"],
    shows: "lost",
  },
  {
    name: "drops not counted",
    breaks: "every drop is counted and told",
    edits: [
      edit("gateway/outbox-box.ts", "state.counts.dropped(reason, samples, count, state.isKnown);", ""),
      // Else nothing is dropped in so short a time.
      edit("gateway/outbox-write.ts", "const heldBytes = 1024 * 1024;", "const heldBytes = 0;"),
    ],
    reddens: ["files of the gateway may not grow (RLIMIT_FSIZE)"],
    shows: "lost",
  },
  {
    name: "store without key",
    breaks: "a sample is stored once, however often it comes",
    edits: storedAgain,
    reddens: ["publishes duplicated and reordered"],
    shows: "twice",
  },
  {
    name: "again taken for new",
    breaks: "a record that is stored again, because ingest knows of its offset alone, leaves no second sample",
    edits: [withoutKey],
    reddens: ["ingest killed, its last notices lost"],
    shows: "twice",
  },
  {
    name: "notices not repeated",
    breaks: "a stored record that comes again is answered by another notice",
    edits: [
      edit("ingest/commit-book.ts", 'owe(epoch, offset, writtenAtMs);\n      return "repeat";', 'return "repeat";'),
    ],
    reddens: ["commit notices lost"],
    shows: /were split/,
  },
  {
    name: "set-back not told",
    breaks: "a gateway that was set back while it ran is told, and shown",
    edits: [
      edit(
        "ingest/commit-book.ts",
        "if ((known ?? refusedAtMs ?? writtenAtMs) !== writtenAtMs) setBack(group, node, name);",
        "",
      ),
      edit(
        "ingest/commit-book.ts",
        "if (underWay !== undefined) {\n      setBack(group, node, name);",
        "if (underWay !== undefined) {",
      ),
      edit("ingest/write.ts", "book.setBack(only.group, only.node, only.epoch);", ""),
      // Nor does it see by the notices of other times that its numbers are another's.
      edit("gateway/edge-commit.ts", "isSetBack(notice) || isOther(notice);", "isSetBack(notice);"),
    ],
    reddens: ["offsets used again by a machine reverted while it ran"],
    shows: /GATEWAY_SET_BACK/,
  },
  {
    name: "restored image not noticed",
    breaks: "a gateway whose outbox is an earlier image of itself is shown",
    edits: [edit("ingest/node-watch.ts", "else if (image)", "else if (false)")],
    reddens: ["outbox set back to an earlier copy"],
    shows: /GATEWAY_RESTORED/,
  },
  {
    name: "poison never set aside",
    breaks: "what the store can never take is set aside",
    edits: [
      edit("gateway/edge-commit.ts", "else if (outbox.setAside(", "else if (samples.length < 0 && outbox.setAside("),
      // The second line: a platform that does not tell what its store refuses.
      edit("gateway/sender-trials.ts", "const setAsideAt = 8;", "const setAsideAt = Number.POSITIVE_INFINITY;"),
    ],
    reddens: ["poison: a sample that the store refuses, set aside and replayed"],
    shows: /was not set aside/,
  },
  {
    name: "refused samples freed",
    breaks: "what the store refuses is kept until a person replays it",
    edits: [edit("gateway/outbox-asides.ts", "tables.setAside({ ...kept, ...id, device, reason });", "")],
    reddens: ["poison: a metric that the store refuses for a while, set aside and replayed"],
    shows: "lost",
  },
  {
    name: "notices believed",
    breaks: "a notice frees only what this process has sent",
    edits: [
      edit(
        "gateway/edge-commit.ts",
        "const { sent, isAll } = sender.sent.within(epoch, ranges);",
        "const { sent, isAll } = { sent: ranges, isAll: true };",
      ),
    ],
    reddens: ["commit notices forged"],
    shows: "lost",
  },
  {
    name: "clock believed",
    breaks: "source times of a device strictly increase",
    edits: [
      edit(
        "gateway/shape.ts",
        "return { timeMs: nowMs > lastPollMs ? nowMs : lastPollMs + 1, certain };",
        "return { timeMs: nowMs, certain };",
      ),
      edit(
        "gateway/shape.ts",
        "if (sourceTimeMs === undefined) return Math.max(poll.timeMs, lastMs + 1);",
        "if (sourceTimeMs === undefined) return poll.timeMs;",
      ),
    ],
    reddens: ["clock jumps forward and back"],
    shows: /out of order/,
  },
  {
    name: "seq after the queue",
    breaks: "sequence numbers are followed before data is shed",
    edits: [
      edit(
        "ingest/receive.ts",
        "if (session.alive) watchSeq(session, payload.seq);",
        "if (session.alive && queue.samples() < 900) watchSeq(session, payload.seq);",
      ),
    ],
    reddens: ["slow store"],
    shows: /births were asked for/,
  },
  {
    name: "births shed",
    breaks: "births are handled before the queue and never shed",
    edits: [
      edit(
        "ingest/receive.ts",
        'if (topic.type.endsWith("BIRTH")) birth(session, topic, payload);',
        'if (topic.type.endsWith("BIRTH")) { if (queue.samples() < 900) birth(session, topic, payload); }',
      ),
    ],
    reddens: ["slow store"],
    shows: /births were asked for/,
  },
];

export function mutationOf(name: string): Mutation {
  const found = mutations.find((mutation) => mutation.name === name);
  if (!found)
    throw new RangeError(`no mutation is called "${name}"; there are: ${mutations.map((m) => m.name).join(", ")}`);
  return found;
}

/** The source with every edit made. @throws RangeError when a snippet does not stand in it exactly once */
export function mutated(source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, { file, find, put }) => {
    const times = text.split(find).length - 1;
    if (times !== 1)
      throw new RangeError(`the snippet of a mutation stands ${times} times in ${file}, not once: ${find}`);
    return text.replace(find, () => put);
  }, source);
}

/** Environment of processes that shall be broken so. */
export function mutationEnv(name: string): Record<string, string> {
  const hook = new URL("./mutate-hook.ts", import.meta.url).href;
  return {
    JILIAN_MUTATION: mutationOf(name).name,
    NODE_OPTIONS: [process.env.NODE_OPTIONS, `--import ${hook}`].join(" ").trim(),
  };
}
