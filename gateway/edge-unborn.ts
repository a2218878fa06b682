import { codeOf, messageOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import { atMostEvery } from "./log-limit.ts";

/** After so long a birth is tried again in the same form: a metric that waited with old readings may be gone from it. */
const againMs = 60_000;
const tellMs = 60_000;

/**
 * Devices whose birth cannot be sent: too large for a message, or it cannot be made. Their readings wait on disk, those of other devices
 * go on. Lives longer than a session, so that each is told once a minute however often the node connects.
 */
export function unbornDevices(log: Logger) {
  const held = new Map<string, { form: number; sinceMs: number }>();
  const tells = new Map<string, ReturnType<typeof atMostEvery>>();

  function hold(device: string, form: number, tell: (heldBack: number) => void): void {
    held.set(device, { form, sinceMs: performance.now() });
    const limit = tells.get(device) ?? atMostEvery(tellMs);
    tells.set(device, limit);
    limit(tell);
  }

  return {
    has: (device: string): boolean => held.has(device),
    /** Whether a birth in this form failed just now. */
    isHeldBack: (device: string, form: number): boolean => {
      const found = held.get(device);
      return found !== undefined && found.form === form && performance.now() - found.sinceMs < againMs;
    },
    isBorn: (device: string): void => void held.delete(device),
    /** A session begins with all of them. */
    clear: (): void => held.clear(),
    tooLarge: (device: string, form: number, size: { metrics: number; bytes: number; maxPayloadBytes: number }): void =>
      hold(device, form, (heldBack) => {
        const remedy = "divide its tags among two devices, or raise broker.maxPayloadBytes here and at the broker";
        log.error(
          { code: "BIRTH_TOO_LARGE", device, ...size, remedy, heldBack },
          "the birth of a device is larger than a message may be: its readings wait in the outbox and are not sent",
        );
      }),
    /** Born without what its metrics were before. */
    shortened: (device: string, size: { metrics: number; bytes: number; maxPayloadBytes: number }): void =>
      log.warn(
        { code: "BIRTH_SHORTENED", device, ...size },
        "the birth of a device is too large to tell what its metrics were before: readings of then count for what the platform knows",
      ),
    failed: (device: string, form: number, err: unknown): void =>
      hold(device, form, (heldBack) => {
        const remedy = "this is a defect of the gateway, please report it";
        log.error(
          { code: "BIRTH_FAILED", device, found: codeOf(err), err, remedy, heldBack },
          `the birth of a device cannot be made, its readings wait in the outbox: ${messageOf(err)}`,
        );
      }),
  };
}

export type UnbornDevices = ReturnType<typeof unbornDevices>;
