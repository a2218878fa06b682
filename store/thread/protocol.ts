import type { MessagePort } from "node:worker_threads";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { Engine } from "./engine.ts";
import { storeFailed } from "./faults.ts";

/**
 * What crosses the ports of the store's thread. One port belongs to one user of the store; on it requests go one way, answers and the
 * notice of the end come back. A port that closes without the notice means that the thread died.
 */
export type Method = keyof Engine;
export type Request =
  | { kind: "call"; id: number; method: Method; args: readonly unknown[] }
  | { kind: "attach"; port: MessagePort };
export type Answer =
  | { kind: "result"; id: number; value: unknown }
  | { kind: "error"; id: number; error: WireError }
  | { kind: "closing" };

/** Between the store's thread and the one that started it. */
export type Lifecycle =
  | { kind: "opened"; found: { schemaVersion: number; series: number; lastTx: number } }
  | { kind: "refused"; error: WireError }
  | { kind: "failed"; error: WireError }
  | { kind: "closed"; error?: WireError };

/** A JilianError without its prototype, which structured cloning drops. */
export type WireError = {
  message: string;
  code: string;
  action: string;
  remedy: string;
  device?: string;
  address?: string;
  retryAfterMs?: number;
  cause?: string;
};

export function encodeError(thrown: unknown, action: string): WireError {
  const { message, code, remedy, device, address, retryAfterMs, cause, action: done } = storeFailed(thrown, action);
  const wire: WireError = { message, code, action: done, remedy };
  if (device !== undefined) wire.device = device;
  if (address !== undefined) wire.address = address;
  if (retryAfterMs !== undefined) wire.retryAfterMs = retryAfterMs;
  if (cause !== undefined) wire.cause = messageOf(cause);
  return wire;
}

export function decodeError({ message, ...detail }: WireError): JilianError {
  return new JilianError(message, detail);
}

/** Buffers of the typed arrays in a message, one or two levels down: handed over instead of copied. */
export function buffersOf(value: unknown, depth = 2): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
  if (depth === 0 || typeof value !== "object" || value === null || value instanceof Map) return [];
  const inner = Array.isArray(value) ? value : Object.values(value);
  // A plain array of rows holds no buffers; looking at its first tells.
  if (Array.isArray(value) && !ArrayBuffer.isView(inner[0])) return [];
  return inner.flatMap((each) => buffersOf(each, depth - 1));
}
