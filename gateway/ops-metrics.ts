import type { Clock } from "@jilian/domain/clock.ts";
import { counter, flag, gauge, type MetricRow, type MetricSample } from "@jilian/domain/metric-rows.ts";
import type { Parts } from "@jilian/domain/ops.ts";
import type { DeviceStats } from "./collect.ts";
import type { LineStats } from "./drivers/line-shared.ts";
import type { Life } from "./drivers/opcua-own.ts";
import { historyRows } from "./history-metrics.ts";
import type { Outbox } from "./model.ts";
import type { RenewalStats } from "./renewal.ts";
import type { Gateway } from "./run.ts";

const seconds = (ms: number): number => ms / 1000;
/** A time that may not be known yet: no line then. */
const known = (ms: number | undefined): MetricSample[] =>
  ms === undefined ? [] : [{ labels: {}, value: seconds(ms) }];

function deviceRows(devices: () => DeviceStats[]): MetricRow[] {
  const each = (value: (device: DeviceStats) => number) => () =>
    devices().map((device) => ({ labels: { device: device.device }, value: value(device) }));
  const name = (what: string) => `jilian_gateway_device_${what}`;
  const ofKinds = () =>
    devices().flatMap(({ device, failureKinds }) =>
      Object.entries(failureKinds).map(([code, value]) => ({ labels: { device, code }, value })),
    );
  return [
    gauge(
      name("connected"),
      "1 while the device answers.",
      each(({ connected }) => flag(connected)),
    ),
    counter(
      name("polls_total"),
      "Polls that were answered.",
      each(({ polls }) => polls),
    ),
    counter(
      name("skipped_polls_total"),
      "Polls left out because the one before took longer than the interval.",
      each(({ skippedPolls }) => skippedPolls),
    ),
    counter(
      name("failures_total"),
      "Connects and reads that failed.",
      each(({ failures }) => failures),
    ),
    counter(name("errors_total"), "The same by stable error code; of what never happened none.", ofKinds),
    counter(
      name("connects_total"),
      "Connections made.",
      each(({ connects }) => connects),
    ),
    counter(
      name("event_errors_total"),
      "Samples that may be lost to a defect of the gateway.",
      each(({ eventErrors }) => eventErrors),
    ),
    gauge(
      name("last_poll_duration_seconds"),
      "How long the last answered poll took.",
      each(({ lastPollMs }) => seconds(lastPollMs)),
    ),
  ];
}

/** Lines that devices share: none where there is none. */
function lineRows(lines: () => LineStats[]): MetricRow[] {
  const each = (value: (line: LineStats) => number) => () =>
    lines().map((line) => ({ labels: { line: line.line }, value: value(line) }));
  const name = (what: string) => `jilian_gateway_line_${what}`;
  return [
    gauge(
      name("open"),
      "1 while the port is open, or its box has dialled in.",
      each(({ open }) => flag(open)),
    ),
    counter(
      name("opens_total"),
      "How often it was opened.",
      each(({ opens }) => opens),
    ),
    counter(
      name("exchanges_total"),
      "Requests written.",
      each(({ exchanges }) => exchanges),
    ),
    counter(
      name("timeouts_total"),
      "Requests that got no answer in time.",
      each(({ timeouts }) => timeouts),
    ),
    counter(
      name("discarded_bytes_total"),
      "Bytes thrown away: noise, echoes, late answers, frames of others.",
      each(({ discardedBytes }) => discardedBytes),
    ),
    counter(
      name("foreign_requests_total"),
      "Requests of another master that were heard, at least.",
      each(({ foreignRequests }) => foreignRequests),
    ),
    counter(
      name("takeovers_total"),
      "How often a box dialled in while another one, or its own old connection, was there.",
      each(({ takeovers }) => takeovers),
    ),
  ];
}

