import { JilianError, messageOf } from "@jilian/domain/errors.ts";

export function storeClosed(): JilianError {
  return new JilianError("the telemetry store is closed", {
    code: "STORE_CLOSED",
    action: "call the telemetry store",
    remedy: "nothing was done by this call; make it again after the service has started again",
  });
}

export function storeFailed(thrown: unknown, action: string): JilianError {
  if (thrown instanceof JilianError) return thrown;
  return new JilianError(`telemetry store: ${messageOf(thrown)}`, {
    code: "STORE_FAILED",
    action,
    remedy:
      "look at the cause; check free disk space and memory limit; a failed write has stored nothing and may be repeated",
    cause: thrown,
  });
}
