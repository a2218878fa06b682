/** What the broker counts, logs and reports of its clients; what comes too often is counted alone, so that nobody fills a disk. */
import type { EventEmitter } from "node:events";
import { codeOf, messageOf } from "@jilian/domain/errors.ts";
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

export type Told = { log: Logger; counters: Counters; report: (fault: BrokerFault) => void };

/** What ends a connection by its own doing is counted and told; a connection that merely broke is not. */
function endReasonOf(error: Error): EndReason | undefined {
  const { message } = error;
  // What the gate refused was told there; errors of the system say that the network broke.
  if ("code" in error || message === "connection closed") return undefined;
  if (message === "keep alive timeout" || message === "connect did not arrive in time") return "silent";
  return "malformed";
}

export function logEvents(aedes: Aedes, gate: Gate, { log, counters }: Told) {
  const lines = lineBudget();
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
    if (!lines.isLeft(address)) {
      counters.linesNotLogged += 1;
      return;
    }
    lines.spend(address);
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
export function tellEnd({ log, counters, report }: Told, reason: EndReason, fault: BrokerFault): void {
  counters.ended[reason] += 1;
  log.warn(fault, "client disconnected");
  report(fault);
}

/** Counts, logs and reports refusals; what comes too often is counted only. */
export function refusalTeller({ log, counters, report }: Told, refusedByCode: Map<string, number>): Note {
  const lines = lineBudget();
  return (counter, { code, reason }, { subject, address, detail }) => {
    counters[counter] += 1;
    refusedByCode.set(code, (refusedByCode.get(code) ?? 0) + 1);
    report({ code, subject, detail: detail ? `${reason} (${detail})` : reason });
    const matter = `${code} ${subject}`;
    if (!lines.isLeft(matter)) {
      counters.linesNotLogged += 1;
      return;
    }
    lines.spend(matter);
    log.warn({ code, subject, address, detail }, `refused: ${reason}`);
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
    const fault = { code: "BROKER_TOO_MANY_CONNECTIONS", subject: address, detail: `beyond ${limits[reason]}` };
    log.warn(fault, "connection closed at once");
    report(fault);
  };
}
