import type { Exchange, Overheard } from "./line.ts";

/** An answer to another master's request does not come this long after its request any more, ms. */
const foreignAnswerMs = 1000;
/** Some frames; of a line on which others talk while we are silent for long, the last ones. */
const mostHeard = 1024;
const nothing = Buffer.alloc(0);
const silence: Overheard = { requests: 0, isAwaiting: false };

/** Without the first such bytes in them, wherever they are: in front of an echo an adapter may hear its own switching. */
function without(bytes: Buffer, own: Buffer): Buffer {
  const at = own.length === 0 ? -1 : bytes.indexOf(own);
  return at < 0 ? bytes : Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + own.length)]);
}

/**
 * What others say on a line: a second master behind a converter that serves several, or on the wires themselves. Its requests are counted,
 * and what was heard since the exchange before is kept, because an answer to it may come behind our next request.
 * @param onRequests told when some were heard, with their number
 */
export function createOverhearing(onRequests: (requests: number) => void) {
  let heard: Buffer = nothing;
  let heardAtMs = Number.NEGATIVE_INFINITY;
  /** Our request of which no echo has come, and no answer either: on two wires many adapters hear themselves, and a network is late. */
  let unheard: Buffer = nothing;
  const isRecent = () => performance.now() - heardAtMs < foreignAnswerMs;
  const read = ({ overheard }: Exchange, bytes: Buffer): Overheard => overheard?.(bytes) ?? silence;

  /** Bytes that came while nobody was asked, or behind the answer. */
  function hear(chunk: Buffer): void {
    const all = Buffer.concat([heard, chunk]);
    heard = all.subarray(Math.max(0, all.length - mostHeard));
    heardAtMs = performance.now();
  }

  function count(asked: Exchange, bytes: Buffer): void {
    const { requests } = read(asked, bytes);
    if (requests > 0) onRequests(requests);
  }

  return {
    hear,
    /** Whether another master has asked just now, so that a request of ours would meet the answer. */
    isAwaiting: (asked: Exchange): boolean => isRecent() && read(asked, without(heard, unheard)).isAwaiting,
    /** An exchange begins. @returns what was heard so shortly before that answers to it may come yet */
    begin(asked: Exchange): Buffer {
      const others = without(heard, unheard);
      count(asked, others);
      heard = nothing;
      return isRecent() ? others : nothing;
    },
    /** It has ended. @param frame its answer, where it has one among all that was received */
    end(asked: Exchange, received: Buffer, frame: Buffer | undefined): void {
      const { request } = asked;
      if (frame === undefined) {
        const others = without(received, request);
        unheard = others === received ? request : nothing;
        if (others.length > 0) hear(others);
        return;
      }
      unheard = nothing;
      // A packet of the box may lie within it, and it is nowhere as a whole then.
      const at = received.indexOf(frame);
      count(asked, without(at < 0 ? nothing : received.subarray(0, at), request));
      const behind = at < 0 ? nothing : received.subarray(at + frame.length);
      if (behind.length > 0) hear(behind);
    },
  };
}
