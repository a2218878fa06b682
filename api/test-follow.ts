/** Clients of streams for the tests of this room, over real sockets. */

export type StreamEvent = { id?: string; event: string; data: string };

export type Follower = {
  readonly events: StreamEvent[];
  readonly text: () => string;
  readonly status: number;
  readonly headers: Headers;
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>;
  readonly leave: () => void;
};

/** Opens a stream and collects what comes. */
export async function followStream(url: string, headers: Record<string, string>): Promise<Follower> {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  const events: StreamEvent[] = [];
  let text = "";
  const read = async () => {
    if (!response.body) return;
    let rest = "";
    for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
      text += part;
      rest += part;
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const fields = block.split("\n").map((line) => line.split(/: ?(.*)/s) as [string, string]);
        const of = (name: string) => fields.find(([field]) => field === name)?.[1];
        const [id, data] = [of("id"), of("data")];
        if (data !== undefined) events.push({ ...(id !== undefined && { id }), event: of("event") ?? "message", data });
      }
    }
  };
  const ended = read().catch(() => undefined);
  return {
    events,
    text: () => text,
    status: response.status,
    headers: response.headers,
    ended,
    leave: () => abort.abort(),
  };
}
