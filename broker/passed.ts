import type { TopicLimits } from "./access.ts";

/** Topics of each gateway that are remembered as its own: some of a gateway with many devices. */
const maxPassedTopics = 256;

/**
 * Topics that a gateway was allowed to publish to. What is allowed to it with QoS 0 or 1, not retained, does not change while it is
 * connected, but for the limits of topics: with others nothing is remembered any more.
 */
export function passedTopics(limits: () => TopicLimits) {
  let { topicBytes, topicLevels } = limits();
  const topics = new Set<string>();
  return {
    has: (topic: string): boolean => {
      const now = limits();
      if (now.topicBytes !== topicBytes || now.topicLevels !== topicLevels) {
        topics.clear();
        ({ topicBytes, topicLevels } = now);
      }
      return topics.has(topic);
    },
    add: (topic: string): void => {
      if (topics.size >= maxPassedTopics) topics.clear();
      topics.add(topic);
    },
  };
}
