import { topicOf } from "@jilian/domain/topics.ts";

/** What the broker's clients and the platform under load have to agree on. */
export const gatewayOf = { group: "bench", node: "gw-1", name: "bench/gw-1" } as const;
export const secret = "secret of the bench";
export const topic = topicOf({ group: gatewayOf.group, type: "NCMD", node: gatewayOf.node });

/** So many messages, one after the other. */
export type Measure = { messages: number; everyMs: number };
