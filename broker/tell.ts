/** What the broker counts, logs and reports of its clients; what comes too often is counted alone, so that nobody fills a disk. */
import type { EventEmitter } from "node:events";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import { networkOf } from "@jilian/domain/network.ts";
import type { Aedes, Client } from "aedes";
import type { Logger } from "pino";
import { addressOf, type BrokerFault, type Gate, type Note } from "./gate.ts";
import { lineBudget } from "./limits.ts";
import type { ListenerDeps } from "./listeners.ts";
import type { Counters, EndReason } from "./stats.ts";

const maxFaultsPerSecond = 5;
/** Passes faults on, a few a second at most. */
export function reporter(
  deps: { log: Logger; onFault?: (fault: BrokerFault) => void },
  counters: Counters,
): (fault: BrokerFault) => void {
  let second = 0;
  let told = 0;
  return (fault) => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      second = now;
      told = 0;
    }
    told += 1;
    if (told > maxFaultsPerSecond) {
      counters.faultsNotReported += 1;
      return;
    }
    try {
      deps.onFault?.(fault);
    } catch (err) {
      deps.log.error({ err }, `cannot report a fault: ${messageOf(err)}`);
    }
  };
}

export type Told = {
  log: Logger;
  counters: Counters;
  report: (fault: BrokerFault) => void;
  /** Of lines about one matter. */
  lines: ReturnType<typeof lineBudget>;
};

/** Whether a line about a matter may be written; one that may not is counted. */
function takesLine({ lines, counters }: Pick<Told, "lines" | "counters">, matter: string): boolean {
  if (lines.isLeft(matter)) {
    lines.spend(matter);
    return true;
  }
  counters.linesNotLogged += 1;
  return false;
}

/** What ends a connection by its own doing is counted and told; a connection that merely broke is not. */
function endReasonOf(error: Error): EndReason | undefined {
  const { message } = error;
  // What the gate refused was told there; errors of the system say that the network broke.
  if ("code" in error || message === "connection closed") return undefined;
  if (message === "keep alive timeout" || message === "connect did not arrive in time") return "silent";
  return "malformed";
}

export function logEvents(aedes: Aedes, gate: Gate, told: Told) {
  const { log, counters } = told;
  const counted = new WeakSet<Client>();
  const ended = (client: Client, error: Error) => {
    // Aedes tells an end once for each packet that was still in the same piece.
    const reason = counted.has(client) ? undefined : endReasonOf(error);
    const address = addressOf(client);
    const who = { client: client.id ?? undefined, address, code: codeOf(error) };
    log.debug(who, messageOf(error));
    if (reason === undefined) return;
    counted.add(client);
    counters.ended[reason] += 1;
    if (reason !== "malformed") return;
    if (!takesLine(told, `BROKER_MALFORMED ${networkOf(address)}`)) return;
    log.warn(
      { ...who, code: "BROKER_MALFORMED" },
      `client disconnected, it does not keep to MQTT: ${messageOf(error)}`,
    );
  };
  aedes.on("publish", (packet) => {
    if (!packet.topic.startsWith("$")) counters.messages += 1;
  });
  aedes.on("unsubscribe", (filters, client) => {
    for (const filter of filters) gate.release(client, filter);
  });
  aedes.on("client", (client) => {
    log.info(
      { client: client.id, kind: gate.principalOf(client)?.kind, address: addressOf(client) },
      "client connected",
    );
  });
  aedes.on("clientDisconnect", (client) => log.info({ client: client.id }, "client disconnected"));
  aedes.on("clientError", ended);
  aedes.on("connectionError", ended);
  // Its own types leave out this event.
  (aedes as EventEmitter).on("error", (err) => log.error({ err, code: "BROKER_FAILED" }, messageOf(err)));
}

/** Counts, logs and reports that a connection is ended. */
export function tellEnd(told: Told, reason: EndReason, fault: BrokerFault): void {
  told.counters.ended[reason] += 1;
  if (takesLine(told, `${fault.code} ${fault.subject}`)) told.log.warn(fault, "client disconnected");
  told.report(fault);
}

/**
 * Counts, logs and reports refusals; what comes too often is counted only. Of who has proved to be nobody the network is named: of IPv6
 * anyone has as many addresses as he likes.
 */
export function refusalTeller(told: Told, refusedByCode: Map<string, number>): Note {
  const { log, counters, report } = told;
  return (counter, { code, reason }, { subject: named, address, detail }) => {
    const subject = named === address ? networkOf(address) : named;
    counters[counter] += 1;
    refusedByCode.set(code, (refusedByCode.get(code) ?? 0) + 1);
    report({ code, subject, detail: detail ? `${reason} (${detail})` : reason });
    if (takesLine(told, `${code} ${subject}`)) log.warn({ code, subject, address, detail }, `refused: ${reason}`);
  };
}

export function dropTeller({ log, report }: Told): ListenerDeps["onDrop"] {
  const lines = lineBudget();
  const limits = {
    connections: "broker.maxConnections",
    address: "broker.limits.connectionsPerAddress",
    handshakes: "broker.limits.handshakes",
  };
  return (reason, address) => {
    if (!lines.isLeft(reason)) return;
    lines.spend(reason);
    const fault = {
      code: "BROKER_TOO_MANY_CONNECTIONS",
      subject: networkOf(address),
      detail: `beyond ${limits[reason]}`,
    };
    log.warn(fault, "connection closed at once");
    report(fault);
  };
}
