import { parseTopic, stateTopic, topicOf } from "@jilian/domain/topics.ts";
import type { Principal } from "@jilian/store/ledger.ts";

/** Why something is refused: a stable code and words for the log. Clients never see the words. */
export type Refusal = { code: string; reason: string };

/** What of a message the rules look at. */
export type MessageFlags = { qos: number; retain: boolean };
export type Will = MessageFlags & { topic: string };

/** What of a CONNECT the rules look at. */
export type Connect = { clientId: string; clean: boolean; keepaliveS: number; will: Will | undefined };

/** Whose a factory is, by the registry in force; undefined for one that is not registered: no viewer sees it. */
export type EnterpriseOf = (factory: string) => string | undefined;

export type TopicLimits = { topicBytes: number; topicLevels: number };

const root = "spBv1.0";
/** Where a Sparkplug aware server keeps births (Sparkplug 3.0, 10.1: tck-id-conformance-mqtt-aware-nbirth-mqtt-topic). */
export const certificatePrefix = "$sparkplug/certificates/";
const rootPrefix = `${root}/`;
const statePrefix = `${root}/STATE/`;
/** An operator's user name over MQTT: the prefix keeps it apart from a host of the same name. */
export const operatorPrefix = "operator:";

/** What a node tells of itself and its devices. */
const tellingTypes: ReadonlySet<string> = new Set(["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"]);
const commandTypes: ReadonlySet<string> = new Set(["NCMD", "DCMD"]);

const refusal = (code: string, reason: string): Refusal => ({ code, reason });

/** What kind of account a user name is of, and its name there: told by its form alone, so that each log-in costs one check. */
export function accountOf(userName: string): { kind: "gateway" | "viewer" | "operator" | "host"; name: string } {
  if (userName.startsWith(operatorPrefix)) return { kind: "operator", name: userName.slice(operatorPrefix.length) };
  if (userName.includes("/")) return { kind: "gateway", name: userName };
  return { kind: userName.includes("@") ? "viewer" : "host", name: userName };
}

/** The user name of an account over MQTT, which its client ids begin with. */
export function userNameOf({ kind, name }: Pick<Principal, "kind" | "name">): string {
  return kind === "operator" ? `${operatorPrefix}${name}` : name;
}

/**
 * Which session of the broker a client id is. Names may hold dashes: `wall@ea` with `wall@ea-north` is another client than the account
 * `wall@ea-north`, so that neither takes the other's place. No name and no suffix has a blank.
 */
export function sessionOf(principal: Pick<Principal, "kind" | "name">, clientId: string): string {
  const userName = userNameOf(principal);
  return clientId === userName ? clientId : `${userName} ${clientId.slice(userName.length)}`;
}

/**
 * Whether a client with valid credentials may open this session; undefined when it may. The client id is tied to the user name, because
 * MQTT disconnects whoever holds an id when it is used again (MQTT 3.1.1, 3.1.4-2): nobody can push out another.
 */
