import { systemClock } from "@jilian/domain/clock.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import { qualityOf, statusName } from "@jilian/domain/quality.ts";
import { pino } from "pino";
import type { DeviceConfig, GatewayConfig } from "../config.ts";
import { askGateway } from "../control-client.ts";
import { plainValue, timeText } from "../last-values.ts";
import { argumentsOf, type CommandIo, plainText, spanText, tableLines, usage } from "./io.ts";
import { type LiveDevice, type LiveReadings, type LiveTag, startLive } from "./live-readings.ts";

const help = `jilian-gateway read gateway.yaml [DEVICE ...] [--once] [--json]   reads devices and shows what comes, as a table

Reads as the gateway does (same drivers, scaling and quality), without broker and outbox: nothing is sent or kept. On a terminal the table
is renewed until Ctrl-C; with --once, or where the output is no terminal, each device is read once.

  RAW      as read, before scale; VALUE in the unit of the tag, each reading, whatever its deadband
  QUALITY  good, or the reason: BadNodeIdUnknown (no such address), BadOutOfRange (beyond range), BadSensorFailure (NaN), ...
  AGE      since the value was true, as far as the device tells
  Tags that are derived of others have no raw value.
  --json   one line of JSON for each reading, and for each device that fails

A gateway that runs keeps its own connections: a device with a single client slot refuses this command meanwhile. A device on a line
(RS-485) is not read while the gateway of the same outbox file runs: each of two masters would take answers to the other. With OPC UA run it as
the user of the gateway, whose certificates it uses: sudo -u jilian jilian-gateway read /etc/jilian-gateway/gateway.yaml
Exit codes: 0 done, 1 a device could not be read (with its reason), 2 wrong configuration or arguments.
`;

/** Of a device's first values, beyond its own time-outs. */
const firstValuesMs = 10_000;
const redrawMs = 1000;

function valueText(value: Value | undefined, tag: LiveTag["tag"]): string {
  if (value === undefined) return "-";
  if (value === null) return "none";
  if (typeof value === "string") return plainText(JSON.stringify(value), 40);
  return "type" in tag && tag.type === "datetime" ? timeText(Number(value)) : String(value);
}

function qualityText(status: number): string {
  const quality = qualityOf(status);
  return quality === "good" ? quality : `${quality} ${statusName(status)}`;
}

function rowOf({ id }: LiveDevice, { tag, raw, sample }: LiveTag, nowMs: number): string[] {
  const age = sample === undefined ? "-" : spanText(Math.max(0, nowMs - sample.sourceTimeMs));
  const quality = sample === undefined ? "no value yet" : qualityText(sample.status);
  const unit = plainText(tag.unit ?? "", 20);
  return [id, tag.name, valueText(raw, tag), valueText(sample?.value, tag), unit, quality, age];
}

/** What people see: the table of all devices that were read, and below it those that fail. */
export function readingsText(devices: readonly LiveDevice[], nowMs: number): string {
  const shown = devices.filter(({ tags }) => tags.some(({ sample }) => sample !== undefined));
  const rows = shown.flatMap((device) => device.tags.map((tag) => rowOf(device, tag, nowMs)));
  const table = rows.length > 0 ? tableLines(["DEVICE", "TAG", "RAW", "VALUE", "UNIT", "QUALITY", "AGE"], rows) : [];
  const simulated = devices.filter((device) => device.simulated).map(({ id }) => id);
  const failed = devices.filter(({ connected }) => connected === false);
  return [
    ...table,
    ...(simulated.length > 0 ? [`simulated, no plant: ${simulated.join(", ")}`] : []),
    ...failed.map(({ id, reason }) => `${id}: ${plainText(reason)}`),
  ].join("\n");
}

/** A reading as a program gets it; whole numbers beyond 2^53 are text. */
function jsonOf({ id, simulated }: LiveDevice, { tag, raw, sample }: LiveTag): string {
  const { name, unit, role } = tag;
  const common = { device: id, tag: name, raw: plainValue(raw), unit, role, ...(simulated ? { simulated } : {}) };
  if (sample === undefined) return JSON.stringify({ ...common, value: null, quality: "bad", reason: "no value yet" });
  const { value, status, sourceTimeMs } = sample;
  const time = timeText(sourceTimeMs);
  const quality = qualityOf(status);
  return JSON.stringify({ ...common, value: plainValue(value), quality, status: statusName(status), time });
}

/** Whether a device has told all there is: it failed, or every tag has a value or a reason. */
function isSettled({ connected, tags }: LiveDevice): boolean {
  return connected === false || (connected === true && tags.every(({ sample }) => sample !== undefined));
}

type Asked = { config: GatewayConfig; devices: readonly DeviceConfig[]; json: boolean };

