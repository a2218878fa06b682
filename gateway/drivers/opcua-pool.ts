import type { Logger } from "pino";
import type { OpcuaDevice } from "./opcua-config.ts";
import { type OpcuaConnection, openConnection } from "./opcua-connection.ts";
import { connectionLost, stopped } from "./opcua-errors.ts";
import { sessionKeyOf } from "./opcua-key.ts";
import { openPki, type Pki, type PkiOptions } from "./opcua-pki.ts";

/** A device's share in a connection. */
export type Lease = { readonly connection: OpcuaConnection; readonly release: () => Promise<void> };

/** The OPC UA sessions of a gateway: one for all devices with the same endpoint, security and user; servers have few to give. */
export type OpcuaPool = {
  /** @throws JilianError OPCUA_*, for all devices that wait for the same session */
  readonly acquire: (device: OpcuaDevice, signal: AbortSignal) => Promise<Lease>;
  readonly close: () => Promise<void>;
};

type Entry = {
  readonly opening: Promise<OpcuaConnection>;
  readonly giveUp: AbortController;
  connection: OpcuaConnection | undefined;
  users: number;
};

/** A promise that is given up when the signal aborts, while others go on waiting for it. */
async function orStopped<T>(device: OpcuaDevice, signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const { id, endpointUrl, timeoutMs } = device;
  const onAbort = () => reject(stopped({ device: id, endpointUrl, timeoutMs }));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

export function createPool(options: PkiOptions, log: Logger): OpcuaPool {
  const entries = new Map<string, Entry>();
  const failures = new Map<string, { untilMs: number; thrown: unknown }>();
  let pki: Promise<Pki> | undefined;

  function openPkiOnce(): Promise<Pki> {
    pki ??= openPki(options, log).catch((thrown: unknown) => {
      pki = undefined;
      throw thrown;
    });
    return pki;
  }

  function open(key: string, device: OpcuaDevice): Entry {
    const giveUp = new AbortController();
    const opening = openPkiOnce().then((opened) => openConnection(device, opened, { signal: giveUp.signal, log }));
    const entry: Entry = { opening, giveUp, connection: undefined, users: 0 };
    entries.set(key, entry);
    opening.then(
      (connection) => {
        entry.connection = connection;
      },
      (thrown: unknown) => {
        if (entries.get(key) === entry) entries.delete(key);
        // Its other devices, each on its own back-off, do not try the same again a moment later. What was given up has not failed.
        if (!giveUp.signal.aborted) failures.set(key, { untilMs: performance.now() + device.retryMinMs / 2, thrown });
      },
    );
    return entry;
  }

  /** The entry to use: one that is broken, or cut off while a device has already given it up, is left to its end. */
  function entryFor(key: string, device: OpcuaDevice): Entry {
    const entry = entries.get(key);
    if (entry === undefined) return open(key, device);
    const { connection } = entry;
    if (connection === undefined) return entry;
    if (connection.isCut()) {
      const { id, endpointUrl, timeoutMs } = device;
      connection.fail(connectionLost({ device: id, endpointUrl, timeoutMs }, "no connection for too long"));
    }
    return connection.broken() === undefined ? entry : open(key, device);
  }

  async function release(key: string, entry: Entry): Promise<void> {
    entry.users -= 1;
    if (entry.users > 0) return;
    if (entries.get(key) === entry) entries.delete(key);
    entry.giveUp.abort();
    await entry.opening.then(
      (connection) => connection.close(),
      () => undefined,
    );
  }

  return {
    async acquire(device, signal) {
      const key = sessionKeyOf(device);
      const failure = failures.get(key);
      if (failure !== undefined && performance.now() < failure.untilMs) throw failure.thrown;
      failures.delete(key);
      const entry = entryFor(key, device);
      entry.users += 1;
      let released: Promise<void> | undefined;
      const releaseOnce = () => {
        released ??= release(key, entry);
        return released;
      };
      try {
        return { connection: await orStopped(device, signal, entry.opening), release: releaseOnce };
      } catch (thrown) {
        await releaseOnce();
        throw thrown;
      }
    },
    async close() {
      const open = [...entries.values()];
      entries.clear();
      for (const { giveUp } of open) giveUp.abort();
      await Promise.allSettled(open.map(async ({ opening }) => (await opening).close()));
      await pki?.then((opened) => opened.close()).catch(() => undefined);
      pki = undefined;
    },
  };
}
