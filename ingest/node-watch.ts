import type { Clock } from "@jilian/domain/clock.ts";
import type { RecordHeader } from "@jilian/domain/commit.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { clonedGateway } from "@jilian/domain/identity.ts";
import { append } from "@jilian/domain/lists.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import type { Ledger, NodeBox } from "@jilian/store/ledger.ts";
import type { Logger } from "pino";
import type { CommitBook } from "./commit-book.ts";
import type { LedgerNotes } from "./ledger-notes.ts";

/** Metrics of a node as it tells them, by name. */
export type NodeMetrics = ReadonlyMap<string, Value>;

/**
 * Watches who a gateway is and what its outbox says of itself, and raises findings. Nothing is decided by it: readings are stored
 * whoever sends them, since their keys make that harmless. But counters of another box, or of an image, are not taken for the same one's.
 */
export type NodeWatch = {
  /** NBIRTH of a node with an outbox. */
  readonly born: (group: string, node: string, told: NodeMetrics) => void;
  /** NDATA. */
  readonly told: (group: string, node: string, told: NodeMetrics) => void;
  /** The commit book saw one offset given to two records; what is seen again of one epoch is one event, and one finding. */
  readonly setBack: (group: string, node: string, epoch: string) => void;
};

type Counters = Pick<NodeBox, "droppedSamples" | "setAsideRecords" | "setBacks">;
type Identity = { box: string; starts: number; epoch: string };
type Previous = RecordHeader;
type Watched = {
  /** Boxes as the ledger has them, the last one seen first. */
  boxes: NodeBox[];
  riseNotedMs: number;
  writable: boolean;
  /** Its clock against the platform's, as it last told, ms. */
  clock: { offsetMs: number; uncertaintyMs: number };
  /** Its medium fails and it works from memory: it does not know its file, and its counters are not the file's. */
  fromMemory: boolean;
  /** Processes that were born, by box and epoch, the last one last. */
  lives: string[];
  /** When one was born again after another had been. */
  returnsMs: number[];
  /** The epoch of which more was found than its file knew. */
  outran: string;
  /** Epochs of which one offset came with two records. */
  setBackEpochs: string[];
  /** How many of those its gateway has not counted yet: it hears of them from here, so they are told already. */
  setBacksTold: number;
};

/** Rising counters are noted this often: an outbox that drops all the time tells so every second. */
const noteEveryMs = 60_000;
/** Two returns within this time are no accident of the network. */
const returnsWithinMs = 3_600_000;
const maxLives = 8;
/** A clock further off than this is told of: readings of one second lie in minutes that they do not belong to. */
const clockOffMs = 5000;
const zero: Counters = { droppedSamples: 0, setAsideRecords: 0, setBacks: 0 };

const counterNames = {
  droppedSamples: nodeMetrics.droppedSamples,
  setAsideRecords: nodeMetrics.setAsideRecords,
  setBacks: nodeMetrics.setBacks,
} as const;

const words = {
  GATEWAY_REPLACED: "another outbox under this name: the box or its disk was replaced, or the file was begun anew",
  GATEWAY_RESTORED: "its outbox is an earlier image of itself: readings since then may be missing",
  GATEWAY_CLONED: clonedGateway,
  OUTBOX_UNWRITABLE: "the outbox cannot be written: readings are kept in memory or lost",
  GATEWAY_CLOCK_OFF: "its clock is far from the platform's: readings and figures lie at wrong times",
  GATEWAY_SET_BACK:
    "it was set back to an earlier moment while it ran; it goes on under a new epoch, what it sends is stored",
} as const;

function countOf(value: Value | undefined): number | undefined {
  const found = wholeOf(value);
  return found !== undefined && found >= 0 ? found : undefined;
}

function wholeOf(value: Value | undefined): number | undefined {
  const found = typeof value === "bigint" ? Number(value) : value;
  return typeof found === "number" && Number.isSafeInteger(found) ? found : undefined;
}

