import { JilianError } from "./errors.ts";
import { hourMs } from "./periods.ts";

/**
 * The metric in which a gateway accounts for its work on a device: a String of JSON, sent and stored as any other sample of the device
 * (docs/contracts.md). It is no process metric: it keeps no device online, and what it counts does not include itself.
 */
export const accountMetric = "Jilian/Account";

/** Why samples never left their gateway: the outbox was full, they were too old for it, or it could not be written. */
export const dropReasons = ["full", "age", "unwritable"] as const;
export type AccountDropReason = (typeof dropReasons)[number];

/** Reasons of gaps that the gateway sets itself; the others are codes of drivers (`MODBUS_TIMEOUT`). */
export const gapReasons = {
  /** No gateway ran. */
  down: "GATEWAY_DOWN",
  /** The device was read, and its samples could not be kept. */
  unwritable: "OUTBOX_UNWRITABLE",
  /** Time that the gateway's clock left out when it was set forward. */
  forward: "CLOCK_SET_FORWARD",
  /** Time that the gateway's clock ran through twice because it was set back: no gap, but what was counted twice. */
  back: "CLOCK_SET_BACK",
  /** Reasons beyond the number that an account has room for. */
  other: "OTHER",
} as const;

/** Reasons that one account has room for. */
export const maxGapReasons = 16;
/** Metrics that one account names among what was dropped; the others stand together under an empty name. */
export const maxDroppedTags = 50;
/** Longest name of a metric among them, UTF-16 units. */
const maxTagLength = 100;
/** Greatest count of an account: far beyond what an hour can hold, and small enough that sums of many stay exact. */
export const maxCount = 1e12;
/** Longest gap of one reason in an hour's account, ms: more than the hour only where a clock ran through it again and again. */
export const maxGapMs = 24 * hourMs;
/** Hours of accounts begin before this, 2262: later ones no store can hold samples of. */
const endOfHoursMs = 9_214_646_400_000;

/** What was counted. All of it whole numbers; sums of accounts add up field by field. */
export type AccountCounts = {
  /** Polls that were due: those made, those left out, and those that a gap prevented. */
  scheduled: number;
  /** Polls that the device answered. */
  answered: number;
  /** Polls left out because the one before took longer than the interval. */
  skipped: number;
  /** Readings of tags in the answers. */
  polled: number;
  /** Those of them that made no sample: within the deadband, the heartbeat not due. */
  suppressed: number;
  /** Those of them with bad quality, suppressed or not. */
  bad: number;
  /**
   * Samples queued without a reading: of derived tags, and those that mark that the device could not be read any more, one a metric. So
   * `queued` is `polled` less `suppressed`, with `marked`.
   */
  marked: number;
  /** Samples handed to the outbox. */
  queued: number;
  droppedFull: number;
  droppedAge: number;
  droppedUnwritable: number;
};

export const countFields = [
  "scheduled",
  "answered",
  "skipped",
  "polled",
  "suppressed",
  "bad",
  "marked",
  "queued",
  "droppedFull",
  "droppedAge",
  "droppedUnwritable",
] as const satisfies readonly (keyof AccountCounts)[];

/**
 * What a gateway did about one device in one hour, as far as it had come when it was made. Polls and gaps belong to the hour of the
 * gateway's clock, samples to that of their source time, so that they can be compared with what is stored.
 *
 * Accounts are cumulative: of one (device, hour, part) the one with the greatest source time counts, and a lost or repeated one does no
 * harm. Parts add up: a book that was lost, or had forgotten the hour, begins another part of it and overwrites nothing.
 */
export type Account = AccountCounts & {
  /** Start of the hour, UTC ms. */
  hourMs: number;
  /** Random name of the part, 8 hexadecimal digits. */
  part: string;
  /** Milliseconds in which the device was not read, by reason. */
  gapMs: Record<string, number>;
  /** Dropped samples by the name of their metric; under an empty name those that there was no room for. Absent when there are none. */
  droppedTags?: Record<string, number>;
};

export const noCounts: AccountCounts = Object.freeze(
  Object.fromEntries(countFields.map((field) => [field, 0])) as AccountCounts,
);

/** Start of the hour that holds a time. Hours of Asia/Shanghai and of UTC begin together. */
export function hourOf(timeMs: number): number {
  return Math.floor(timeMs / hourMs) * hourMs;
}

