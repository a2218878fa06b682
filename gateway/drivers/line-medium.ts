import { setTimeout as sleep } from "node:timers/promises";
import type { Ways } from "./line-ways.ts";

/** What a line lies on: bytes out, bytes in, and the news that it is gone. Which bytes belong together is the line's affair. */
export type Port = {
  /** Never throws: a port that cannot be written is lost, and says so. */
  readonly write: (bytes: Buffer) => void;
  /** Callable twice; nothing is told afterwards. */
  readonly close: () => void;
};

export type PortEvents = {
  readonly onData: (chunk: Buffer) => void;
  /** Once, and nothing after it. @param cause why, where the system or we know */
  readonly onLost: (cause?: unknown) => void;
};

export type Opening = {
  readonly events: PortEvents;
  /** Of the opening; another medium that has to wait for its other side waits so long. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

export type Medium = {
  /** Where it is now, for people: `/dev/ttyUSB0`, `192.168.1.7:8899`, `box on port 9000`. */
  readonly endpoint: () => string;
  /** Opens it anew. @throws an error of the system, which the line puts into words, or a JilianError with code and remedy of its own */
  readonly open: (opening: Opening) => Promise<Port>;
  /** Whether a port that stays altogether silent is opened anew: its other side may have forgotten it without a word. */
  readonly reopensSilent: boolean;
  /**
   * Whether its other side ends a port that is not used, as most do after some quiet time. That is no news, and a request that was written
   * while the end was on its way is written once more.
   */
  readonly endsIdle: boolean;
  /** Whether its other side may keep requests and serve one after the other: then one that was given up may hold up the next. */
  readonly servesInTurn: boolean;
  /** Time of one character on the wire, ms; 0 where it is not known. */
  readonly characterMs: number;
  /** Silence that ends a frame, ms. */
  readonly quietMs: number;
  readonly turnaroundMs: number;
  /** Packets of the box itself, which it puts between the bytes of the line: heartbeat, registration. */
  readonly interjections: readonly Buffer[];
  /** Waits until nothing is asked by another way to the same line (line-ways.ts); absent where there is none. */
  readonly alone?: (signal: AbortSignal) => ReturnType<Ways["take"]>;
  /** How often another side came while one was there; absent where none comes by itself. */
  readonly takeovers?: () => number;
  readonly close: () => Promise<void>;
};

/**
 * The same, listened to before it is used: what comes meanwhile is nobody's answer, and the line throws it away.
 * @param untilMs asked as it is open; machine time, past where there is nothing to wait for
 */
export function listenedTo(medium: Medium, untilMs: () => number): Medium {
  return {
    ...medium,
    async open(opening) {
      const port = await medium.open(opening);
      const waitMs = untilMs() - performance.now();
      if (waitMs > 0) await pause(Math.ceil(waitMs), opening.signal);
      return port;
    },
  };
}

/** Waits; an abort ends the wait early and is no error. */
export async function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  await sleep(waitMs, undefined, { signal }).catch(() => undefined);
}