/** Samples dropped by device and metric: as many rows as metrics have lost something. */
function droppedRows(outbox: () => Pick<Outbox, "droppedByMetric">): MetricRow[] {
  return [
    counter(
      "jilian_gateway_device_dropped_samples_total",
      "Samples of a metric that were dropped, since the file was made; of records that could not be read back none.",
      () =>
        outbox()
          .droppedByMetric()
          .map(({ device, metric, samples }) => ({ labels: { device, metric }, value: samples })),
    ),
  ];
}

function outboxRows(stats: Gateway["stats"], maxBytes: number, clock: Clock): MetricRow[] {
  const outbox = () => stats().outbox;
  const age = () => {
    const sinceMs = outbox().oldestWrittenAtMs;
    return sinceMs === undefined ? 0 : Math.max(0, seconds(clock.now() - sinceMs));
  };
  const name = (what: string) => `jilian_gateway_outbox_${what}`;
  return [
    gauge(name("writable"), "1 while the last write reached the file.", () => flag(outbox().isWritable)),
    gauge(name("pending_records"), "Records that the platform has not confirmed.", () => outbox().pendingRecords),
    gauge(name("pending_bytes"), "Their size.", () => outbox().pendingBytes),
    gauge(name("max_bytes"), "Size at which the oldest are dropped (outbox.maxBytes).", () => maxBytes),
    gauge(name("oldest_age_seconds"), "Age of the oldest record not confirmed; 0 when there is none.", age),
    counter(
      name("dropped_samples_total"),
      "Samples dropped because the outbox was full or could not be written, since the file was made.",
      () => outbox().droppedSamples,
    ),
    counter(
      name("set_aside_records_total"),
      "Records that could not be read back, since the file was made.",
      () => outbox().setAsideRecords,
    ),
    counter(
      name("forgotten_definitions_total"),
      "Earlier definitions of metrics that were forgotten while readings of their time waited, since the file was made.",
      () => outbox().forgottenDefinitions,
    ),
  ];
}

function mqttRows(stats: Gateway["stats"]): MetricRow[] {
  const edge = () => stats().edge;
  const sent = () => [
    { labels: { kind: "live" }, value: edge().sentLive },
    { labels: { kind: "backlog" }, value: edge().sentBacklog },
  ];
  const name = (what: string) => `jilian_gateway_${what}`;
  return [
    gauge(name("mqtt_connected"), "1 while there is a connection to the broker.", () => flag(edge().connected)),
    gauge(name("mqtt_born"), "1 while the births of this connection are out.", () => flag(edge().born)),
    counter(name("mqtt_connects_total"), "Connections made to the broker.", () => edge().connects),
    counter(name("records_sent_total"), "Records sent; one that goes again counts again, as backlog.", sent),
    counter(name("records_committed_total"), "Records confirmed by the platform.", () => edge().committedRecords),
    counter(name("commit_notices_total"), "Commit notices that freed records.", () => edge().commits),
    gauge(name("records_in_flight"), "Records sent and not yet confirmed.", () => edge().inFlightRecords),
    gauge(
      name("records_suspect"),
      "Records that were not confirmed while later ones were.",
      () => edge().suspectRecords,
    ),
    counter(name("records_split_total"), "Such records that were split in two.", () => edge().splitRecords),
    counter(
      name("commit_notices_unsent_total"),
      "Commit notices that named records which this process has not sent; they free nothing.",
      () => edge().unsentNotices,
    ),
    counter(
      name("records_refused_total"),
      "Records of which the platform's store refused samples: those are set aside, or the record was split.",
      () => edge().refusedRecords,
    ),
    counter(
      name("set_backs_total"),
      "How often this process found itself set back to an earlier moment.",
      () => edge().setBacks,
    ),
    counter(
      name("set_backs_held_total"),
      "Notices of that within a minute of one that was obeyed; they do nothing.",
      () => edge().heldSetBacks,
    ),
    gauge(
      name("clock_offset_seconds"),
      "By how much this clock is before the platform's, as commit notices tell it; nothing until there was one.",
      () => known(edge().clockOffset?.offsetMs),
    ),
    gauge(name("clock_uncertainty_seconds"), "How far from that it may be at most.", () =>
      known(edge().clockOffset?.uncertaintyMs),
    ),
    gauge(
      name("backlog_records_per_second"),
      "What the backlog may take now; outbox.backlogRecordsPerSecond is the most.",
      () => edge().backlogRecordsPerSecond,
    ),
    gauge(
      name("commit_delay_seconds"),
      "From send to commit, smoothed; NaN before the first commit of a connection.",
      () => seconds(edge().commitDelayMs ?? Number.NaN),
    ),
  ];
}

