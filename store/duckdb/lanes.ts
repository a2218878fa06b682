import type { DuckDBConnection } from "@duckdb/node-api";
import { storeClosed } from "../thread/faults.ts";

/** Connections shared by calls: each call has one to itself, the others wait in order of arrival. */
export type Lanes = {
  readonly run: <T>(work: (connection: DuckDBConnection) => Promise<T>) => Promise<T>;
  /** Rejects what waits (STORE_CLOSED), lets what runs end, does a last piece of work, and disconnects. */
  readonly close: (last?: (connection: DuckDBConnection) => Promise<void>) => Promise<void>;
};

/** One connection makes calls strictly one after the other: that is how writes are. How many may wait is bounded by the callers. */
export function createLanes(connections: readonly DuckDBConnection[]): Lanes {
  const free = [...connections];
  const waiting: PromiseWithResolvers<DuckDBConnection>[] = [];
  let closed = false;
  let idle: (() => void) | undefined;

  function release(connection: DuckDBConnection): void {
    const next = waiting.shift();
    if (next) next.resolve(connection);
    else free.push(connection);
    if (free.length === connections.length) idle?.();
  }

  async function take(): Promise<DuckDBConnection> {
    if (closed) throw storeClosed();
    const connection = free.pop();
    if (connection) return connection;
    const wanted = Promise.withResolvers<DuckDBConnection>();
    waiting.push(wanted);
    return await wanted.promise;
  }

  return {
    run: async (work) => {
      const connection = await take();
      try {
        return await work(connection);
      } finally {
        release(connection);
      }
    },
    close: async (last) => {
      closed = true;
      for (const wanted of waiting.splice(0)) wanted.reject(storeClosed());
      if (free.length < connections.length) await new Promise<void>((resolve) => (idle = resolve));
      try {
        await last?.(connections[0] as DuckDBConnection);
      } finally {
        for (const connection of connections) connection.closeSync();
      }
    },
  };
}
