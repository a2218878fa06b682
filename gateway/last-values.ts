import type { Clock } from "@jilian/domain/clock.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import { jsonAnswer, type OpsAnswer, textAnswer } from "@jilian/domain/ops.ts";
import { qualityOf, Status, statusName } from "@jilian/domain/quality.ts";
import type { CommonTag, DerivedTag } from "./drivers/tag-config.ts";

/**
 * What was read of a tag last, scaled and judged, whether or not that made a sample: a deadband holds samples back, and who looks wants
 * to see the tag. `seen` is undefined until it was read; where the device is away its value is null, with the reason as status.
 */
export type LastValue = {
  readonly tag: CommonTag | DerivedTag;
  /** `timeMs`: source time, UTC ms in the gateway's clock. */
  readonly seen: { readonly value: Value; readonly status: number; readonly timeMs: number } | undefined;
};

/** Of one device: as many values as it has tags, so that the memory for it is bounded by the configuration. */
export type DeviceValues = {
  readonly device: string;
  readonly connected: boolean;
  readonly simulated: boolean;
  readonly values: readonly LastValue[];
};

/** Of a text from a device so much is shown: it may be as long as an OPC UA message. */
const mostCharacters = 256;

/** A value as a program gets it in JSON; whole numbers beyond 2^53 are text. */
export function plainValue(value: Value | undefined): string | number | boolean | null {
  if (typeof value !== "bigint") return value ?? null;
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

/** A time for people and programs, ISO 8601; a number where it is none. */
export function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}

/** One tag in an answer of `/values`. Keys as those of `jilian-gateway read --json`. */
export type ValueView = {
  readonly tag: string;
  readonly value: string | number | boolean | null;
  /** The text is longer than it is shown. */
  readonly truncated?: true;
  readonly unit?: string;
  readonly role?: string;
  readonly quality: string;
  readonly status: string;
  /** Source time, and how old it is; absent until the tag was read. */
  readonly time?: string;
  readonly ageMs?: number;
};

export type DeviceView = {
  readonly device: string;
  readonly connected: boolean;
  readonly simulated?: true;
  readonly values: readonly ValueView[];
};

function valueView({ tag: { name, unit, role }, seen }: LastValue, nowMs: number): ValueView {
  const status = seen?.status ?? Status.BadWaitingForInitialData;
  const value = plainValue(seen?.value);
  const isLong = typeof value === "string" && value.length > mostCharacters;
  return {
    tag: name,
    value: isLong ? value.slice(0, mostCharacters) : value,
    ...(isLong ? { truncated: true } : {}),
    ...(unit === undefined ? {} : { unit }),
    ...(role === undefined ? {} : { role }),
    quality: qualityOf(status),
    status: statusName(status),
    ...(seen ? { time: timeText(seen.timeMs), ageMs: Math.max(0, nowMs - seen.timeMs) } : {}),
  };
}

/** What people and programs see of devices. */
export function deviceViews(devices: readonly DeviceValues[], nowMs: number): DeviceView[] {
  return devices.map(({ device, connected, simulated, values }) => ({
    device,
    connected,
    ...(simulated ? { simulated } : {}),
    values: values.map((one) => valueView(one, nowMs)),
  }));
}

/**
 * Answers `/values` and `/values?device=ID` (which may come several times): what each tag was last, in the order of the configuration.
 * Nothing but names, units, roles and values of tags is in it: no address, no user, no reason that names one.
 */
export function valuesAnswer(
  devices: () => readonly DeviceValues[],
  clock: Pick<Clock, "now">,
): (query: URLSearchParams) => OpsAnswer {
  return (query) => {
    const all = devices();
    const asked = query.getAll("device");
    const unknown = asked.filter((id) => !all.some(({ device }) => device === id));
    if (unknown.length > 0) return textAnswer(404, `no such device; there are ${all.map((d) => d.device).join(", ")}`);
    const nowMs = clock.now();
    const shown = all.filter(({ device }) => asked.length === 0 || asked.includes(device));
    return jsonAnswer(200, { time: timeText(nowMs), devices: deviceViews(shown, nowMs) });
  };
}
