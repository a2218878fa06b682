/** For the tests of what is retained: messages, and what a filter stands for by an implementation of its own. */
import type { AedesPublishPacket } from "aedes";

/** A message that is to be retained. */
export const packetOf = (topic: string, text: string): AedesPublishPacket => ({
  ...{ cmd: "publish", topic, payload: Buffer.from(text), qos: 0, retain: true, dup: false },
  ...{ brokerId: "b", brokerCounter: 1 },
});

/** Whether a filter stands for a topic, both by their levels: MQTT 3.1.1, 4.7.1 and 4.7.2-1. */
export function matches(filter: readonly string[], topic: readonly string[], at = 0): boolean {
  const [first, ...rest] = filter;
  const isWild = first === "#" || first === "+";
  if (isWild && at === 0 && topic[0]?.startsWith("$")) return false;
  if (first === "#") return true;
  if (first === undefined || topic.length === 0) return first === undefined && topic.length === 0;
  return (first === "+" || first === topic[0]) && matches(rest, topic.slice(1), at + 1);
}