const version = 1;
const partPattern = /^[0-9a-f]{8}$/;
const reasonPattern = /^[A-Z][A-Z0-9_]{0,63}$/;

/** The text of an account: fields that are 0, gaps and dropped metrics that are none are left out. */
export function encodeAccount({ hourMs: hour, part, gapMs, droppedTags = {}, ...counts }: Account): string {
  const told = Object.fromEntries(
    countFields.filter((field) => counts[field] > 0).map((field) => [field, Math.min(counts[field], maxCount)]),
  );
  const gaps = Object.keys(gapMs).length > 0 && { gapMs };
  const tags = Object.keys(droppedTags).length > 0 && { droppedTags };
  return JSON.stringify({ v: version, hour, part, ...told, ...gaps, ...tags });
}

function isCount(found: unknown, most = maxCount): found is number {
  return typeof found === "number" && Number.isSafeInteger(found) && found >= 0 && found <= most;
}

/** True for an object of so many entries at most, each with a key and a number as they may be. */
function isTable(
  found: unknown,
  size: number,
  isKey: (key: string) => boolean,
  most: number,
): found is Record<string, number> {
  if (typeof found !== "object" || found === null || Array.isArray(found)) return false;
  const entries = Object.entries(found);
  return entries.length <= size && entries.every(([key, value]) => isKey(key) && isCount(value, most));
}

const isReason = (text: string): boolean => reasonPattern.test(text);
const isTag = (text: string): boolean => text.length <= maxTagLength;

function parse(text: string): Record<string, unknown> {
  const parsed: unknown = JSON.parse(text);
  return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : {};
}

/**
 * Reads an account.
 * @throws JilianError ACCOUNT_INVALID when it is not one of version 1, whole: nothing in it is guessed
 */
export function decodeAccount(text: string): Account {
  let found: Record<string, unknown> = {};
  let cause: unknown;
  try {
    found = parse(text);
  } catch (thrown) {
    cause = thrown;
  }
  const { v, hour, part, gapMs = {}, droppedTags, ...counts } = found;
  const known = Object.entries(counts).every(
    ([field, value]) => (countFields as readonly string[]).includes(field) && isCount(value),
  );
  const keyed =
    isCount(hour, endOfHoursMs) && hour % hourMs === 0 && typeof part === "string" && partPattern.test(part);
  const tagged = droppedTags === undefined || isTable(droppedTags, maxDroppedTags + 1, isTag, maxCount);
  if (v !== version || !keyed || !known || !tagged || !isTable(gapMs, maxGapReasons, isReason, maxGapMs)) {
    throw new JilianError("not an account of a gateway", {
      code: "ACCOUNT_INVALID",
      action: `read a sample of ${accountMetric}`,
      remedy: "check which program publishes this metric: only a gateway may, of a release that this platform knows",
      cause,
    });
  }
  const tags = droppedTags && { droppedTags };
  return { ...noCounts, ...(counts as Partial<AccountCounts>), hourMs: hour, part, gapMs, ...tags };
}

/** A code as a gap's reason: what does not look like one (of a library's errors) is OTHER. */
export function gapReason(code: string): string {
  return reasonPattern.test(code) ? code : gapReasons.other;
}

/** Adds to the time of a reason; reasons beyond those that there is room for go together. */
export function addGap(gapMs: Record<string, number>, reason: string, ms: number): void {
  const known = reason in gapMs || Object.keys(gapMs).length < maxGapReasons - 1;
  const to = known ? reason : gapReasons.other;
  gapMs[to] = Math.min(maxGapMs, (gapMs[to] ?? 0) + ms);
}

/** Adds dropped samples of a metric; metrics beyond those that there is room for go together, as do names that are too long. */
export function addDroppedTag(account: Account, metric: string, samples: number): void {
  account.droppedTags ??= {};
  const tags = account.droppedTags;
  const known = Object.hasOwn(tags, metric);
  const named = Object.keys(tags).length - (Object.hasOwn(tags, "") ? 1 : 0);
  // Names that an object has of itself would not be counted.
  const fits = isTag(metric) && !(metric in Object.prototype) && (known || named < maxDroppedTags);
  const to = fits ? metric : "";
  tags[to] = (tags[to] ?? 0) + samples;
}