/** Whether a clock is far off, however wrong the measurement may be. */
const isOff = ({ offsetMs, uncertaintyMs }: Watched["clock"]): boolean =>
  Math.abs(offsetMs) - uncertaintyMs > clockOffMs;

function hexOf(told: NodeMetrics, name: string): string {
  const value = told.get(name);
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value) ? value : "";
}

/** Who a birth says the node is. A gateway from before boxes had names tells none: it is known by its counters alone. */
function identityOf(told: NodeMetrics): Identity {
  return {
    box: hexOf(told, nodeMetrics.box),
    epoch: hexOf(told, nodeMetrics.epoch),
    starts: countOf(told.get(nodeMetrics.starts)) ?? 0,
  };
}

/** The last record that an earlier epoch can have had, by what the file knew when it was opened; undefined when it tells none. */
function previousOf(told: NodeMetrics): Previous | undefined {
  const epoch = hexOf(told, nodeMetrics.previousEpoch);
  const offset = countOf(told.get(nodeMetrics.previousOffset));
  const writtenAtMs = countOf(told.get(nodeMetrics.previousWrittenMs));
  return epoch === "" || offset === undefined || writtenAtMs === undefined ? undefined : { epoch, offset, writtenAtMs };
}

function countersOf(told: NodeMetrics, before: Counters): Counters {
  const of = (key: keyof Counters) => countOf(told.get(counterNames[key])) ?? before[key];
  return { droppedSamples: of("droppedSamples"), setAsideRecords: of("setAsideRecords"), setBacks: of("setBacks") };
}

/** How often a gateway found itself set back since. It counts that of its process: where it is lower than it was, another one counts. */
function setBacksSince(before: Counters, now: Counters): number {
  return now.setBacks < before.setBacks ? now.setBacks : now.setBacks - before.setBacks;
}

/** Findings for counters that are higher than they were. @param setBacksTold set-backs that are noted already */
function risesOf(before: Counters, now: Counters, setBacksTold: number): [code: string, detail: string][] {
  const found: [string, string][] = [];
  const rise = (key: keyof Counters) => now[key] - before[key];
  if (rise("droppedSamples") > 0)
    found.push(["OUTBOX_DROPPED", `${rise("droppedSamples")} samples were dropped, ${now.droppedSamples} in all`]);
  if (rise("setAsideRecords") > 0)
    found.push([
      "OUTBOX_SET_ASIDE",
      `${rise("setAsideRecords")} records were set aside, ${now.setAsideRecords} in all`,
    ]);
  if (setBacksSince(before, now) > setBacksTold) found.push(["GATEWAY_SET_BACK", words.GATEWAY_SET_BACK]);
  return found;
}

/** Each epoch that a file begins has a number of its own: one that was seen with another epoch comes from a copy of the file. */
function isImage(known: NodeBox, { box, starts, epoch }: Identity): boolean {
  return box !== "" && (starts < known.starts || (starts === known.starts && epoch !== known.epoch));
}

