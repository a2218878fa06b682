import { counter, gauge, type MetricRow } from "@jilian/domain/metric-rows.ts";
import type { ApiStats, CountName } from "./stats.ts";

const counts: readonly (readonly [key: CountName, name: string, help: string])[] = [
  ["refusedKeys", "refused_keys_total", "Keys that were wrong, withdrawn or malformed."],
  ["uncheckedKeys", "unchecked_keys_total", "Keys not checked because too many new ones came."],
  ["refusedEnrolments", "refused_enrolments_total", "Enrolments and renewals of gateways that were refused."],
  ["refusedStreams", "refused_streams_total", "Streams and waiting questions beyond api.maxStreams."],
  ["stalledStreams", "stalled_streams_total", "Streams ended because their client did not read."],
  ["sentChanges", "sent_changes_total", "Changes sent."],
  ["malformedRequests", "malformed_requests_total", "Bytes that were no HTTP request."],
];

/** Metrics of the open data interface, read from the stats it keeps. Routes are patterns, never what a client asked for. */
export function apiMetrics(stats: () => ApiStats): MetricRow[] {
  const each = (value: (request: ApiStats["requests"][number]) => number) => () =>
    stats().requests.map((request) => {
      const { route, method, status } = request;
      return { labels: { route, method, status }, value: value(request) };
    });
  const open = () => Object.entries(stats().open).map(([kind, value]) => ({ labels: { kind }, value }));
  return [
    counter(
      "jilian_api_requests_total",
      "Answers given.",
      each(({ count }) => count),
    ),
    counter(
      "jilian_api_request_seconds_total",
      "Time they took; streams count when they end.",
      each((r) => r.elapsedMs / 1000),
    ),
    gauge("jilian_api_open", "Streams, displays of the wall and waiting questions open now.", open),
    ...counts.map(([key, name, help]) => counter(`jilian_api_${name}`, help, () => stats().counts[key])),
  ];
}
