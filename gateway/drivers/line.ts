/**
 * A half-duplex line that several devices share: RS-485 behind a serial port, behind a converter on TCP, or behind a box that dials in.
 * One exchange at a time; a device that stays silent costs the others no more than its own time-out, and not at every turn.
 */
export type Line = {
  /**
   * Writes a request and waits for its answer. Exchanges of different devices take turns.
   * @returns the answer's frame as `find` gave it
   * @throws JilianError with the code of what failed: the line could not be opened or was lost, the time-out passed, the signal aborted
   */
  readonly exchange: (asked: Exchange) => Promise<Buffer>;
  /** Ends the line at once; exchanges under way fail. */
  readonly close: () => Promise<void>;
};

export type Exchange = {
  /** Whose turn this is: the id of the device. */
  readonly device: string;
  readonly request: Buffer;
  /** From the last byte of the request to the last byte of the answer, ms. */
  readonly timeoutMs: number;
  /** Whether the device was silent before and is only looked for: then it has less time, as much as answers take on this line (line-probe.ts). */
  readonly isProbe?: boolean;
  readonly signal: AbortSignal;
  /**
   * Looks for the answer among all bytes received since the request was written. What is in front of it is foreign: a late answer to
   * another request, an echo of the request, noise. Must be pure, and bounded by the length of what it is given.
   * @param heard what came shortly before the request: another master may have asked there, and its answer come behind ours
   * @returns the answer's frame; undefined while it may still come
   */
  readonly find: (received: Buffer, heard: Buffer) => Buffer | undefined;
  /** Whether an answer only tells, from in front of the device, that it does not answer. */
  readonly isAway?: (frame: Buffer) => boolean;
  /** What others ask among bytes that came; absent where the protocol does not tell. As pure and bounded. */
  readonly overheard?: (bytes: Buffer) => Overheard;
};

/** Requests of another master, and whether the last whole frame is one whose answer is to come. */
export type Overheard = { readonly requests: number; readonly isAwaiting: boolean };