/** @param ledger for what was noted before this start */
export function nodeWatch(parts: {
  ledger: Pick<Ledger, "nodeBoxes">;
  book: Pick<CommitBook, "lastStored">;
  notes: LedgerNotes;
  clock: Clock;
  log: Logger;
}): NodeWatch {
  const { ledger, book, notes, clock, log } = parts;
  const nodes = new Map<string, Watched>();

  function watched(group: string, node: string): Watched {
    return getOrMake(nodes, `${group}/${node}`, () => ({
      boxes: ledger.nodeBoxes(group, node),
      riseNotedMs: Number.NEGATIVE_INFINITY,
      writable: true,
      clock: { offsetMs: 0, uncertaintyMs: 0 },
      fromMemory: false,
      lives: [],
      returnsMs: [],
      outran: "",
      setBackEpochs: [],
      setBacksTold: 0,
    }));
  }

  /** Notes findings and what the box says now, all or nothing; what was not noted is noted with the next news. */
  function note(known: Watched, box: NodeBox, findings: readonly [code: string, detail: string][]): void {
    const subject = `${box.group}/${box.node}`;
    const done = notes.together((to) => {
      for (const [code, detail] of findings) to.noteFinding({ code, subject, detail }, clock.now());
      to.noteNodeBox(box);
    });
    if (!done) return;
    for (const [code, detail] of findings) log.warn({ code, node: subject, box: box.box }, detail);
    known.boxes = [box, ...known.boxes.filter(({ box: other }) => other !== box.box)].slice(0, 16);
  }

  /** @returns true when processes alternate under this name */
  function alternates(known: Watched, life: string): boolean {
    const nowMs = performance.now();
    if (known.lives.at(-1) === life) return false;
    if (known.lives.includes(life)) known.returnsMs.push(nowMs);
    known.lives = [...known.lives.filter((other) => other !== life), life].slice(-maxLives);
    known.returnsMs = known.returnsMs.filter((ms) => nowMs - ms < returnsWithinMs).slice(-maxLives);
    return known.returnsMs.length >= 2;
  }

  /**
   * Whether more is stored of an earlier epoch than its file knew: an image that was made while a gateway ran tells a number of starts that
   * nobody has seen. Times of writing decide; offsets where this process has not seen the last record stored.
   */
  function outran(group: string, node: string, previous: Previous | undefined): string | undefined {
    const stored = previous && book.lastStored(group, node, previous.epoch);
    if (!stored) return undefined;
    const { offset, writtenAtMs } = stored;
    const isBeyond = writtenAtMs === undefined ? offset > previous.offset : writtenAtMs > previous.writtenAtMs;
    const later = writtenAtMs === undefined ? "" : `, written ${writtenAtMs - previous.writtenAtMs} ms later`;
    return isBeyond ? `record ${offset} of its epoch ${previous.epoch} is stored${later}` : undefined;
  }

  function watchWritable(known: Watched, subject: string, told: NodeMetrics): void {
    const now = told.get(nodeMetrics.writable);
    if (typeof now !== "boolean") return;
    if (known.writable && !now) {
      notes.finding({ code: "OUTBOX_UNWRITABLE", subject, detail: words.OUTBOX_UNWRITABLE });
    }
    known.writable = now;
  }

  function watchClock(known: Watched, subject: string, told: NodeMetrics): void {
    // A message says what has changed.
    const offsetMs = wholeOf(told.get(nodeMetrics.clockOffsetMs)) ?? known.clock.offsetMs;
    const uncertaintyMs = countOf(told.get(nodeMetrics.clockUncertaintyMs)) ?? known.clock.uncertaintyMs;
    const now = { offsetMs, uncertaintyMs };
    if (isOff(now) && !isOff(known.clock)) {
      const by = `${Math.abs(offsetMs)} ms ${offsetMs < 0 ? "behind" : "ahead"}`;
      const detail = `${words.GATEWAY_CLOCK_OFF} (${by})`;
      // A ledger that does not take it is tried again with the next message.
      if (notes.finding({ code: "GATEWAY_CLOCK_OFF", subject, detail }) === "failed") return;
    }
    known.clock = now;
  }

  function born(group: string, node: string, told: NodeMetrics): void {
    let known: Watched;
    try {
      known = watched(group, node);
    } catch (error) {
      // The birth counts all the same, and the next one is looked at.
      log.error({ code: "LEDGER_READ", node: `${group}/${node}`, err: messageOf(error) }, "the ledger cannot be read");
      return;
    }
    watchWritable(known, `${group}/${node}`, told);
    watchClock(known, `${group}/${node}`, told);
    known.fromMemory = told.get(nodeMetrics.box) === "";
    if (known.fromMemory) return;
    const identity = identityOf(told);
    const previous = known.boxes.find(({ box }) => box !== "");
    const same = known.boxes.find(({ box }) => box === identity.box);
    const now = { ...identity, ...countersOf(told, zero) };
    // Once for an epoch that is in use, and for one that was: births come again, and a gateway may start again before it writes.
    const earlier = same?.epoch !== now.epoch && identity.box !== "" ? previousOf(told) : undefined;
    const beyond = earlier?.epoch === known.outran ? undefined : outran(group, node, earlier);
    const image = beyond !== undefined || (same !== undefined && isImage(same, now));
    const replaced = previous !== undefined && previous.box !== identity.box && identity.box !== "";
    const cloned = identity.box !== "" && alternates(known, `${identity.box}/${identity.epoch}`);
    const findings: [string, string][] = [];
    if (cloned) findings.push(["GATEWAY_CLONED", words.GATEWAY_CLONED]);
    else if (image)
      findings.push([
        "GATEWAY_RESTORED",
        `${words.GATEWAY_RESTORED} (${beyond ?? `start ${now.starts}, known: ${same?.starts}`})`,
      ]);
    else if (replaced)
      findings.push(["GATEWAY_REPLACED", `${words.GATEWAY_REPLACED} (${identity.box}, before: ${previous.box})`]);
    // The counters of an image say what happened before it was made.
    // A gateway from before boxes had names is the same one with its counters, once it has a name.
    const before = same ?? (previous === undefined ? known.boxes[0] : undefined) ?? zero;
    const setBacks = image ? 0 : setBacksSince(before, now);
    append(findings, risesOf(image ? now : before, now, known.setBacksTold));
    // Another process that has counted none was told of none.
    const isFresh = now.setBacks === 0 && same?.starts !== now.starts;
    known.setBacksTold = isFresh ? 0 : Math.max(0, known.setBacksTold - setBacks);
    const isNews =
      same !== known.boxes[0] ||
      same?.starts !== now.starts ||
      same.epoch !== now.epoch ||
      setBacks > 0 ||
      findings.length > 0;
    if (beyond !== undefined) known.outran = earlier?.epoch ?? "";
    if (isNews) note(known, { group, node, ...now, lastSeenMs: clock.now() }, findings);
  }

  function toldLater(group: string, node: string, told: NodeMetrics): void {
    const known = nodes.get(`${group}/${node}`);
    if (!known) return;
    watchWritable(known, `${group}/${node}`, told);
    watchClock(known, `${group}/${node}`, told);
    const [box] = known.boxes;
    if (!box || known.fromMemory) return;
    const now = { ...box, ...countersOf(told, box), lastSeenMs: clock.now() };
    const setBacks = setBacksSince(box, now);
    const findings = risesOf(box, now, known.setBacksTold);
    if (findings.length === 0 && setBacks === 0) return;
    if (findings.length > 0) {
      if (performance.now() - known.riseNotedMs < noteEveryMs) return;
      known.riseNotedMs = performance.now();
    }
    known.setBacksTold = Math.max(0, known.setBacksTold - setBacks);
    note(known, now, findings);
  }

  function setBack(group: string, node: string, epoch: string): void {
    const subject = `${group}/${node}`;
    // Unknown where the ledger could not be read at its birth: told each time then.
    const known = nodes.get(subject);
    if (known?.setBackEpochs.includes(epoch)) return;
    const told = notes.finding({ code: "GATEWAY_SET_BACK", subject, detail: words.GATEWAY_SET_BACK });
    if (told === "lately") return;
    log.warn({ code: "GATEWAY_SET_BACK", node: subject, epoch }, "one offset came with two records");
    if (!known || told !== "noted") return;
    known.setBackEpochs = [...known.setBackEpochs, epoch].slice(-maxLives);
    known.setBacksTold += 1;
  }

  return {
    born,
    told: toldLater,
    setBack,
  };
}
