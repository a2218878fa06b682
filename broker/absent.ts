import type { Aedes } from "aedes";

/**
 * Tells Aedes that nobody is absent: only clean sessions are let in (access.ts, BROKER_SESSION_NOT_CLEAN), so there is no queue for whom a
 * message with QoS 1 would have to be looked up and stored before it goes on.
 */
export function queueForNobody(aedes: Aedes): void {
  const [nobody, nothing] = [Promise.resolve([]), Promise.resolve()];
  // Its types leave this out.
  const { persistence } = aedes as unknown as { persistence: object };
  Object.assign(persistence, { subscriptionsByTopic: () => nobody, outgoingEnqueueCombi: () => nothing });
}
