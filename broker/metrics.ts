import { counter, gauge, type MetricRow } from "@jilian/domain/metric-rows.ts";
import type { Part } from "@jilian/domain/ops.ts";
import type { Broker } from "./start.ts";

const name = (what: string) => `jilian_broker_${what}`;

function connectionRows(stats: Broker["stats"]): MetricRow[] {
  const refused = () => [...stats().refusedByCode].map(([code, value]) => ({ labels: { code }, value }));
  const byLabel = (label: string, counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).map(([key, value]) => ({ labels: { [label]: key }, value }));
  return [
    gauge(name("clients"), "Clients connected and accepted.", () => stats().clients),
    gauge(name("clients_by_kind"), "Clients by the kind of their account.", () =>
      byLabel("kind", stats().clientsByKind),
    ),
    gauge(name("connections"), "Connections, those not accepted yet included.", () => stats().connections),
    counter(
      name("refused_total"),
      "Connects, publishes and subscriptions refused, by the code of the reason.",
      refused,
    ),
    counter(name("ended_total"), "Connections ended because of what the client did.", () =>
      byLabel("reason", stats().ended),
    ),
    counter(name("throttled_total"), "Pauses in reading from a client, by whose share was used up.", () =>
      byLabel("share", stats().throttled),
    ),
    counter(
      name("takeovers_total"),
      "Gateways that pushed out a live connection of their own name.",
      () => stats().takeovers,
    ),
    counter(name("dropped_connections_total"), "Connections beyond the limits, closed at once.", () =>
      byLabel("reason", stats().dropped),
    ),
    counter(
      name("unreported_faults_total"),
      "Faults that came too fast for the list of findings.",
      () => stats().faultsNotReported,
    ),
    counter(
      name("unlogged_lines_total"),
      "Refusals that came too often for the log; they are counted.",
      () => stats().linesNotLogged,
    ),
  ];
}

function tlsRows(stats: Broker["stats"]): MetricRow[] {
  const ends = () => {
    const endsMs = stats().certificateEndsMs;
    return endsMs === undefined ? [] : [{ labels: {}, value: endsMs / 1000 }];
  };
  return [
    counter(name("tls_handshakes_total"), "TLS handshakes finished.", () => stats().tlsHandshakes),
    counter(name("tls_failures_total"), "TLS handshakes that failed or came too late.", () => stats().tlsFailures),
    gauge(name("tls_certificate_expiry_timestamp_seconds"), "When the broker's certificate ends.", ends),
  ];
}

/** Metrics of the broker, read from the stats it keeps. */
export function brokerMetrics({ stats }: Pick<Broker, "stats">): MetricRow[] {
  return [
    ...connectionRows(stats),
    counter(name("received_messages_total"), "Messages of clients and of this process.", () => stats().messages),
    counter(name("sent_messages_total"), "Messages handed to clients, once for each.", () => stats().delivered),
    counter(name("received_bytes_total"), "Bytes of clients.", () => stats().bytesReceived),
    counter(name("sent_bytes_total"), "Bytes to clients.", () => stats().bytesSent),
    gauge(name("waiting_bytes"), "What waits for clients that read slowly.", () => stats().waitingBytes),
    gauge(name("births_kept_bytes"), "Births kept for later subscribers.", () => stats().birthBytes),
    counter(name("births_dropped_total"), "Births that had no room there.", () => stats().birthsDropped),
    counter(name("web_sockets_total"), "Upgrades to WebSocket.", () => stats().webSockets),
    counter(name("web_socket_failures_total"), "Upgrades refused or late.", () => stats().webSocketFailures),
    ...tlsRows(stats),
  ];
}

/** Health of the broker: it listens as long as it has not been closed. */
export function brokerHealth({ stats }: Pick<Broker, "stats">): Part {
  const { clients, connections, clientsByKind } = stats();
  return { ready: true, state: "listening", detail: { clients, connections, ...clientsByKind } };
}
