import { codeOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { Logger } from "pino";
import type { Driver, RawReading } from "../model.ts";
import { ask, assetCode, isSimulator, isUnanswered, type Told } from "./dlt645-asking.ts";
import type { Dlt645Device } from "./dlt645-config.ts";
import { decodeNumber, type NumberFormat } from "./dlt645-decode.ts";
import { addressText, nothingReadable, notThere, noValue, type Reason, stopped, type Target } from "./dlt645-errors.ts";
import { askedAlone, planQuestions, type Question } from "./dlt645-plan.ts";
import { dlt645Common, formatOf } from "./dlt645-tags.ts";
import type { Line } from "./line.ts";
import type { MeterDoubt } from "./line-doubts.ts";
import { neverAsked } from "./line-errors.ts";
import { isProbe } from "./line-probe.ts";
import { sentinelTest } from "./sentinels.ts";

/** How long a tag that the meter does not have is left out before it is tried again, in machine time. */
const missingRetryMs = 600_000;

export type Dlt645DriverOptions = {
  readonly line: Line;
  /** What is known of the meter's earlier answers, which outlives the driver. */
  readonly doubt?: MeterDoubt;
  readonly log: Logger;
  readonly retryRefusedMs?: number;
};

/** What is known of a meter: which tags it lacks, which blocks it does not give. Reasons are logged once, not at every poll. */
function createKnowledge({ tags }: Dlt645Device, target: Target, log: Logger, retryMs: number) {
  /** Tag -> machine time at which it is tried again. */
  const missing = new Map<number, number>();
  /** Blocks that were refused since the connect, and tags (`block tag`) that were not in theirs. */
  const refused = new Set<string>();
  /**
   * Blocks that were met with silence, though they should be refused: how often, and the machine time at which they are tried again. Kept
   * over connects, and tried twice in all: each trial fails the device, and a single silence may be a disturbance of the line.
   */
  const silent = new Map<string, { readonly trials: number; readonly retryAt: number }>();
  const given = new Set<string>();
  const reasons = new Map<number, string>();

  function note(tag: number, reason?: Reason): void {
    if (reasons.get(tag) === reason?.words) return;
    if (reason === undefined) {
      reasons.delete(tag);
      return;
    }
    reasons.set(tag, reason.words);
    const { name, dataId } = tags[tag] as Dlt645Device["tags"][number];
    const address = addressText(target, dataId);
    log.warn({ device: target.device, tag: name, address }, `the tag is bad until the meter gives it: ${reason.words}`);
  }

  return {
    note,
    plan(): Question[] {
      const now = performance.now();
      for (const [tag, retryAt] of missing) if (retryAt <= now) missing.delete(tag);
      const members = [...tags.keys()].filter((tag) => !missing.has(tag));
      const isSilent = (block: string) => (silent.get(block)?.retryAt ?? 0) > now;
      const isAlone = (block: string, tag: number) =>
        refused.has(block) || isSilent(block) || refused.has(`${block} ${tag}`);
      return planQuestions(tags, members, isAlone);
    },
    connected(): void {
      missing.clear();
      refused.clear();
    },
    lacks(tag: number): void {
      missing.set(tag, performance.now() + retryMs);
    },
    missing: () => missing.keys(),
    isGiven: (block: string) => given.has(block),
    blockGiven: (block: string) => void given.add(block),
    blockRefused: (block: string) => void refused.add(block),
    notInBlock: (block: string, tag: number) => void refused.add(`${block} ${tag}`),
    /** Only of a meter that has just answered something else: one that is silent altogether tells nothing about its blocks. */
    blockSilent(block: string): void {
      if (given.has(block)) return;
      const trials = (silent.get(block)?.trials ?? 0) + 1;
      silent.set(block, { trials, retryAt: trials > 1 ? Number.POSITIVE_INFINITY : performance.now() + retryMs });
    },
  };
}

type Knowledge = ReturnType<typeof createKnowledge>;

/** Reads what is planned, one question after the other: the line is half-duplex. */
async function readPlan(
  device: Dlt645Device,
  target: Target,
  known: Knowledge,
  tell: (question: Question) => Promise<Told>,
): Promise<RawReading[]> {
  const { tags } = device;
  const formats = tags.map(formatOf) as NumberFormat[];
  const common = dlt645Common(device);
  const sentinels = common.tags.map((tag) => sentinelTest(tag, common));
  const readings: RawReading[] = [];
  const queue = known.plan();
  let answered = false;
  let last = notThere;

  function bad(tag: number, reason: Reason): void {
    known.note(tag, reason);
    readings.push({ tag, value: null, status: reason.status });
  }

  function take(tag: number, bytes: Buffer): void {
    answered = true;
    const { value, status } = decodeNumber(bytes, formats[tag] as NumberFormat);
    if (value === null) bad(tag, noValue(status));
    else if (sentinels[tag]?.isValue(value)) bad(tag, noValue(Status.BadSensorFailure));
    else {
      known.note(tag);
      readings.push({ tag, value, status });
    }
  }

  function takeSingle(tag: number, told: Told): void {
    if ("data" in told) {
      take(tag, told.data);
      return;
    }
    last = told.reason;
    if (told.missing) {
      known.note(tag, told.reason);
      known.lacks(tag);
    } else bad(tag, told.reason);
  }

  function takeBlock(question: Question, valueBytes: number, told: Told): void {
    if (!("data" in told) || told.data.length === 0 || told.data.length % valueBytes !== 0) {
      known.blockRefused(question.dataId);
      queue.unshift(...askedAlone(tags, question));
      return;
    }
    known.blockGiven(question.dataId);
    const values = told.data.length / valueBytes;
    for (const { tag, index } of question.wants) {
      if (index < values) take(tag, told.data.subarray(index * valueBytes, (index + 1) * valueBytes));
      else known.notInBlock(question.dataId, tag);
    }
    const wants = question.wants.filter(({ index }) => index >= values);
    queue.unshift(...askedAlone(tags, { ...question, wants }));
  }

  for (let question = queue.shift(); question !== undefined; question = queue.shift()) {
    const told = await tell(question);
    if (question.valueBytes !== undefined) takeBlock(question, question.valueBytes, told);
    else for (const { tag } of question.wants) takeSingle(tag, told);
  }
  if (!answered) throw nothingReadable(target, last);
  for (const tag of known.missing()) readings.push({ tag, value: null, status: notThere.status });
  return readings;
}

/**
 * Reads the tags of one meter of DL/T 645-2007 on a line that it shares with others. Nothing but read data (11H) and read following data
 * (12H) is ever sent.
 *
 * - Tags of one block are read with one question; a meter that refuses the block, or is silent on it though it answers others, is asked one
 *   by one from then on.
 * - A value that the meter refuses, lacks or does not hold as digits turns its tag bad alone; one that it says it does not have is tried
 *   again every ten minutes. The device as a whole fails when it gives none.
 * - A time-out fails the device. Answers of other meters or to other questions are passed over (dlt645-frame.ts).
 * @param options.line the line that the meter is on; it stays open when the driver is closed
 */
export function createDlt645Driver(device: Dlt645Device, options: Dlt645DriverOptions): Driver {
  const { line, log, doubt = { isDoubtful: false }, retryRefusedMs = missingRetryMs } = options;
  const { id, line: lineId, meterAddress, timeoutMs } = device;
  const target: Target = { device: id, line: lineId, meterAddress, timeoutMs };
  const known = createKnowledge(device, target, log, retryRefusedMs);
  let session: AbortController | undefined;
  /** False after a meter was silent on the question whether it is a simulator: some are silent on what they do not know. */
  let asksIdentity = true;
  /** Whether the meter has answered anything since the connect. */
  let proven = false;
  /** Whether it has answered anything in the read that is under way, or in the connect before it. */
  let hasJustAnswered = false;
  /** Attempts in a row at which the meter was silent: once something was asked of it after a connect, it is no attempt any more. */
  let silentAttempts = 0;
  let isAttempt = false;

  function end(): void {
    session?.abort();
    session = undefined;
  }

  /** A refusal does not say what it refuses: after an answer that never came, each is asked once more whether it was meant, until a value comes, which says what it is. */
  async function askSurely(dataId: string, signal: AbortSignal): Promise<Told> {
    const probes = isAttempt && isProbe(silentAttempts);
    isAttempt = false;
    try {
      let told = await ask(line, target, dataId, { signal, isProbe: probes });
      silentAttempts = 0;
      if (doubt.isDoubtful && !("data" in told)) told = await ask(line, target, dataId, { signal });
      // Of two refusals the first may have been an earlier one's, and the second the first's: then ours is still to come.
      if ("data" in told) doubt.isDoubtful = false;
      proven = true;
      hasJustAnswered = true;
      return told;
    } catch (thrown) {
      if (!neverAsked.has(codeOf(thrown))) doubt.isDoubtful = true;
      if (isUnanswered(thrown)) silentAttempts += 1;
      throw thrown;
    }
  }

  async function tell(question: Question, signal: AbortSignal): Promise<Told> {
    const { dataId, valueBytes } = question;
    const isTrial = valueBytes !== undefined && !known.isGiven(dataId);
    const [alone] = askedAlone(device.tags, question);
    // Whether the meter is there at all: else its silence would be taken for that on a block.
    if (isTrial && !hasJustAnswered && alone !== undefined) await askSurely(alone.dataId, signal);
    try {
      return await askSurely(dataId, signal);
    } catch (thrown) {
      if (isTrial && isUnanswered(thrown)) known.blockSilent(dataId);
      throw thrown;
    }
  }

  return {
    async connect(signal) {
      end();
      if (signal.aborted) throw stopped(target);
      known.connected();
      proven = false;
      hasJustAnswered = false;
      isAttempt = true;
      const opened = new AbortController();
      session = opened;
      const { simulated } = device;
      if (simulated || !asksIdentity) return { simulated };
      try {
        const told = await askSurely(assetCode, AbortSignal.any([signal, opened.signal]));
        return { simulated: isSimulator(told) };
      } catch (thrown) {
        // One time-out for a connect: a dead meter costs the others on its line no more. The next connect goes straight to the values.
        if (isUnanswered(thrown)) asksIdentity = false;
        end();
        throw thrown;
      }
    },
    async read(signal) {
      if (session === undefined) throw stopped(target);
      const both = AbortSignal.any([signal, session.signal]);
      try {
        return await readPlan(device, target, known, (question) => tell(question, both));
      } catch (thrown) {
        // A meter that is silent altogether has told nothing about the question by being silent on it.
        if (isUnanswered(thrown) && !proven) asksIdentity = true;
        throw thrown;
      } finally {
        hasJustAnswered = false;
      }
    },
    async close() {
      end();
    },
  };
}