async function readOnce({ config, devices, json }: Asked, io: CommandIo): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timeoutMs = Math.max(...devices.map((device) => device.timeoutMs));
  const late = setTimeout(resolve, firstValuesMs + 3 * timeoutMs);
  io.signal.addEventListener("abort", () => resolve(), { once: true });
  // A device that has settled is left as it is: what comes after belongs to another look.
  const settled = new Map<string, LiveDevice>();
  const live: LiveReadings = startLive(config, devices, {
    clock: systemClock,
    log: pino({ level: "silent" }),
    onChange: (device) => {
      if (settled.has(device.id) || !isSettled(device)) return;
      settled.set(device.id, { ...device, tags: device.tags.map((tag) => ({ ...tag })) });
      if (settled.size === devices.length) resolve();
    },
  });
  try {
    await promise;
  } finally {
    clearTimeout(late);
    await live.close();
  }
  const seen = live.devices.map((device) => {
    const one = settled.get(device.id);
    if (one || device.connected) return one ?? device;
    return { ...device, connected: false, reason: "no answer until the end of this look; read it again, alone" };
  });
  const failed = seen.filter(({ connected }) => connected === false);
  if (json) {
    for (const device of seen) {
      if (device.connected) for (const tag of device.tags) io.print(jsonOf(device, tag));
      else io.print(JSON.stringify({ device: device.id, failed: true, reason: device.reason }));
    }
  } else io.print(readingsText(seen, Date.now()));
  return failed.length > 0 ? 1 : 0;
}

/** As many lines as the screen has. */
function fitted(text: string, rows: number): string {
  const lines = text.split("\n");
  const most = Math.max(3, rows - 1);
  if (lines.length <= most) return text;
  const more = `... ${lines.length - most + 1} more lines: name a device, or use --once`;
  return [...lines.slice(0, most - 1), more].join("\n");
}

/** Until Ctrl-C. */
async function readOn({ config, devices, json }: Asked, io: CommandIo): Promise<number> {
  const { screen } = io;
  const { promise, resolve } = Promise.withResolvers<void>();
  if (io.signal.aborted) return 0;
  io.signal.addEventListener("abort", () => resolve(), { once: true });
  const draw = () => {
    if (json) return;
    const text = readingsText(live.devices, Date.now());
    screen?.show(fitted(text === "" ? "connecting ..." : text, screen.rows()));
  };
  const live: LiveReadings = startLive(config, devices, {
    clock: systemClock,
    log: pino({ level: "silent" }),
    onChange: (device, changed) => {
      if (json) for (const tag of changed) io.print(jsonOf(device, tag));
      if (json && device.connected === false && changed.length === 0)
        io.print(JSON.stringify({ device: device.id, failed: true, reason: device.reason }));
    },
  });
  const timer = setInterval(draw, redrawMs);
  draw();
  try {
    await promise;
  } finally {
    clearInterval(timer);
    await live.close();
  }
  return 0;
}

/**
 * Devices on lines that the running gateway may be asking now. On a line every master hears every answer, and one of RTU does not say what
 * it answers: the gateway would take one to this command for its own, and this command one to the gateway.
 */
async function sharedWithGateway({ outbox }: GatewayConfig, devices: readonly DeviceConfig[]): Promise<string[]> {
  const onLines = devices.filter((device) => "line" in device).map(({ id }) => id);
  if (onLines.length === 0) return [];
  // One that does not answer, or may not be asked by this user, runs all the same.
  const isRunning = await askGateway(outbox.path, { v: 1, command: "status" }, () => undefined).catch(() => true);
  return isRunning ? onLines : [];
}

/** `jilian-gateway read`: shows what devices give. @returns the exit code */
export async function readCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const flag = { type: "boolean", default: false } as const;
  const parsed = argumentsOf(args, { config: { type: "string" }, once: flag, json: flag }, help, io);
  if (typeof parsed === "number") return parsed;
  const { once, json, config: named } = parsed.values;
  const [file, ...ids] = named === undefined ? parsed.positionals : [named, ...parsed.positionals];
  if (file === undefined) return usage("the configuration file is missing", help, io);
  const config = await io.configOf(file);
  const unknown = ids.filter((id) => !config.devices.some((device) => device.id === id));
  if (unknown.length > 0) {
    const known = config.devices.map(({ id }) => id).join(", ");
    return usage(`${file} has no device ${unknown.join(", ")}; it has ${known}`, help, io);
  }
  const devices = config.devices.filter(({ id }) => ids.length === 0 || ids.includes(id));
  const shared = await sharedWithGateway(config, devices);
  if (shared.length > 0) {
    io.complain(
      `a gateway runs on ${config.outbox.path}, or this user may not ask whether one does; it has the lines of ${shared.join(", ")}\n  remedy: stop the gateway first, or name devices that are on no line; jilian-gateway status tells how they are`,
    );
    return 1;
  }
  const asked = { config, devices, json };
  return once || io.screen === undefined ? readOnce(asked, io) : readOn(asked, io);
}
