import type { Clock } from "@jilian/domain/clock.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { Driver } from "../model.ts";
import type { OpcuaDevice } from "./opcua-config.ts";
import { stopped } from "./opcua-errors.ts";
import type { Lease, OpcuaPool } from "./opcua-pool.ts";
import { type OpcuaSubscription, subscribe } from "./opcua-subscription.ts";

/** How long a tag that the server does not have is left out before it is tried again, in machine time. */
const refusedRetryMs = 600_000;

export type OpcuaDriverOptions = {
  readonly pool: OpcuaPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly retryRefusedMs?: number;
};

/** An error of a shared session, told of the device that it concerns here. */
function errorFor(device: OpcuaDevice, thrown: unknown): unknown {
  if (!(thrown instanceof JilianError) || thrown.device === device.id) return thrown;
  const { code, action, remedy, address, status, cause } = thrown;
  const detail = {
    code,
    action,
    remedy,
    device: device.id,
    ...(address ? { address } : {}),
    ...(cause ? { cause } : {}),
  };
  return new JilianError(thrown.message, status === undefined ? detail : { ...detail, status });
}

/**
 * Collects the tags of one device from an OPC UA server by subscription: the server looks at them every `samplingIntervalMs` and sends
 * changes every `publishingIntervalMs`; each poll takes what has come since the last.
 *
 * - A tag that the server does not have, refuses or sends in another type is bad alone.
 * - A cut of the network that the session survives loses nothing; a session or subscription that is gone, or silent beyond a bound, fails
 *   the device, and the next connect makes new ones. Nothing is written and no method called.
 */
export function createOpcuaDriver(device: OpcuaDevice, options: OpcuaDriverOptions): Driver {
  const { pool, clock, log, retryRefusedMs = refusedRetryMs } = options;
  const withheld = new Set<number>();
  let lease: Lease | undefined;
  let subscription: OpcuaSubscription | undefined;

  async function close(): Promise<void> {
    const [subscribed, leased] = [subscription, lease];
    subscription = undefined;
    lease = undefined;
    await subscribed?.close();
    await leased?.release();
  }

  return {
    async connect(signal) {
      await close();
      try {
        lease = await pool.acquire(device, signal);
        const { connection } = lease;
        subscription = await subscribe(device, connection, { clock, log, withheld, retryRefusedMs });
        return { simulated: device.simulated || connection.simulated };
      } catch (thrown) {
        await close();
        throw errorFor(device, thrown);
      }
    },
    async read(signal) {
      const { id, endpointUrl, timeoutMs } = device;
      if (subscription === undefined || signal.aborted) throw stopped({ device: id, endpointUrl, timeoutMs });
      try {
        return subscription.read();
      } catch (thrown) {
        throw errorFor(device, thrown);
      }
    },
    rest: () => subscription?.rest() ?? [],
    close,
  };
}
