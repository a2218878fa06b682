import { counter, gauge, type MetricRow } from "@jilian/domain/metric-rows.ts";
import type { Part } from "@jilian/domain/ops.ts";
import type { Broker } from "./start.ts";

const name = (what: string) => `jilian_broker_${what}`;

function connectionRows(stats: Broker["stats"]): MetricRow[] {
  const refused = () => [...stats().refusedByCode].map(([code, value]) => ({ labels: { code }, value }));
  const ended = () => [
    { labels: { reason: "oversize" }, value: stats().oversize },
    { labels: { reason: "slow" }, value: stats().slowClients },
    { labels: { reason: "withdrawn" }, value: stats().withdrawn },
  ];
  return [
    gauge(name("clients"), "Clients connected and accepted.", () => stats().clients),
    gauge(name("connections"), "Connections, those not accepted yet included.", () => stats().connections),
    counter(
      name("refused_total"),
      "Connects, publishes and subscriptions refused, by the code of the reason.",
      refused,
    ),
    counter(name("ended_total"), "Connections ended because of what the client did.", ended),
    counter(
      name("takeovers_total"),
      "Gateways that pushed out a live connection of their own name.",
      () => stats().takeovers,
    ),
    counter(name("dropped_connections_total"), "Connections beyond the limits, closed at once.", () => stats().dropped),
    counter(
      name("unreported_faults_total"),
      "Faults that came too fast for the list of findings.",
      () => stats().faultsNotReported,
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
    ...tlsRows(stats),
  ];
}

/** Health of the broker: it listens as long as it has not been closed. */
export function brokerHealth({ stats }: Pick<Broker, "stats">): Part {
  const { clients, connections } = stats();
  return { ready: true, state: "listening", detail: { clients, connections } };
}
