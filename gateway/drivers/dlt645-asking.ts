import { JilianError } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import { answerTimeout, isMissing, type Reason, refusal, stopped, type Target } from "./dlt645-errors.ts";
import { type Answer, type Asked, answerIn, findAnswer, overheardIn, requestFrame } from "./dlt645-frame.ts";
import type { Line } from "./line.ts";

/** What a meter said to one question: its data, following frames put together; or why there are none, and whether there never will be. */
export type Told = { readonly data: Buffer } | { readonly reason: Reason; readonly missing: boolean };

/** Most following frames of one answer: the longest known, an energy with 63 tariffs, needs one. A meter that goes on and on ends here. */
const maxFollowing = 16;

const tooLong: Reason = { words: `more than ${maxFollowing} following frames`, status: Status.BadDecodingError };

/** Whether a line has told that no answer came: silence, or bytes of which none are an answer. The meter may be there all the same. */
export function isUnanswered(thrown: unknown): boolean {
  if (!(thrown instanceof JilianError)) return false;
  return thrown.status === Status.BadTimeout || thrown.status === Status.BadDecodingError;
}

type Way = { readonly signal: AbortSignal; readonly isProbe?: boolean };

async function exchange(line: Line, target: Target, asked: Asked, { signal, isProbe = false }: Way): Promise<Answer> {
  const find = (received: Buffer, heard: Buffer) => findAnswer(received, asked, heard);
  const { device, timeoutMs } = target;
  try {
    if (signal.aborted) throw stopped(target);
    const frame = await line.exchange({
      device,
      request: requestFrame(asked),
      timeoutMs,
      isProbe,
      signal,
      find,
      overheard: overheardIn,
    });
    // It is what `find` gave, hence an answer.
    return answerIn(frame, asked) as Answer;
  } catch (thrown) {
    if (signal.aborted) throw stopped(target);
    const isTimeout = thrown instanceof JilianError && thrown.status === Status.BadTimeout;
    throw isTimeout ? answerTimeout(target, asked.dataId, thrown) : thrown;
  }
}

/**
 * Asks a meter for one data identifier. Where an answer says that more follows (C = B1H), the following frames are asked for by their
 * sequence number from 1 on (clause 7: read following data) and put together.
 * @param way.isProbe whether the meter was silent before, and so has less time (line-probe.ts)
 * @throws JilianError DLT645_TIMEOUT, DLT645_STOPPED when the signal has aborted, and what the line throws when it is lost
 */
export async function ask(line: Line, target: Target, dataId: string, way: Way): Promise<Told> {
  const { meterAddress } = target;
  const parts: Buffer[] = [];
  let answer = await exchange(line, target, { meterAddress, dataId }, way);
  for (let sequence = 1; answer.kind === "data"; sequence += 1) {
    parts.push(answer.data);
    if (!answer.more) return { data: Buffer.concat(parts) };
    if (sequence > maxFollowing) return { reason: tooLong, missing: false };
    answer = await exchange(line, target, { meterAddress, dataId, sequence }, { signal: way.signal });
  }
  return { reason: refusal(answer.error), missing: isMissing(answer.error) };
}

/** Asset code of the owner, 32 characters (table A.5): a simulator says there what it is, and a meter without one refuses. */
export const assetCode = "04000403";

/** Whether what was told as the asset code is what simulators say. */
export function isSimulator(told: Told): boolean {
  return "data" in told && Buffer.from(told.data).reverse().toString("latin1").includes("SIMULATED");
}
