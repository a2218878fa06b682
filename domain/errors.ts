/** What an error says besides its message; every field is safe to log and to show. */
export type ErrorDetail = {
  /** Stable, documented, upper case: `MODBUS_TIMEOUT`, `CONFIG_INVALID`. Programs decide on it, never on the message. */
  code: string;
  /** What was being done: `read holding registers`. */
  action: string;
  /** What the reader can do about it. */
  remedy: string;
  /** The device or service concerned. */
  device?: string;
  /** Where it is: `192.168.1.5:502 unit 3 holding 100-124`. */
  address?: string;
  /** OPC UA StatusCode that samples carry because of this error. */
  status?: number;
  /** How long the other side asked to be left alone before the same is tried again. */
  retryAfterMs?: number;
  cause?: unknown;
};

/** The one error type of the product: a stable code, and enough to act on. */
export class JilianError extends Error {
  readonly code: string;
  readonly action: string;
  readonly remedy: string;
  readonly device: string | undefined;
  readonly address: string | undefined;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, detail: ErrorDetail) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "JilianError";
    this.code = detail.code;
    this.action = detail.action;
    this.remedy = detail.remedy;
    this.device = detail.device;
    this.address = detail.address;
    this.status = detail.status;
    this.retryAfterMs = detail.retryAfterMs;
  }
}

/** The message of anything that was thrown, on one line. */
export function messageOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return text.replaceAll(/\s+/g, " ").trim();
}

/** The stable code of anything that was thrown; `UNKNOWN` where it has none. */
export function codeOf(thrown: unknown): string {
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") return thrown.code;
  return "UNKNOWN";
}
