import { JilianError } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";

/** Whom the questions go to. */
export type Target = {
  readonly device: string;
  readonly line: string;
  readonly meterAddress: string;
  /** Of each question. */
  readonly timeoutMs: number;
};

/** Where a question goes, for people: `line east meter 000000000161 data 00010000`. */
export function addressText({ line, meterAddress }: Target, dataId?: string): string {
  return `line ${line} meter ${meterAddress}${dataId === undefined ? "" : ` data ${dataId}`}`;
}

export function answerTimeout(target: Target, dataId: string, cause: unknown): JilianError {
  return new JilianError(`no answer within ${target.timeoutMs} ms`, {
    code: "DLT645_TIMEOUT",
    action: "read",
    remedy:
      "is the meter's address right? Check A/B wires, baud rate and parity (often 2400 8E1); raise timeoutMs if it is slow",
    device: target.device,
    address: addressText(target, dataId),
    status: Status.BadTimeout,
    cause,
  });
}

export function stopped(target: Target): JilianError {
  return new JilianError("stopped", {
    code: "DLT645_STOPPED",
    action: "read",
    remedy: "none: the gateway ends or the device was closed",
    device: target.device,
    address: addressText(target),
    status: Status.BadNotConnected,
  });
}

/** The meter answers, and gives a value for no tag. */
export function nothingReadable(target: Target, reason: Reason): JilianError {
  return new JilianError(`the meter gives none of the values asked for: ${reason.words}`, {
    code: "DLT645_NOTHING_READABLE",
    action: "read",
    remedy: "compare the data identifiers with the meter's manual; is it a meter of 2007, not of 1997?",
    device: target.device,
    address: addressText(target),
    status: reason.status,
  });
}

/** Why a tag is bad: in words, and as the status that its samples carry. */
export type Reason = { readonly words: string; readonly status: number };

/** Bits of the error byte (DL/T 645-2007, annex C: error information word ERR). */
const errorBits = [
  "other error",
  "no such data",
  "wrong password or not authorised",
  "baud rate cannot be changed",
  "too many year zones",
  "too many day zones",
  "too many tariffs",
] as const;
const noSuchData = 0x02;

/** Whether the meter says that it does not have what was asked for: asking again soon is no use. */
export function isMissing(error: number): boolean {
  return (error & noSuchData) !== 0;
}

export function refusal(error: number): Reason {
  const words = errorBits.filter((_, bit) => ((error >>> bit) & 1) === 1).join(", ") || "no reason given";
  const hex = error.toString(16).padStart(2, "0").toUpperCase();
  return {
    words: `refused with ${hex}H (${words})`,
    status: isMissing(error) ? Status.BadNodeIdUnknown : Status.BadDeviceFailure,
  };
}

/** What the tags carry that a meter does not have. */
export const notThere: Reason = refusal(noSuchData);

/** Why bytes that came are no value. */
export function noValue(status: number): Reason {
  const words =
    status === Status.BadSensorFailure ? "the meter has no value (FF, or a sentinel)" : "not the digits of the format";
  return { words, status };
}
