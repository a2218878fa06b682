import type { Logger } from "pino";
import { type LifeFault, lifeFault, type OwnSetting, ownLife } from "./drivers/opcua-own.ts";

export type LifeWatchParts = {
  /** The configuration in use. */
  readonly config: () => OwnSetting;
  readonly log: Logger;
  /** How often the certificate is looked at. */
  readonly lookMs?: number;
  /** UTC; for tests. */
  readonly nowMs?: () => number;
};

const tellAgainMs = 86_400_000;

/** What is wrong with the life of the certificate now; of one that cannot be read a connect tells. */
function faultNow(config: OwnSetting, nowMs: number): LifeFault | undefined {
  try {
    const life = ownLife(config);
    return life && lifeFault(life, nowMs);
  } catch {
    return undefined;
  }
}

/**
 * Tells in the log that the certificate which the gateway shows OPC UA servers ends soon, has ended, or does not count yet: at once and
 * again each day. Sessions that are open go on, so that nothing else would tell before the next connect fails.
 */
export function watchOpcuaLife({ config, log, lookMs = 600_000, nowMs = Date.now }: LifeWatchParts): Disposable {
  let told: { code: string; atMs: number } | undefined;
  const look = (): void => {
    const found = faultNow(config(), nowMs());
    if (found === undefined) {
      told = undefined;
      return;
    }
    const { code, message, remedy } = found;
    const atMs = performance.now();
    if (told?.code === code && atMs - told.atMs < tellAgainMs) return;
    told = { code, atMs };
    log[code === "OPCUA_CERTIFICATE_ENDS_SOON" ? "warn" : "error"]({ code, remedy }, message);
  };
  look();
  const timer = setInterval(look, lookMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
