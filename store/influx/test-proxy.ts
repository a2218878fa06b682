import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** An answer that the server behind does not give, as it was recorded of another or stands in its documentation. */
export type Told = { status: number; headers?: Record<string, string>; body?: string };
/** What a proxy does with a request: pass it on; lose it; pass it on and lose the answer; keep it back until `release`; answer itself. */
export type Fate = "pass" | "lose" | "lose answer" | "hold" | Told;
export type Seen = { method: string; path: string; headers: IncomingMessage["headers"]; body: string };

export type FaultProxy = {
  readonly url: string;
  /** Decides about every request from now on; a promise keeps it waiting, as a slow server does. */
  readonly decide: (fate: (seen: Seen) => Fate | Promise<Fate>) => void;
  /** Requests that are kept back. */
  readonly held: () => number;
  /** Passes on what was kept back, as a network does that delivers late; resolves when the server has answered. */
  readonly release: () => Promise<void>;
  readonly close: () => Promise<void>;
};

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The answer of the server behind to a request. */
async function forward(target: string, incoming: IncomingMessage, body: Buffer) {
  const outgoing = request(`${target}${incoming.url}`, { method: incoming.method, headers: incoming.headers });
  outgoing.end(body);
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  return { status: answer.statusCode ?? 500, headers: answer.headers, body: await readBody(answer) };
}

/** A real HTTP proxy before an InfluxDB, for what networks and kills do to requests. */
export async function startProxy(target: string): Promise<FaultProxy> {
  let fateOf: (seen: Seen) => Fate | Promise<Fate> = () => "pass";
  const held: (() => Promise<unknown>)[] = [];

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await readBody(incoming);
    const { method = "GET", url: path = "/", headers } = incoming;
    const fate = await fateOf({ method, path, headers, body: body.toString("utf8") });
    if (fate === "hold") {
      held.push(() => forward(target, incoming, body));
      return;
    }
    if (fate === "lose") {
      incoming.socket.destroy();
      return;
    }
    if (typeof fate === "object") {
      outgoing.writeHead(fate.status, fate.headers).end(fate.body);
      return;
    }
    const answer = await forward(target, incoming, body);
    if (fate === "lose answer") incoming.socket.destroy();
    else outgoing.writeHead(answer.status, answer.headers).end(answer.body);
  }

  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    decide: (fate) => {
      fateOf = fate;
    },
    held: () => held.length,
    release: async () => void (await Promise.all(held.splice(0).map((send) => send()))),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
