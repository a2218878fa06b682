import type { Socket } from "node:net";
import type { ClientSession, ClientSubscription, ClientSubscriptionOptions, OPCUAClient } from "node-opcua-client";
import type { OpcuaLibrary } from "./opcua-library.ts";

/**
 * Makes a subscription. Not by `createSubscription2` of the session: a callback of that asserts that the session still is there, and where it
 * ended just then, what is thrown ends the process, for nobody can catch it.
 */
export function startSubscription(
  { opcua }: OpcuaLibrary,
  session: ClientSession,
  options: ClientSubscriptionOptions,
): Promise<ClientSubscription> {
  const { promise, resolve, reject } = Promise.withResolvers<ClientSubscription>();
  const subscription = opcua.ClientSubscription.create(session, options);
  // For ever: an "error" that nobody listens to is thrown.
  subscription.on("error", reject);
  subscription.once("started", () => resolve(subscription));
  return promise;
}

/**
 * Has the library leave structures as they come; the gateway takes none. It would ask the server for all of its types as soon as one comes:
 * that keeps back the values that came with it, and a fault there ends the process, for the library has nobody catch it.
 */
export function leaveStructures({ opcua }: OpcuaLibrary, session: ClientSession): void {
  // Where the library keeps the types of a session once they are known.
  Object.assign(session, { $$extraDataTypeManager: new opcua.ExtraDataTypeManager() });
}

/** The part of a client through which all of its requests go, also those of a repair; and the socket, which ends when it is idle for long. */
type Asking = {
  performMessageTransaction: (request: object, done: (thrown: Error | null, response?: object) => void) => void;
  readonly _secureChannel?: {
    readonly getTransport: () =>
      | { readonly timeout: number; readonly _socket?: Pick<Socket, "setTimeout"> }
      | undefined;
  };
};

/** After so long the server is not waited for any more; it forgets what it makes for nobody by itself, after the session's time-out. */
const lateSessionMs = 10_000;

/**
 * Has sessions that a server makes be known however late it tells of them: the library forgets one with the time-out of its request, or of
 * the socket, and a client that leaves meanwhile cannot take it back. It would keep its place, of which servers have few, until it times out there.
 * @returns waits until none is being made, for ten seconds beyond the time-out of a request at most: by then the client knows it
 */
export function knowSessions({ opcua }: OpcuaLibrary, client: OPCUAClient, timeoutMs: number): () => Promise<void> {
  const asked = new Set<Promise<void>>();
  const asking = client as unknown as Asking;
  const perform = asking.performMessageTransaction.bind(client);
  asking.performMessageTransaction = (request, done) => {
    if (!(request instanceof opcua.CreateSessionRequest)) return perform(request, done);
    const { promise, resolve } = Promise.withResolvers<void>();
    asked.add(promise);
    const transport = asking._secureChannel?.getTransport();
    request.requestHeader.timeoutHint = timeoutMs + lateSessionMs;
    transport?._socket?.setTimeout(timeoutMs + lateSessionMs);
    return perform(request, (...outcome) => {
      transport?._socket?.setTimeout(transport.timeout);
      asked.delete(promise);
      try {
        done(...outcome);
      } finally {
        resolve();
      }
    });
  };
  return async () => void (await Promise.all(asked));
}
