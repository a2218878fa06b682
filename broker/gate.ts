import { createHmac, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { messageOf } from "@jilian/domain/errors.ts";
import { clonedGateway } from "@jilian/domain/identity.ts";
import { networkOf } from "@jilian/domain/network.ts";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import type { AedesOptions, AuthenticateError, Client, ConnectPacket, PublishPacket } from "aedes";
import type { Logger } from "pino";
import {
  accountOf,
  type EnterpriseOf,
  mayConnect,
  mayForward,
  mayPublish,
  maySubscribe,
  operatorPrefix,
  type Refusal,
  sessionOf,
  topicFault,
} from "./access.ts";
import { stampDeath } from "./aware.ts";
import type { CertificateCheck, Holding } from "./certificates.ts";
import type { BrokerConfig } from "./config.ts";
import { failureBudget, remembered, strangerBudget, takeoverBudget } from "./limits.ts";
import { passedTopics } from "./passed.ts";
import type { Sessions } from "./sessions.ts";
import { secureSocketOf } from "./websocket.ts";

/** Why a gateway that was registered once is not let in, and may not stay. */
export const removedGateway = "it was taken out of the registry";

/** Something that needs a person's eye; fits `ledger.noteFinding`. */
export type BrokerFault = { code: string; subject: string; detail: string };

/** Counts, logs and reports one refusal. */
export type Note = (
  counter: "refusedConnects" | "refusedPublishes" | "refusedSubscribes",
  refusal: Refusal,
  who: { subject: string; address: string; detail?: string },
) => void;

type Hooks = Required<
  Pick<AedesOptions, "preConnect" | "authenticate" | "authorizePublish" | "authorizeSubscribe" | "authorizeForward">
>;

/** The part of Aedes' hooks that decides who comes in and what passes. */
export type Gate = {
  readonly hooks: Hooks;
  readonly principalOf: (client: Client) => Principal | undefined;
  /** Tells that a client has given up a filter. */
  readonly release: (client: Client, filter: string) => void;
  readonly holdingOf: (client: Client) => Holding | undefined;
};

const notAuthorized = 5;
const badCredentials = 4;
/** CONNACK return codes (MQTT 3.1.1, table 3.1). */
const returnCodes: Readonly<Record<string, number>> = {
  BROKER_CLIENT_ID: 2,
  BROKER_TOO_MANY_FAILURES: 3,
  BROKER_CONNECT_RATE: 3,
  BROKER_TOO_MANY_CLIENTS: 3,
  BROKER_LEDGER_FAILED: 3,
  GATEWAY_CLONED: 3,
  BROKER_BAD_CREDENTIALS: badCredentials,
};
/** What a filter counts as, in messages: it costs about as much, an answer, and who listens is found anew for each topic. */
const filterWeight = 5;
/** The same of a kept message that a filter goes through, handed out or not. */
const keptWeight = 0.2;
/** A client that goes on asking for what it may not hear is ended: nobody goes through all names one by one in one session. */
const maxRefusedFilters = 100;
/** Refusals that come before anyone has proved to be whom the name says. */
const unproven = new Set([
  "BROKER_BAD_CREDENTIALS",
  "BROKER_TOO_MANY_FAILURES",
  "BROKER_LEDGER_FAILED",
  "BROKER_CERTIFICATE_FOREIGN",
]);

function refused({ code, reason, returnCode = returnCodes[code] ?? notAuthorized }: Turned): AuthenticateError {
  return Object.assign(new Error(`${code}: ${reason}`), { code, returnCode });
}

export function addressOf(client: Client): string {
  return (client.conn as Partial<Socket>).remoteAddress ?? "unknown";
}

type Deps = {
  ledger: Pick<Ledger, "authenticate" | "accessRevision" | "credentialStamp">;
  log: Logger;
  note: Note;
  sessions: Sessions;
  enterpriseOf: EnterpriseOf;
  /** Whether a gateway, `factory/gateway`, was registered and is not any more. */
  isRemoved: (gateway: string) => boolean;
  now: () => number;
  /** Says whose a subscription is that `run` makes, and which QoS is granted for it. */
  subscribing: (client: Client, granted: { topic: string; qos: number }, run: () => void) => void;
  /** Told of each message that is handed to a client. */
  onDelivered: () => void;
  /** Certificates as identities, where the platform has an authority. */
  certificates: CertificateCheck | undefined;
  /** Whether a client of this id is connected now: another one of the same id pushes it out. */
  isConnected: (clientId: string) => boolean;
  onTakeover: () => void;
};
type LogIn = { name: string; password: string; address: string; packet: ConnectPacket; connection: unknown };
/** `subject`: whom a certificate proved to be there. `returnCode`: where it is not that of the refusal's code. */
type Turned = Refusal & { subject?: string; returnCode?: number };

/** Decides who a client is, or why it is not let in. */
function doorkeeper(config: BrokerConfig, deps: Deps): (logIn: LogIn) => Holding | Turned {
  const { ledger, log, isConnected, onTakeover, sessions, certificates } = deps;
  const failures = failureBudget();
  const strangers = strangerBudget();
  const known = remembered();
  const past = remembered();
  const digestKey = randomBytes(32);
  const takeovers = takeoverBudget();

  /** Of two gateways with one name the one that is there stays when they change places all the time. */
  function mayTakeOver({ kind }: Principal, clientId: string): Refusal | undefined {
    if (kind !== "gateway" || !isConnected(clientId)) return undefined;
    if (!takeovers.isLeft(clientId)) {
      return { code: "GATEWAY_CLONED", reason: clonedGateway };
    }
    takeovers.spend(clientId);
    onTakeover();
    return undefined;
  }

  /** An operator has a key, `name.secret`; who gives the secret alone gives it whole. */
  function secretOf(userName: string, password: string): string {
    const keyStart = `${userName.slice(operatorPrefix.length)}.`;
    return userName.startsWith(operatorPrefix) && password.startsWith(keyStart)
      ? password.slice(keyStart.length)
      : password;
  }

  /** @param revision of the ledger, read before anything is looked up */
  function byPassword({ name: userName, password, address }: LogIn, revision: number): Holding | Turned {
    const network = networkOf(address);
    const { kind, name } = accountOf(userName);
    const stamp = ledger.credentialStamp(kind, name);
    // Who gave the right password before is not held up by what others guess, from the same address or from everywhere.
    const digest = createHmac("sha256", digestKey)
      .update(JSON.stringify([userName, password, stamp]))
      .digest("base64");
    const isHeldUp = !failures.isLeft(network) || !(known.has(network) || strangers.isLeft("all"));
    if (isHeldUp && !past.has(digest)) {
      return {
        code: "BROKER_TOO_MANY_FAILURES",
        reason: "too many failed log-ins; wait some seconds",
      };
    }
    const principal = ledger.authenticate(kind, name, secretOf(userName, password));
    if (principal) {
      known.add(network);
      past.add(digest);
      return { principal, revision, proof: { stamp } };
    }
    failures.spend(network);
    if (!known.has(network)) strangers.spend("all");
    return { code: "BROKER_BAD_CREDENTIALS", reason: "wrong user name or password" };
  }

  function identify(logIn: LogIn): Holding | Turned {
    try {
      const revision = ledger.accessRevision();
      const found = certificates?.identify(logIn.connection, logIn.name);
      if (!found) return byPassword(logIn, revision);
      return "code" in found ? found : { ...found, revision };
    } catch (err) {
      log.error({ err, code: "BROKER_LEDGER_FAILED" }, `cannot check credentials: ${messageOf(err)}`);
      return { code: "BROKER_LEDGER_FAILED", reason: "credentials cannot be checked now" };
    }
  }

  /** Who is not registered any more gets the answer that one gets whom nobody knows; only the log says why. */
  function removal({ principal: { kind, name }, proof }: Holding): Turned | undefined {
    if (kind !== "gateway" || !deps.isRemoved(name)) return undefined;
    return {
      code: "BROKER_GATEWAY_REMOVED",
      reason: removedGateway,
      returnCode: "serial" in proof ? notAuthorized : badCredentials,
    };
  }

  return (logIn) => {
    const found = identify(logIn);
    if ("code" in found) return found;
    const { principal } = found;
    const { clientId, clean = false, keepalive = 0, will } = logIn.packet;
    const willFlags = will && { topic: will.topic, qos: will.qos ?? 0, retain: will.retain ?? false };
    const connect = { clientId, clean, keepaliveS: keepalive, will: willFlags };
    const session = sessionOf(principal, clientId);
    const turned =
      removal(found) ??
      mayConnect(principal, connect, config.keepaliveMaxMs) ??
      mayTakeOver(principal, session) ??
      sessions.mayEnter(principal, session, isConnected(session));
    return turned ? { ...turned, subject: principal.name } : found;
  };
}

/** What one client has subscribed to, for its limit. */
type Filters = { held: Set<string>; refused: number };

/** Decides about filters; beyond the limits, or after too many refusals, the client is ended. */
function filterKeeper(config: BrokerConfig, enterpriseOf: EnterpriseOf) {
  const filters = new WeakMap<Client, Filters>();

  function check(client: Client, principal: Principal, filter: string): { refusal?: Refusal; ends: boolean } {
    const { limits } = config;
    const own = filters.get(client) ?? { held: new Set<string>(), refused: 0 };
    filters.set(client, own);
    const fault = topicFault(filter, limits);
    // MQTT 3.1.1, 1.5.3: ill-formed text ends the connection.
    if (fault) return { refusal: fault, ends: fault.code === "BROKER_TOPIC_INVALID" };
    let refusal = maySubscribe(principal, filter, enterpriseOf);
    if (!refusal && !own.held.has(filter) && own.held.size >= limits.subscriptions)
      refusal = { code: "BROKER_TOO_MANY_SUBSCRIPTIONS", reason: `more than ${limits.subscriptions} filters` };
    if (!refusal) {
      own.held.add(filter);
      return { ends: false };
    }
    own.refused += 1;
    return { refusal, ends: own.refused > maxRefusedFilters };
  }
  return {
    check,
    release: (client: Client, filter: string) => void filters.get(client)?.held.delete(filter),
  };
}

/** @param config in force: its values may change while clients are connected */
export function createGate(config: BrokerConfig, deps: Deps): Gate {
  const { note, sessions, enterpriseOf } = deps;
  const connects = new WeakMap<Client, ConnectPacket>();
  const admitted = new WeakMap<Client, { holding: Holding; passed: ReturnType<typeof passedTopics> }>();
  const principalOf = (client: Client) => admitted.get(client)?.holding.principal;
  const admit = doorkeeper(config, deps);
  const filters = filterKeeper(config, enterpriseOf);

  function checkPublish(client: Client | null, packet: PublishPacket): Refusal | undefined {
    const found = client && admitted.get(client);
    if (!found) return { code: "BROKER_PUBLISH_REFUSED", reason: "no session" };
    if (packet.payload.length > config.maxPayloadBytes) {
      return { code: "BROKER_PAYLOAD_TOO_LARGE", reason: `more than ${config.maxPayloadBytes} bytes` };
    }
    const { passed, holding } = found;
    const isPlain = holding.principal.kind === "gateway" && packet.qos <= 1 && !packet.retain;
    if (isPlain && passed.has(packet.topic)) return undefined;
    const refusal = topicFault(packet.topic, config.limits) ?? mayPublish(holding.principal, packet.topic, packet);
    if (isPlain && !refusal) passed.add(packet.topic);
    return refusal;
  }

  function chargeFilter(client: Client): void {
    for (const meter of sessions.of(client)?.meters ?? []) meter.take(filterWeight, 0);
  }

  const hooks: Hooks = {
    preConnect: (client, packet, done) => {
      connects.set(client, packet);
      done(null, true);
    },
    authenticate: (client, name = "", password, done) => {
      const address = addressOf(client);
      const packet = connects.get(client) as ConnectPacket;
      const found = admit({
        name,
        password: password?.toString() ?? "",
        address,
        packet,
        connection: secureSocketOf(client.conn),
      });
      if ("code" in found) {
        const user = name.slice(0, 130);
        // Names that nobody proved to own are no subjects: a scanner would fill the list of findings.
        const subject = unproven.has(found.code) ? address : (found.subject ?? user);
        note("refusedConnects", found, { subject, address, detail: `user "${user}"` });
        done(refused(found), null);
        return;
      }
      admitted.set(client, { holding: found, passed: passedTopics(() => config.limits) });
      // Aedes knows sessions by this.
      client.id = sessionOf(found.principal, client.id);
      sessions.open(client, found.principal);
      done(null, true);
    },
    authorizePublish: (client, packet, done) => {
      const found = checkPublish(client, packet);
      if (!found) {
        // Between its publisher and here (MQTT 3.1.1, 3.3.1-3); Aedes would pass it on.
        packet.dup = false;
        packet.payload = stampDeath(packet.topic, packet.payload as Buffer, deps.now());
        done(null);
        return;
      }
      const subject = client?.id ?? "";
      // Aedes ends the connection on this error; MQTT 3.1.1 knows no other answer to a PUBLISH that is not allowed (3.3.5).
      note("refusedPublishes", found, {
        subject,
        address: client ? addressOf(client) : "",
        detail: packet.topic.slice(0, 600),
      });
      done(refused(found));
    },
    authorizeSubscribe: (client, subscription, done) => {
      const { topic } = subscription;
      chargeFilter(client);
      const principal = principalOf(client);
      const { refusal, ends } = principal
        ? filters.check(client, principal, topic)
        : { refusal: { code: "BROKER_SUBSCRIBE_REFUSED", reason: "no session" }, ends: true };
      if (refusal)
        note("refusedSubscribes", refusal, {
          subject: client.id,
          address: addressOf(client),
          detail: topic.slice(0, 600),
        });
      if (refusal && ends) done(refused(refusal));
      else if (refusal) done(null, null);
      // Of clean sessions Aedes makes it at once. With the highest QoS, so that it takes nothing off what the emitter gives by all filters
      // of the client; by itself it goes by the one that equals the topic. SUBACK tells what was asked for.
      else deps.subscribing(client, subscription, () => done(null, { ...subscription, qos: 2 }));
    },
    authorizeForward: (client, packet) => {
      const principal = principalOf(client);
      // Retained messages come this way too: a filter over all factories delivers those of the viewer's own enterprise. It pays for all of
      // them, or one who takes such a filter again and again would keep everyone waiting.
      if (packet.retain && principal?.kind === "viewer") sessions.of(client)?.meters[0]?.take(keptWeight, 0);
      if (!principal || !mayForward(principal, packet.topic, enterpriseOf)) return null;
      deps.onDelivered();
      return packet;
    },
  };
  return {
    hooks,
    principalOf,
    holdingOf: (client) => admitted.get(client)?.holding,
    release: (client, filter) => {
      chargeFilter(client);
      filters.release(client, filter);
    },
  };
}
