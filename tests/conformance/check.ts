/** What the checks and their counter-proofs are made of. */
import {
  type Capture,
  type Entry,
  isPacket,
  isPublish,
  type Link,
  levels,
  linksOf,
  type Publish,
  sent,
  typeOf,
  type Who,
} from "./capture.ts";
import type { RawMetric } from "./payload.ts";

/** `seen` is how often the capture speaks to the statement: with none of it, nothing is proved. */
export type Verdict = { seen: number; faults: string[] };
export type Check = (capture: Capture) => Verdict;
/** Makes of a capture one that the check has to find fault with. */
export type Break = (capture: Capture) => Capture;
export type Row = { check: Check; breaks: readonly Break[] };
export type Rows = Readonly<Record<string, Row>>;

/** Of each item what is wrong with it, or nothing. */
export function each<T>(items: readonly T[], faultOf: (item: T) => string | false | undefined): Verdict {
  const faults = items.map(faultOf).filter((fault) => typeof fault === "string");
  return { seen: items.length, faults };
}

export const both = (...verdicts: Verdict[]): Verdict => ({
  seen: Math.min(...verdicts.map(({ seen }) => seen)),
  faults: verdicts.flatMap(({ faults }) => faults),
});

/** The same row under several names. */
export function rows(names: string, check: Check, ...breaks: Break[]): Rows {
  const row = { check, breaks };
  return Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((name) => [`tck-id-${name}`, row]),
  );
}

/* Picking and changing. */

/** Changes what it is given, or tells what of it becomes another. */
export type Change<T> = (given: T) => Partial<T> | undefined;
type Pick = (entry: Entry) => boolean;

/** A message of some side and type. */
export const message =
  (who: Who, type: string, from: "client" | "server" = "client"): Pick =>
  (entry) =>
    isPublish(entry) && entry.who === who && entry.from === from && typeOf(entry) === type;
export const packet =
  (who: Who, kind: Entry["kind"]): Pick =>
  (entry) =>
    isPacket(entry) && entry.who === who && entry.kind === kind;

/** Changes a copy of the last entry that fits, so that later ones find nothing to repair it by. @throws Error when none does */
export function edit<T extends Entry>(pick: Pick, change: Change<T>): Break {
  return (capture) => {
    const at = capture.findLastIndex(pick);
    if (at < 0) throw new Error("nothing to change in the capture");
    const copy = structuredClone(capture[at] as T);
    Object.assign(copy, change(copy));
    return capture.with(at, copy);
  };
}

export const editPublish = (pick: Pick, change: Change<Publish>): Break => edit<Publish>(pick, change);

/** Changes one metric of the last message that holds it. */
export function editMetric(pick: Pick, fits: (metric: RawMetric) => boolean, change: Change<RawMetric>): Break {
  const holds: Pick = (entry) => pick(entry) && isPublish(entry) && entry.payload?.metrics.some(fits) === true;
  return editPublish(holds, ({ payload }) => {
    const metric = payload?.metrics.find(fits);
    if (metric) Object.assign(metric, change(metric));
  });
}

export const drop =
  (pick: Pick): Break =>
  (capture) => {
    const left = capture.filter((entry) => !pick(entry));
    if (left.length === capture.length) throw new Error("nothing to leave out in the capture");
    return left;
  };

/** Puts a copy of one entry, changed, behind another. */
export function copyBehind(pick: Pick, where: Pick, change: Change<Publish> = () => undefined): Break {
  return (capture) => {
    const [found, at] = [capture.findLast(pick), capture.findIndex(where)];
    const place = capture[at];
    if (!found || !place) throw new Error("nothing to copy in the capture, or no place for it");
    const copy = structuredClone(found) as Publish;
    copy.at = place.at;
    if (isPacket(place) && place.who === copy.who) copy.link = place.link;
    Object.assign(copy, change(copy));
    return capture.toSpliced(at + 1, 0, copy);
  };
}

export const marked =
  (what: string): Pick =>
  (entry) =>
    entry.kind === "mark" && entry.what === what;

/* Common reading. */

/** Clocks of one machine: what is told as the present is at most this far from when it was seen, ms. */
const presentMs = 10_000;
export const isPresent = (timestamp: unknown, at: number): boolean =>
  typeof timestamp === "number" && Math.abs(timestamp - at) <= presentMs;

export const where = ({ link, topic, payload }: Publish): string => `${link} ${topic} seq ${payload?.seq}`;
export const metricNamed = ({ payload }: Holder, name: string): RawMetric | undefined =>
  payload?.metrics.find((metric) => metric.name === name);

type Holder = { payload: Publish["payload"] };

/** The bdSeq that a death or birth tells. */
export function bdSeqOf(from: Holder): number | undefined {
  const value = metricNamed(from, "bdSeq")?.value;
  return typeof value === "bigint" || typeof value === "number" ? Number(value) : undefined;
}

/** What is made of a capture once and looked at by many checks. Captures do not change: a break makes another one. */
function once<T>(make: (capture: Capture) => T): (capture: Capture) => T {
  const made = new WeakMap<Capture, T>();
  return (capture) => {
    const known = made.get(capture) ?? make(capture);
    made.set(capture, known);
    return known;
  };
}

export const edgeLinks = once((capture): Link[] => linksOf(capture, "edge").filter(({ connect }) => connect));

/** Messages of the edge node on one connection. */
export const publishesOf = (link: Link): Publish[] => sent(link.entries, "edge");

/** A message of the edge node with what had been born when it was sent. */
export type Told = {
  packet: Publish;
  type: string;
  device: string;
  /** Metrics of the device's last birth in this session; undefined when it has none. */
  birth: readonly RawMetric[] | undefined;
  /** seq of the message before it on the connection. */
  seqBefore: number | undefined;
  /** Metrics of all births that hold, by device; "" is the node. */
  births: ReadonlyMap<string, readonly RawMetric[]>;
};

/** The messages of the edge node, connection by connection, each with the births that hold. A birth has itself as birth. */
export const story = once((capture): Told[] =>
  edgeLinks(capture).flatMap((link) => {
    let births = new Map<string, readonly RawMetric[]>();
    let seqBefore: number | undefined;
    return publishesOf(link).map((one): Told => {
      const { type = "", device = "" } = levels(one.topic) ?? {};
      if (type === "NBIRTH") births = new Map();
      else births = new Map(births);
      if (type.endsWith("BIRTH")) births.set(device, one.payload?.metrics ?? []);
      const told = { packet: one, type, device, birth: births.get(device), seqBefore, births };
      if (one.payload?.seq !== undefined) seqBefore = one.payload.seq;
      return told;
    });
  }),
);

/** The metric of a birth that a metric of data means. */
export function bornMetric({ birth }: Told, metric: RawMetric): RawMetric | undefined {
  return metric.alias === undefined
    ? birth?.find(({ name }) => name === metric.name)
    : birth?.find(({ alias }) => alias === metric.alias);
}

/** What comes after an item of a list. */
export function next<T>(items: readonly T[], after: T): T[] {
  return items.slice(items.indexOf(after) + 1);
}
