import type { Clock } from "@jilian/domain/clock.ts";
import { gauge, renderMetrics } from "@jilian/domain/metric-rows.ts";
import type { Logger } from "pino";
import { collectDefaultMetrics, Registry } from "prom-client";
import { software } from "./births.ts";
import type { GatewayConfig } from "./config.ts";
import { ownLife } from "./drivers/opcua-own.ts";
import { valuesAnswer } from "./last-values.ts";
import { type Ops, startOps } from "./ops.ts";
import { certificateRows, gatewayHealth, gatewayMetrics, opcuaCertificateRows } from "./ops-metrics.ts";
import type { Renewal } from "./renewal.ts";
import type { Gateway } from "./run.ts";

/**
 * Opens health and metrics of a gateway's process. The metrics of the process itself (memory, event loop) stay on until it ends: the
 * library has no way to end them, so this is for programs and not for tests in one process.
 * @throws JilianError OPS_LISTEN_FAILED
 */
export function openOps(
  config: GatewayConfig & { ops: NonNullable<GatewayConfig["ops"]> },
  { gateway, renewal, clock, log }: { gateway: Gateway; renewal?: Pick<Renewal, "stats">; clock: Clock; log: Logger },
): Promise<Ops> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const { group, node } = config;
  const labels = { group, node, version: software.split(" ")[1] ?? "" };
  const rows = [
    gauge("jilian_gateway_info", "Which gateway this is; always 1.", () => [{ labels, value: 1 }]),
    ...gatewayMetrics(gateway, config.outbox.maxBytes, clock),
    ...certificateRows(() => renewal?.stats()),
    ...opcuaCertificateRows(() => ownLife(gateway.config())),
  ];
  return startOps(config.ops, {
    log,
    source: {
      health: async () => gatewayHealth(gateway.stats()),
      metrics: async () => renderMetrics(rows) + (await registry.metrics()),
      local: { "/values": valuesAnswer(gateway.values, clock) },
    },
  });
}