/** Of the certificate that OPC UA servers are shown; no line where there is none. */
export function opcuaCertificateRows(life: () => Life | undefined): MetricRow[] {
  const ends = () => {
    try {
      return known(life()?.endsMs);
    } catch {
      // What lies there is none: the state of its devices tells.
      return [];
    }
  };
  const name = "jilian_gateway_opcua_certificate_expiry_timestamp_seconds";
  return [gauge(name, "When the certificate that OPC UA servers are shown ends.", ends)];
}

/** Of the gateway's own certificate; no lines where it has none. */
export function certificateRows(stats: () => RenewalStats | undefined): MetricRow[] {
  const each = (value: (stats: RenewalStats) => number) => (): MetricSample[] => {
    const found = stats();
    return found === undefined ? [] : [{ labels: {}, value: value(found) }];
  };
  const name = (what: string) => `jilian_gateway_certificate_${what}`;
  return [
    gauge(
      name("expiry_timestamp_seconds"),
      "When the gateway's own certificate ends.",
      each(({ endsMs }) => seconds(endsMs)),
    ),
    counter(
      name("renewals_total"),
      "Renewals since the start.",
      each(({ renewals }) => renewals),
    ),
    gauge(
      name("renewal_failures"),
      "Attempts to renew it that failed since the last one that did not.",
      each(({ failures }) => failures),
    ),
  ];
}

/** All metrics of a gateway, read from the stats it keeps. */
export function gatewayMetrics(
  gateway: Pick<Gateway, "stats"> & { readonly outbox: () => Pick<Outbox, "droppedByMetric"> },
  maxBytes: number,
  clock: Clock,
): MetricRow[] {
  return [
    ...deviceRows(() => gateway.stats().devices),
    ...lineRows(() => gateway.stats().lines),
    ...droppedRows(gateway.outbox),
    ...outboxRows(gateway.stats, maxBytes, clock),
    ...mqttRows(gateway.stats),
    ...historyRows(gateway.stats, clock),
  ];
}

type Stats = ReturnType<Gateway["stats"]>;
/** What health looks at. */
type HealthStats = Pick<Stats, "devices"> & {
  outbox: Pick<Stats["outbox"], "isWritable" | "pendingRecords" | "droppedSamples">;
  edge: Pick<Stats["edge"], "connected" | "connects">;
};

/**
 * Health of a gateway. It is ready while it keeps what it reads: a broker or a PLC that is away is shown and is no reason for anybody to
 * start the gateway again, since that would help neither.
 */
export function gatewayHealth({ outbox, edge, devices }: HealthStats): Parts {
  const away = devices.filter(({ connected }) => !connected).length;
  const { pendingRecords, droppedSamples, isWritable } = outbox;
  return {
    outbox: isWritable
      ? { ready: true, state: "writable", detail: { pendingRecords, droppedSamples } }
      : {
          ready: false,
          state: "not writable",
          reason: "the last write did not reach the file: is the disk full, worn out or read-only?",
          detail: { pendingRecords, droppedSamples },
        },
    broker: { ready: true, state: edge.connected ? "connected" : "not connected", detail: { connects: edge.connects } },
    devices: {
      ready: true,
      state: away === 0 ? "connected" : `${away} not connected`,
      detail: Object.fromEntries(devices.map(({ device, connected }) => [device, connected])),
    },
  };
}
