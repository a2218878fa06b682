import { type Clock, systemClock } from "@jilian/domain/clock.ts";
import type { Logger } from "pino";
import { type Collector, startCollector } from "./collect.ts";
import type { GatewayConfig } from "./config.ts";
import { type Drivers, gatewayDrivers } from "./drivers/drivers.ts";
import type { CollectorEvents } from "./model.ts";

/** For tests: what a collector tells, told to nobody. */
export const noEvents: CollectorEvents = {
  onDefinitions: () => undefined,
  onConnection: () => undefined,
  onSamples: () => undefined,
};

export type Collecting = {
  readonly drivers: Drivers;
  readonly collector: Collector;
  readonly close: () => Promise<void>;
};

/** For tests: collects from the devices of a configuration for real, without outbox and broker. */
export function collectFrom(
  config: GatewayConfig,
  log: Logger,
  { events = noEvents, clock = systemClock }: { events?: CollectorEvents; clock?: Clock } = {},
): Collecting {
  const drivers = gatewayDrivers(config, { clock, log });
  const { devices } = config;
  const own = { devices, createDriver: drivers.create, clock, log, lastSourceTimeMs: () => 0, events };
  const collector = startCollector(own);
  async function close(): Promise<void> {
    await collector.close();
    await drivers.close();
  }
  return { drivers, collector, close };
}
