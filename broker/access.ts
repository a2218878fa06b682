import { parseTopic, stateTopic, topicOf } from "@jilian/domain/topics.ts";
import type { Principal } from "@jilian/store/ledger.ts";

/** Why something is refused: a stable code and words for the log. */
export type Refusal = { code: string; reason: string };

/** What of a message the rules look at. */
export type MessageFlags = { qos: number; retain: boolean };
export type Will = MessageFlags & { topic: string };

/** What of a CONNECT the rules look at. */
export type Connect = { clientId: string; clean: boolean; keepaliveS: number; will: Will | undefined };

const gatewayTypes = new Set(["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"]);

const refusal = (code: string, reason: string): Refusal => ({ code, reason });

/**
 * Whether a client with valid credentials may open this session; undefined when it may. The client id is tied to the user name, because
 * MQTT disconnects whoever holds an id when it is used again (MQTT 3.1.1, 3.1.4-2): nobody can push out another.
 */
export function mayConnect(principal: Principal, connect: Connect, keepaliveMaxMs: number): Refusal | undefined {
  const { clientId, clean, keepaliveS, will } = connect;
  if (principal.kind === "api") return refusal("BROKER_API_USER", "users of the data interface have no access to MQTT");
  const suffix = clientId.slice(principal.name.length);
  const own = clientId.startsWith(principal.name) && (suffix === "" || /^-[A-Za-z0-9._-]{1,64}$/.test(suffix));
  if (principal.kind === "gateway" ? clientId !== principal.name : !own) {
    const wanted =
      principal.kind === "gateway" ? `"${principal.name}"` : `"${principal.name}" or "${principal.name}-..."`;
    return refusal("BROKER_CLIENT_ID", `the client id must be ${wanted}`);
  }
  if (!clean) return refusal("BROKER_SESSION_NOT_CLEAN", "only clean sessions: nothing is queued for absent clients");
  if (keepaliveS === 0 || keepaliveS * 1000 > keepaliveMaxMs) {
    return refusal("BROKER_KEEPALIVE", `keep-alive must be 1-${Math.floor(keepaliveMaxMs / 1000)} s`);
  }
  return mayWill(principal, will);
}

/**
 * Whether a will is the one its client may leave (Sparkplug 3.0, 5.4 and 5.14): of a gateway its own NDEATH, without which nobody would
 * learn that it is gone; of a host its own STATE, or none.
 */
export function mayWill(principal: Principal, will: Will | undefined): Refusal | undefined {
  if (principal.kind === "gateway") {
    const topic = topicOf({ group: principal.group, type: "NDEATH", node: principal.node });
    const fits = will?.topic === topic && will.qos === 1 && !will.retain;
    return fits ? undefined : refusal("BROKER_WILL", `the will must be ${topic} with QoS 1, not retained`);
  }
  return will === undefined ? undefined : mayPublish(principal, will.topic, will);
}

/**
 * Whether a client may publish a message. A gateway tells what it is and reads; a host asks nodes (rebirth, commit) and tells its state.
 * DCMD is for nobody: this product writes to no device.
 */
export function mayPublish(principal: Principal, topic: string, flags: MessageFlags): Refusal | undefined {
  const refuse = (reason: string) => refusal("BROKER_PUBLISH_REFUSED", reason);
  if (flags.qos > 1) return refuse("QoS 2 has no place in Sparkplug");
  if (principal.kind === "host" && topic === stateTopic(principal.name)) {
    return flags.retain && flags.qos === 1 ? undefined : refuse("STATE is retained, with QoS 1");
  }
  if (flags.retain) return refuse("only a host's own STATE may be retained");
  const parsed = parseTopic(topic);
  if (!parsed) return refuse("not a topic of a Sparkplug node or device");
  if (principal.kind === "host") {
    return parsed.type === "NCMD" ? undefined : refuse("a host publishes NCMD and its own STATE only");
  }
  if (principal.kind !== "gateway") return refuse("users of the interfaces have no access to MQTT");
  if (parsed.group !== principal.group || parsed.node !== principal.node) return refuse("the topic of another gateway");
  return gatewayTypes.has(parsed.type) ? undefined : refuse(`${parsed.type} is not for gateways to publish`);
}

/**
 * Whether a client may subscribe with a filter. A gateway hears its own commands and the state of hosts: no filter passes that could
 * match a message for another. A host hears all of `spBv1.0`; shared subscriptions are refused because this broker would deliver nothing.
 */
export function maySubscribe(principal: Principal, filter: string): Refusal | undefined {
  const refuse = (reason: string) => refusal("BROKER_SUBSCRIBE_REFUSED", reason);
  const [root, group, type, node, ...rest] = filter.split("/");
  if (root !== "spBv1.0") return refuse("not a filter below spBv1.0");
  if (principal.kind === "host") return undefined;
  if (principal.kind !== "gateway") return refuse("users of the interfaces have no access to MQTT");
  if (group === "STATE" && type !== undefined && node === undefined) return undefined;
  const own = group === principal.group && node === principal.node && (type === "NCMD" || type === "DCMD");
  return own && rest.length <= 1 ? undefined : refuse("a gateway hears its own NCMD and DCMD, and STATE");
}
