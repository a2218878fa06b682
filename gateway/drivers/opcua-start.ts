import type { ClientSession, ClientSubscription, ClientSubscriptionOptions } from "node-opcua-client";
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
