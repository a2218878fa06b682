import { unwatchFile, watchFile } from "node:fs";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { GatewayConfig } from "./config.ts";
import { isSame } from "./reload.ts";
import type { Gateway } from "./run.ts";

export type ReloadParts = {
  /** The configuration's file. */
  readonly file: string;
  /** Reads and checks it whole. @throws Error whose message lists every fault; a JilianError where it could not be read, with another code */
  readonly read: () => Promise<GatewayConfig>;
  readonly gateway: Pick<Gateway, "reload">;
  readonly log: Logger;
  /** How often the file is looked at, machine time; 2 s if absent. */
  readonly everyMs?: number;
};

/**
 * Reloads the configuration when its file has changed, and on SIGHUP. A file with a fault is refused as a whole: the one in use stays, and
 * the log says why, and the next change or SIGHUP has it read again. Looked at by time and size, because editors put another file in its place, and network drives tell nobody. A change is
 * taken once the file has rested for more than a look: half of a file that is still being copied may be a whole one with fewer devices.
 */
export function reloadOnChange({ file, read, gateway, log, everyMs = 2000 }: ReloadParts): Disposable {
  let isRunning = false;
  let isAsked = false;
  let isClosed = false;
  let resting: NodeJS.Timeout | undefined;

  async function once(): Promise<void> {
    let next: GatewayConfig;
    try {
      next = await read();
    } catch (thrown) {
      // The end of the gateway ends a reading too: that is no fault of the file.
      if (isClosed) return;
      const unread = thrown instanceof JilianError && { code: thrown.code, remedy: thrown.remedy };
      log.error(
        { code: "CONFIG_REFUSED", file, ...unread },
        `the changed configuration is not taken, the one in use stays:\n${messageOf(thrown)}`,
      );
      return;
    }
    if (isClosed) return;
    const found = await gateway.reload(next);
    const { restart, whole, lines, opcua, added, changed, removed } = found;
    if (isSame(found)) log.info({ file }, "the configuration is the same");
    else log.info({ file, whole, lines, opcua, added, changed, removed }, "configuration reloaded");
    if (restart.length > 0)
      log.warn(
        { code: "CONFIG_NEEDS_RESTART", keys: restart },
        "these keys take effect with the next start of the gateway",
      );
  }

  /** What comes while one is under way is one more, after it. */
  async function all(): Promise<void> {
    while (isAsked && !isClosed) {
      isAsked = false;
      await once().catch((thrown: unknown) => log.error({ code: "RELOAD_FAILED", err: thrown }, messageOf(thrown)));
    }
    isRunning = false;
  }

  function ask(): void {
    isAsked = true;
    if (isRunning) return;
    isRunning = true;
    void all();
  }

  process.on("SIGHUP", ask);
  watchFile(file, { interval: everyMs, persistent: false }, (now, before) => {
    if (now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.ino) {
      clearTimeout(resting);
      resting = setTimeout(ask, 1.5 * everyMs);
      resting.unref();
    }
  });
  return {
    [Symbol.dispose]: () => {
      isClosed = true;
      clearTimeout(resting);
      process.off("SIGHUP", ask);
      unwatchFile(file);
    },
  };
}
