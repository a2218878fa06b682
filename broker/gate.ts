import type { Socket } from "node:net";
import { messageOf } from "@jilian/domain/errors.ts";
import { clonedGateway } from "@jilian/domain/identity.ts";
import type { Ledger, Principal } from "@jilian/store/ledger.ts";
import type { AedesOptions, AuthenticateError, Client, ConnectPacket, PublishPacket } from "aedes";
import type { Logger } from "pino";
import { mayConnect, mayPublish, maySubscribe, type Refusal } from "./access.ts";
import type { CertificateCheck, Holding } from "./certificates.ts";
import type { BrokerConfig } from "./config.ts";
import { failureBudget, takeoverBudget } from "./limits.ts";

/** Something that needs a person's eye; fits `ledger.noteFinding`. */
export type BrokerFault = { code: string; subject: string; detail: string };

/** Counts, logs and reports one refusal. */
export type Note = (
  counter: "refusedConnects" | "refusedPublishes" | "refusedSubscribes",
  refusal: Refusal,
  who: { subject: string; address: string; detail?: string },
) => void;

type Hooks = Required<Pick<AedesOptions, "preConnect" | "authenticate" | "authorizePublish" | "authorizeSubscribe">>;

/** The part of Aedes' hooks that decides who comes in and what passes. */
export type Gate = {
  readonly hooks: Hooks;
  readonly principalOf: (client: Client) => Principal | undefined;
  readonly holdingOf: (client: Client) => Holding | undefined;
};

/** CONNACK return codes (MQTT 3.1.1, table 3.1). */
const returnCodes: Readonly<Record<string, number>> = {
  BROKER_CLIENT_ID: 2,
  BROKER_TOO_MANY_FAILURES: 3,
  BROKER_LEDGER_FAILED: 3,
  GATEWAY_CLONED: 3,
  BROKER_BAD_CREDENTIALS: 4,
};
const notAuthorized = 5;
/** Refusals that come before anyone has proved to be whom the name says. */
const unproven = new Set([
  "BROKER_BAD_CREDENTIALS",
  "BROKER_TOO_MANY_FAILURES",
  "BROKER_LEDGER_FAILED",
  "BROKER_CERTIFICATE_FOREIGN",
]);

function refused({ code, reason }: Refusal): AuthenticateError {
  return Object.assign(new Error(`${code}: ${reason}`), { code, returnCode: returnCodes[code] ?? notAuthorized });
}

export function addressOf(client: Client): string {
  return (client.conn as Socket).remoteAddress ?? "unknown";
}

type Deps = {
  ledger: Pick<Ledger, "authenticate" | "accessRevision" | "credentialStamp">;
  log: Logger;
  note: Note;
  /** Certificates as identities, where the platform has an authority. */
  certificates: CertificateCheck | undefined;
  /** Whether a client of this id is connected now: another one of the same id pushes it out. */
  isConnected: (clientId: string) => boolean;
  onTakeover: () => void;
};
type LogIn = { name: string; password: string; address: string; packet: ConnectPacket; connection: unknown };
/** `subject`: whom a certificate proved to be there. */
type Turned = Refusal & { subject?: string };

/** Decides who a client is, or why it is not let in. */
function doorkeeper(config: BrokerConfig, deps: Deps): (logIn: LogIn) => Holding | Turned {
  const { ledger, log, isConnected, onTakeover, certificates } = deps;
  const failures = failureBudget();
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

  /** A user name with a slash is a gateway's. @param revision of the ledger, read before anything is looked up */
  function byPassword({ name, password, address }: LogIn, revision: number): Holding | Turned {
    if (!failures.isLeft(address)) {
      return {
        code: "BROKER_TOO_MANY_FAILURES",
        reason: "too many failed log-ins from this address; wait some seconds",
      };
    }
    const kind = name.includes("/") ? "gateway" : "host";
    const stamp = ledger.credentialStamp(kind, name);
    const principal = ledger.authenticate(kind, name, password);
    if (principal) return { principal, revision, proof: { stamp } };
    failures.spend(address);
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

  return (logIn) => {
    const found = identify(logIn);
    if ("code" in found) return found;
    const { principal } = found;
    const { clientId, clean = false, keepalive = 0, will } = logIn.packet;
    const willFlags = will && { topic: will.topic, qos: will.qos ?? 0, retain: will.retain ?? false };
    const connect = { clientId, clean, keepaliveS: keepalive, will: willFlags };
    const turned = mayConnect(principal, connect, config.keepaliveMaxMs) ?? mayTakeOver(principal, clientId);
    return turned ? { ...turned, subject: principal.name } : found;
  };
}

export function createGate(config: BrokerConfig, deps: Deps): Gate {
  const { note } = deps;
  const connects = new WeakMap<Client, ConnectPacket>();
  const holdings = new WeakMap<Client, Holding>();
  const principalOf = (client: Client) => holdings.get(client)?.principal;
  const admit = doorkeeper(config, deps);

  function checkPublish(client: Client | null, packet: PublishPacket): Refusal | undefined {
    const principal = client && principalOf(client);
    if (!principal) return { code: "BROKER_PUBLISH_REFUSED", reason: "no session" };
    if (packet.payload.length > config.maxPayloadBytes) {
      return { code: "BROKER_PAYLOAD_TOO_LARGE", reason: `more than ${config.maxPayloadBytes} bytes` };
    }
    return mayPublish(principal, packet.topic, packet);
  }

  const hooks: Hooks = {
    preConnect: (client, packet, done) => {
      connects.set(client, packet);
      done(null, true);
    },
    authenticate: (client, name = "", password, done) => {
      const address = addressOf(client);
      const packet = connects.get(client) as ConnectPacket;
      const found = admit({ name, password: password?.toString() ?? "", address, packet, connection: client.conn });
      if ("code" in found) {
        const user = name.slice(0, 130);
        // Names that nobody proved to own are no subjects: a scanner would fill the list of findings.
        const subject = unproven.has(found.code) ? address : (found.subject ?? user);
        note("refusedConnects", found, { subject, address, detail: `user "${user}"` });
        done(refused(found), null);
        return;
      }
      holdings.set(client, found);
      done(null, true);
    },
    authorizePublish: (client, packet, done) => {
      const found = checkPublish(client, packet);
      if (!found) {
        done(null);
        return;
      }
      const subject = client?.id ?? "";
      // Aedes ends the connection on this error; MQTT 3.1.1 knows no other answer to a PUBLISH that is not allowed (3.3.5).
      note("refusedPublishes", found, { subject, address: client ? addressOf(client) : "", detail: packet.topic });
      done(refused(found));
    },
    authorizeSubscribe: (client, subscription, done) => {
      const { topic } = subscription;
      const principal = principalOf(client);
      const found = principal
        ? maySubscribe(principal, topic)
        : { code: "BROKER_SUBSCRIBE_REFUSED", reason: "no session" };
      if (found) note("refusedSubscribes", found, { subject: client.id, address: addressOf(client), detail: topic });
      done(null, found ? null : subscription);
    },
  };
  return { hooks, principalOf, holdingOf: (client) => holdings.get(client) };
}
