/** Sparkplug B message types (Sparkplug 3.0, 4.1.2). STATE has a topic of its own. */
export type MessageType = "NBIRTH" | "NDEATH" | "NDATA" | "NCMD" | "DBIRTH" | "DDEATH" | "DDATA" | "DCMD";

export type SparkplugTopic = { group: string; type: MessageType; node: string; device?: string };

const prefix = "spBv1.0";
const nodeTypes = new Set<string>(["NBIRTH", "NDEATH", "NDATA", "NCMD"]);
const deviceTypes = new Set<string>(["DBIRTH", "DDEATH", "DDATA", "DCMD"]);

/** `spBv1.0/{group}/{type}/{node}[/{device}]` (Sparkplug 3.0, 4.1). */
export function topicOf({ group, type, node, device }: SparkplugTopic): string {
  return device === undefined ? `${prefix}/${group}/${type}/${node}` : `${prefix}/${group}/${type}/${node}/${device}`;
}

/** Reads a topic; undefined when it is not one of a node or a device. */
export function parseTopic(topic: string): SparkplugTopic | undefined {
  const [root, group, type, node, device, ...rest] = topic.split("/");
  if (root !== prefix || !group || !type || !node || rest.length > 0) return undefined;
  if (nodeTypes.has(type)) return device === undefined ? { group, type: type as MessageType, node } : undefined;
  if (deviceTypes.has(type)) return device ? { group, type: type as MessageType, node, device } : undefined;
  return undefined;
}

/** Where a host application tells its state (Sparkplug 3.0, 5.6). */
export function stateTopic(hostId: string): string {
  return `${prefix}/STATE/${hostId}`;
}

/** Everything that nodes and devices publish. */
export const allNodesFilter = `${prefix}/#`;
/** Names of metrics with a meaning of their own. */
export const nodeControl = "Node Control/";
export const rebirthMetric = `${nodeControl}Rebirth`;
export const bdSeqMetric = "bdSeq";
/** The commit notice: declared in NBIRTH, written by NCMD. See commit.ts. */
export const commitMetric = "Jilian/Commit";
