import type { Logger } from "pino";
import { type OwnedTelemetry, openInThread } from "../thread/owner.ts";

export type TelemetryOptions = {
  /** Database file; made with its folder where absent. One process owns it. */
  path: string;
  /** What DuckDB may use for its buffers; 512 to 1024 suits a machine of 4 GB. */
  memoryLimitMb: number;
  /** Threads of DuckDB's queries. */
  threads: number;
  log: Logger;
};

/**
 * Opens the embedded telemetry store: a DuckDB file, owned by a thread of its own, because appending blocks and the file bears one owner.
 * @throws JilianError STORE_LOCKED when another process or thread has the file, STORE_TOO_NEW, STORE_UNREADABLE
 */
export async function openTelemetry({ log, ...setting }: TelemetryOptions): Promise<OwnedTelemetry> {
  return await openInThread(new URL("./worker.ts", import.meta.url), setting, { path: setting.path }, log);
}