export function mayConnect(principal: Principal, connect: Connect, keepaliveMaxMs: number): Refusal | undefined {
  const { clientId, clean, keepaliveS, will } = connect;
  if (principal.kind === "api") return refusal("BROKER_API_USER", "users of the data interface have no access to MQTT");
  const userName = userNameOf(principal);
  const suffix = clientId.slice(userName.length);
  const own = clientId.startsWith(userName) && (suffix === "" || /^-[A-Za-z0-9._-]{1,64}$/.test(suffix));
  if (principal.kind === "gateway" ? clientId !== userName : !own) {
    const wanted = principal.kind === "gateway" ? `"${userName}"` : `"${userName}" or "${userName}-..."`;
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
 * learn that it is gone; of a host its own STATE, or none; of all others none. It is checked as a message again when it is published.
 */
export function mayWill(principal: Principal, will: Will | undefined): Refusal | undefined {
  if (principal.kind === "gateway") {
    const topic = topicOf({ group: principal.group, type: "NDEATH", node: principal.node });
    const fits = will?.topic === topic && will.qos === 1 && !will.retain;
    return fits ? undefined : refusal("BROKER_WILL", `the will must be ${topic} with QoS 1, not retained`);
  }
  if (will === undefined) return undefined;
  if (principal.kind !== "host" || will.topic !== stateTopic(principal.name))
    return refusal("BROKER_WILL", "a host's own STATE is the only will that others than gateways may leave");
  return mayPublish(principal, will.topic, will);
}

/**
 * Whether a topic or filter is one that MQTT knows (3.1.1, 1.5.3: well-formed UTF-8 without U+0000) and within the limits. What was not
 * UTF-8 has U+FFFD in its place by now; no id of Sparkplug needs that character.
 */
export function topicFault(topic: string, { topicBytes, topicLevels }: TopicLimits): Refusal | undefined {
  if (topic.includes("\uFFFD") || topic.includes("\0"))
    return refusal("BROKER_TOPIC_INVALID", "a topic is UTF-8 without U+0000 and U+FFFD");
  // No character has more than 3 bytes in UTF-8 for each of its units here.
  if (topic.length * 3 > topicBytes && Buffer.byteLength(topic) > topicBytes)
    return refusal("BROKER_TOPIC_TOO_LONG", `a topic has ${topicBytes} bytes at most`);
  let levels = 1;
  for (let at = topic.indexOf("/"); at >= 0; at = topic.indexOf("/", at + 1)) levels += 1;
  return levels > topicLevels
    ? refusal("BROKER_TOPIC_TOO_LONG", `a topic has ${topicLevels} levels at most`)
    : undefined;
}

/**
 * Whether a client may publish a message. A gateway tells what it is and reads; a host asks nodes (rebirth, commit) and tells its state.
 * DCMD is for nobody: this product writes to no device.
 */
export function mayPublish(principal: Principal, topic: string, flags: MessageFlags): Refusal | undefined {
  const refuse = (reason: string) => refusal("BROKER_PUBLISH_REFUSED", reason);
  if (principal.kind !== "gateway" && principal.kind !== "host") return refuse("this account only reads");
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
  if (parsed.group !== principal.group || parsed.node !== principal.node) return refuse("the topic of another gateway");
  return tellingTypes.has(parsed.type) ? undefined : refuse(`${parsed.type} is not for gateways to publish`);
}

/** Levels of a filter below `spBv1.0`, be it that of messages or of kept births. */
function sparkplugLevels(filter: string): { levels: string[]; isKept: boolean } | undefined {
  const isKept = filter.startsWith(certificatePrefix);
  const [first, ...levels] = (isKept ? filter.slice(certificatePrefix.length) : filter).split("/");
  if (first === root) return { levels, isKept };
  // Below the births kept there is `spBv1.0` only.
  return isKept && levels.length === 0 && first === "#" ? { levels: ["#"], isKept } : undefined;
}

const isState = ([group, host, ...rest]: readonly string[]) =>
  group === "STATE" && host !== undefined && rest.length === 0;

/** Filters of a viewer: its own factories by name, or all of them; then it hears of those that are its enterprise's. */
function viewerFilter(enterprise: string, [group = "", type = ""]: readonly string[], enterpriseOf: EnterpriseOf) {
  if (group === "#") return true;
  if (group !== "+" && enterpriseOf(group) !== enterprise) return false;
  return type === "#" || type === "+" || tellingTypes.has(type);
}

/**
 * Whether a client may subscribe with a filter. A gateway hears its own commands and the state of hosts: no filter passes that could
 * match a message for another. A host hears all of `spBv1.0`, a viewer what its enterprise's nodes tell, an operator `$SYS`. What is
 * refused does not depend on what exists. Shared subscriptions are refused because this broker would deliver nothing.
 */
export function maySubscribe(principal: Principal, filter: string, enterpriseOf: EnterpriseOf): Refusal | undefined {
  const refuse = (reason: string) => refusal("BROKER_SUBSCRIBE_REFUSED", reason);
  if (principal.kind === "operator")
    return filter.startsWith("$SYS/") ? undefined : refuse("an operator's account hears $SYS alone");
  const found = sparkplugLevels(filter);
  if (!found) return refuse("not a filter below spBv1.0");
  const { levels, isKept } = found;
  if (principal.kind === "host") return undefined;
  if (principal.kind === "viewer") {
    const passes = (!isKept && isState(levels)) || viewerFilter(principal.enterprise, levels, enterpriseOf);
    return passes ? undefined : refuse("a viewer hears what nodes of its enterprise tell, and STATE");
  }
  if (principal.kind !== "gateway" || isKept) return refuse("not for this account");
  if (isState(levels)) return undefined;
  const [group, type = "", node, ...rest] = levels;
  const own = group === principal.group && node === principal.node && commandTypes.has(type);
  return own && rest.length <= 1 ? undefined : refuse("a gateway hears its own NCMD and DCMD, and STATE");
}

/**
 * Whether a message may be handed to a client that has a filter for it, retained ones too. Asked for every message and client: the last
 * word, whatever a filter let through, and by the registry as it is then.
 */
export function mayForward(principal: Principal, topic: string, enterpriseOf: EnterpriseOf): boolean {
  const { kind } = principal;
  if (kind === "host") return topic.startsWith(rootPrefix) || topic.startsWith(certificatePrefix);
  if (kind === "operator") return topic.startsWith("$SYS/");
  if (kind === "api") return false;
  if (topic.startsWith(statePrefix)) return true;
  const isKept = topic.startsWith(certificatePrefix);
  const parsed = parseTopic(isKept ? topic.slice(certificatePrefix.length) : topic);
  if (!parsed) return false;
  if (kind === "viewer") return tellingTypes.has(parsed.type) && enterpriseOf(parsed.group) === principal.enterprise;
  return !isKept && commandTypes.has(parsed.type) && parsed.group === principal.group && parsed.node === principal.node;
}
