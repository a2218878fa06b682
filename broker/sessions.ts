import type { Socket } from "node:net";
import type { Principal } from "@jilian/store/ledger.ts";
import type { Client } from "aedes";
import type { EnterpriseOf, Refusal } from "./access.ts";
import { minuteBudget } from "./limits.ts";
import type { BrokerLimits } from "./limits-config.ts";
import { createMeter, type Meter } from "./throttle.ts";

/** A client that was let in, until its connection has ended. */
export type Session = {
  readonly client: Client;
  readonly principal: Principal;
  /** Whose limits it shares; undefined for those of the platform itself. */
  readonly enterprise: string | undefined;
  /** Its enterprise, or its account where that is of none. */
  readonly owner: string;
  /** What it has taken, and with it its enterprise. */
  readonly meters: readonly Meter[];
};

/** Whose limits a client shares: an unregistered factory is on its own. */
function enterpriseOfPrincipal(principal: Principal, enterpriseOf: EnterpriseOf): string | undefined {
  if (principal.kind === "viewer") return principal.enterprise;
  if (principal.kind !== "gateway") return undefined;
  return enterpriseOf(principal.group) ?? `factory ${principal.group}`;
}

const refusal = (code: string, reason: string): Refusal => ({ code, reason });

function counts(): { add: (name: string, by: 1 | -1) => void; of: (name: string) => number } {
  const held = new Map<string, number>();
  return {
    of: (name) => held.get(name) ?? 0,
    add: (name, by) => {
      const now = (held.get(name) ?? 0) + by;
      if (now > 0) held.set(name, now);
      else held.delete(name);
    },
  };
}

/** Who is connected, as whom, and what they share. @param limits those in force, asked each time */
export function createSessions(limits: () => BrokerLimits, enterpriseOf: EnterpriseOf) {
  const sessions = new Map<Client, Session>();
  const [accounts, enterprises, kinds] = [counts(), counts(), counts()];
  const meters = new Map<string, Meter>();
  const clientConnects = minuteBudget(() => limits().client.connectsPerMinute);
  const enterpriseConnects = minuteBudget(() => limits().enterprise.connectsPerMinute);
  const accountKey = ({ kind, name }: Principal) => `${kind} ${name}`;

  function meterOf(enterprise: string): Meter {
    const known = meters.get(enterprise);
    if (known) return known;
    const made = createMeter(() => limits().enterprise);
    meters.set(enterprise, made);
    return made;
  }

  /** Whether a client with valid credentials fits into the limits. @param replaces whether it pushes out one of its own id */
  function mayEnter(principal: Principal, clientId: string, replaces: boolean): Refusal | undefined {
    const { enterprise, connectionsPerAccount } = limits();
    const shared = enterpriseOfPrincipal(principal, enterpriseOf);
    if (!clientConnects.isLeft(clientId)) return refusal("BROKER_CONNECT_RATE", "it connects too often");
    if (shared !== undefined && !enterpriseConnects.isLeft(shared))
      return refusal("BROKER_CONNECT_RATE", "clients of its enterprise connect too often");
    if (!replaces && accounts.of(accountKey(principal)) >= connectionsPerAccount)
      return refusal("BROKER_TOO_MANY_CLIENTS", `more than ${connectionsPerAccount} clients of one account`);
    if (!replaces && shared !== undefined && enterprises.of(shared) >= enterprise.connections)
      return refusal("BROKER_TOO_MANY_CLIENTS", `more than ${enterprise.connections} clients of one enterprise`);
    clientConnects.spend(clientId);
    if (shared !== undefined) enterpriseConnects.spend(shared);
    return undefined;
  }

  function open(client: Client, principal: Principal): void {
    const conn = client.conn as Socket;
    // Its end was told already: nothing would ever take it off the lists.
    if (conn.destroyed) return;
    const enterprise = enterpriseOfPrincipal(principal, enterpriseOf);
    const own = createMeter(() => limits().client);
    const shared = enterprise === undefined ? [] : [meterOf(enterprise)];
    const owner = enterprise === undefined ? accountKey(principal) : `enterprise ${enterprise}`;
    sessions.set(client, { client, principal, enterprise, owner, meters: [own, ...shared] });
    const change = (by: 1 | -1) => {
      accounts.add(accountKey(principal), by);
      kinds.add(principal.kind, by);
      if (enterprise !== undefined) enterprises.add(enterprise, by);
    };
    change(1);
    conn.once("close", () => {
      sessions.delete(client);
      change(-1);
    });
  }

  return {
    mayEnter,
    open,
    of: (client: Client): Session | undefined => sessions.get(client),
    countOf: (kind: Principal["kind"]): number => kinds.of(kind),
  };
}

export type Sessions = ReturnType<typeof createSessions>;
