import { setTimeout as sleep } from "node:timers/promises";

/** Waits for a condition of the running product, bounded. @throws when it does not hold in time, with the last error it met */
export async function until(what: string, timeoutMs: number, holds: () => Promise<boolean> | boolean): Promise<void> {
  let last = "";
  for (const endMs = Date.now() + timeoutMs; Date.now() < endMs; await sleep(100)) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = `; ${String(error)}`;
    }
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}${last}`);
}
