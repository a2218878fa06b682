import type { Clock } from "@jilian/domain/clock.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import type { Logger } from "pino";
import { startCollector } from "../collect.ts";
import type { DeviceConfig, GatewayConfig } from "../config.ts";
import { commonDevice } from "../drivers/common-device.ts";
import { gatewayDrivers } from "../drivers/drivers.ts";
import { createLineDoubts } from "../drivers/line-doubts.ts";
import type { CommonTag, DerivedTag } from "../drivers/tag-config.ts";
import type { Driver, ShapedSample } from "../model.ts";

/** A tag as it was read last: the raw value at its native width (a derived tag has none), and the sample that the gateway would make of it. */
export type LiveTag = {
  readonly tag: CommonTag | DerivedTag;
  raw: Value | undefined;
  sample: ShapedSample | undefined;
};

export type LiveDevice = {
  readonly id: string;
  readonly tags: readonly LiveTag[];
  simulated: boolean;
  /** Undefined until it has been tried. */
  connected: boolean | undefined;
  /** Why it cannot be read, as in the log; empty while it can. */
  reason: string;
};

export type LiveReadings = { readonly devices: readonly LiveDevice[]; readonly close: () => Promise<void> };

/** What a server has told by itself is looked through so often at least: that costs the server nothing. */
const opcuaPollMs = 200;

/** Whatever a tag says of how seldom it is told: always. */
function always<T extends CommonTag | DerivedTag>(tag: T): T {
  const { deadbandPercent: _percent, minIntervalMs: _interval, ...rest } = tag;
  return { ...rest, deadband: 0, heartbeatMs: 0 } as T;
}

/** The same device with every reading made into a sample: no deadband, and a heartbeat that is always due. */
function unfiltered(device: DeviceConfig): DeviceConfig {
  const { derived } = device;
  const pollIntervalMs =
    device.driver === "opcua" ? Math.min(device.pollIntervalMs, opcuaPollMs) : device.pollIntervalMs;
  const tags = (device.tags as CommonTag[]).map(always);
  const others = derived === undefined ? {} : { derived: derived.map(always) };
  return { ...device, pollIntervalMs, heartbeatMs: 0, tags, ...others } as DeviceConfig;
}

/** The driver, and what it reads noted. */
function noting(driver: Driver, { tags }: LiveDevice): Driver {
  return {
    ...driver,
    async read(signal) {
      const readings = await driver.read(signal);
      for (const { tag, value } of readings) (tags[tag] as LiveTag).raw = value;
      return readings;
    },
  };
}

/**
 * Reads devices as the gateway does, with its drivers, supervision, scaling and quality, and keeps what was read last; without outbox and
 * broker.
 * @param devices those of the configuration that are read
 * @param onChange called after each read of a device, and when it connects or fails, with the tags that have a new sample
 */
export function startLive(
  config: GatewayConfig,
  devices: readonly DeviceConfig[],
  { clock, log, onChange }: { clock: Clock; log: Logger; onChange: (device: LiveDevice, changed: LiveTag[]) => void },
): LiveReadings {
  const live = new Map<string, LiveDevice>(
    devices.map(commonDevice).map(({ id, tags, derived = [], simulated }) => [
      id,
      {
        id,
        simulated,
        connected: undefined,
        reason: "",
        // In the driver's order, which knows tags by their places; behind them what is computed from them.
        tags: [...tags, ...derived].map((tag) => ({ tag, raw: undefined, sample: undefined })),
      },
    ]),
  );
  const of = (device: string) => live.get(device) as LiveDevice;
  const tagOf = new Map<string, Map<string, LiveTag>>(
    [...live.values()].map(({ id, tags }) => [id, new Map(tags.map((one) => [one.tag.name, one]))]),
  );
  const drivers = gatewayDrivers({ ...config, devices: [...devices] }, { clock, log, doubts: createLineDoubts(true) });
  const collector = startCollector({
    devices: devices.map(unfiltered),
    createDriver: (device) => noting(drivers.create(device), of(device.id)),
    clock,
    log,
    lastSourceTimeMs: () => 0,
    events: {
      onDefinitions: (device, definitions) => {
        of(device).simulated = definitions.some(({ simulated }) => simulated);
      },
      onConnection: (device, { connected, reason }) => {
        const one = of(device);
        one.connected = connected;
        one.reason = reason;
        if (!connected) for (const tag of one.tags) tag.raw = undefined;
        onChange(one, []);
      },
      onSamples: (device, samples) => {
        const changed = new Set<LiveTag>();
        for (const sample of samples) {
          const one = tagOf.get(device)?.get(sample.metric) as LiveTag;
          one.sample = sample;
          changed.add(one);
        }
        onChange(of(device), [...changed]);
      },
    },
  });
  return {
    devices: [...live.values()],
    async close() {
      await collector.close();
      await drivers.close();
    },
  };
}
