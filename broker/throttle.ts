import type { Duplex } from "node:stream";

/** What comes back in a second; as much may be taken at once. */
export type Rate = { messagesPerSecond: number; bytesPerSecond: number };

/** A shared account of what was taken: of one client, or of all of an enterprise. */
export type Meter = {
  /** Takes what came, even beyond what is there. */
  readonly take: (messages: number, bytes: number) => void;
  /** How long until what was taken is there again, ms; 0 when nothing is owed. */
  readonly owedMs: () => number;
};

/** One piece of the network can hold 30,000 of the smallest packets: nobody is held up longer for that. */
const longestDebtS = 10;

/** @param rate asked each time: it may change while clients are connected */
export function createMeter(rate: () => Rate, nowMs: () => number = () => performance.now()): Meter {
  let [messages, bytes] = [rate().messagesPerSecond, rate().bytesPerSecond];
  let atMs = nowMs();

  function refill(): Rate {
    const now = rate();
    const elapsedS = (nowMs() - atMs) / 1000;
    atMs = nowMs();
    messages = Math.min(now.messagesPerSecond, messages + elapsedS * now.messagesPerSecond);
    bytes = Math.min(now.bytesPerSecond, bytes + elapsedS * now.bytesPerSecond);
    return now;
  }
  return {
    take: (moreMessages, moreBytes) => {
      refill();
      const { messagesPerSecond, bytesPerSecond } = rate();
      messages = Math.max(messages - moreMessages, -longestDebtS * messagesPerSecond);
      bytes = Math.max(bytes - moreBytes, -longestDebtS * bytesPerSecond);
    },
    owedMs: () => {
      const { messagesPerSecond, bytesPerSecond } = refill();
      return 1000 * Math.max(0, -messages / messagesPerSecond, -bytes / bytesPerSecond);
    },
  };
}

/** Below this a pause costs more than it saves: timers are no finer. */
const leastPauseMs = 2;
/** A pause is looked at again after this: the rate may have changed, or others of the enterprise were quicker. */
const longestPauseMs = 1000;

/**
 * Reads a connection more slowly once its client has taken more than its share: what it sends then waits in its own buffers and those of
 * the network, and nobody else is held up. Call it after Aedes has taken the socket, which reads by `read()` on `readable`; give what
 * came with each chunk to the function returned.
 * @param meters of the client and of its enterprise, once it is accepted
 * @param onPause told the place in `meters` of the one that is used up most
 */
export function throttle(
  socket: Duplex,
  meters: () => readonly Meter[],
  onPause: (meter: number) => void,
): (messages: number, bytes: number) => void {
  const read = socket.read.bind(socket);
  let timer: NodeJS.Timeout | undefined;
  socket.once("close", () => clearTimeout(timer));

  function owed(): { ms: number; of: number } {
    let most = { ms: 0, of: 0 };
    for (const [of, meter] of meters().entries()) {
      const ms = meter.owedMs();
      if (ms > most.ms) most = { ms, of };
    }
    return most;
  }
  function pause(ms: number): void {
    timer = setTimeout(
      () => {
        timer = undefined;
        // Aedes reads on `readable`; when others of the enterprise were quicker, that read pauses again.
        if (!socket.destroyed) socket.emit("readable");
      },
      Math.min(ms, longestPauseMs),
    );
  }
  socket.read = (size?: number) => {
    if (timer !== undefined) return null;
    const { ms, of } = owed();
    if (ms <= leastPauseMs || socket.destroyed) return read(size);
    onPause(of);
    pause(ms);
    return null;
  };
  return (messages, bytes) => {
    for (const meter of meters()) meter.take(messages, bytes);
  };
}
