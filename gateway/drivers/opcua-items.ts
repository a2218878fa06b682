import type {
  ClientSessionRawSubscriptionService,
  MonitoredItemCreateResult,
  NodeId,
  NotificationMessage,
} from "node-opcua-client";
import type { OpcuaDevice } from "./opcua-config.ts";
import type { OpcuaConnection } from "./opcua-connection.ts";
import type { OpcuaLibrary } from "./opcua-library.ts";
import { type Changes, changesOf } from "./opcua-notification.ts";

/**
 * Monitored items of a subscription (OPC 10000-4, 5.13), known by their tag's position alone. The library's own would be ten objects, two
 * listeners and two events a change for each tag.
 */

type Wanted = {
  readonly subscriptionId: number;
  readonly device: Pick<OpcuaDevice, "samplingIntervalMs" | "queueSize">;
  readonly items: readonly { readonly tag: number; readonly nodeId: NodeId }[];
};

const valueAttribute = 13;
/** Client handles are the positions of tags, counted from here. */
const firstHandle = 1;

/** @returns the server's verdict on each, in their order */
export async function createItems(
  { library, session }: OpcuaConnection,
  { subscriptionId, device, items }: Wanted,
): Promise<readonly MonitoredItemCreateResult[]> {
  const { MonitoringMode, TimestampsToReturn } = library.opcua;
  const { samplingIntervalMs: samplingInterval, queueSize } = device;
  const service = session as unknown as ClientSessionRawSubscriptionService;
  const { results } = await service.createMonitoredItems({
    subscriptionId,
    timestampsToReturn: TimestampsToReturn.Both,
    itemsToCreate: items.map(({ tag, nodeId }) => ({
      itemToMonitor: { nodeId, attributeId: valueAttribute },
      monitoringMode: MonitoringMode.Reporting,
      requestedParameters: { clientHandle: tag + firstHandle, samplingInterval, queueSize, discardOldest: true },
    })),
  });
  return results ?? [];
}

/** The tag of an item. */
export const tagOf = (clientHandle: number): number => clientHandle - firstHandle;

/** Takes the changes out of a notification: left there, the library would look for items of its own, and complain. */
export function takeChanges({ opcua }: OpcuaLibrary, { notificationData }: NotificationMessage): Changes[] {
  const taken: Changes[] = [];
  for (const notification of notificationData ?? []) {
    if (!(notification instanceof opcua.DataChangeNotification)) continue;
    const changes = changesOf(notification);
    notification.monitoredItems = [];
    if (changes.values.length > 0) taken.push(changes);
  }
  return taken;
}
