import { systemClock } from "@jilian/domain/clock.ts";
import type { Value } from "@jilian/domain/datatypes.ts";
import { shortestFloat32 } from "@jilian/domain/decimal.ts";
import { qualityOf, statusName } from "@jilian/domain/quality.ts";
import { pino } from "pino";
import type { DeviceConfig, GatewayConfig } from "../config.ts";
import { plainValue, timeText, type ValueView } from "../last-values.ts";
import { type GatewayViews, gatewayFailure, gatewayJson, gatewayText, gatewayValues } from "./gateway-values.ts";
import { argumentsOf, type CommandIo, plainText, reasonCharacters, spanText, tableLines, usage } from "./io.ts";
import { type LiveDevice, type LiveReadings, type LiveTag, startLive } from "./live-readings.ts";
import { standardFile } from "./status.ts";

const help = `jilian-gateway read gateway.yaml [DEVICE ...] [--once] [--json]   reads devices and shows what comes, as a table

Without any word: ./gateway.yaml, else /etc/jilian-gateway/gateway.yaml. Reads as the gateway does (same drivers, scaling and quality), without broker and outbox: nothing is sent or kept. On a terminal the table
is renewed until Ctrl-C; with --once, or where the output is no terminal, each device is read once.

  RAW      as read, before scale; VALUE in the unit of the tag, each reading, whatever its deadband
  QUALITY  good, or the reason: BadNodeIdUnknown (no such address), BadOutOfRange (beyond range), BadSensorFailure (NaN), ...
  AGE      since the value was true, as far as the device tells
  Tags that are derived of others have no raw value.
  --json   one line of JSON for each reading, and for each device that fails

A gateway that runs keeps its own connections: a device with a single client slot refuses this command meanwhile. Of a device on a line
(RS-485) the last values of the gateway are shown while the one of the same outbox file runs, with "from":"gateway" in JSON and without RAW:
each of two masters would take answers to the other. To ask it, and with OPC UA, run this command as
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
  if ("type" in tag && tag.type === "datetime") return timeText(Number(value));
  // As the device has it: 233.814 and not the digits of a wider number that it happens to be.
  const isFloat32 =
    "type" in tag && tag.type === "float32" && typeof value === "number" && Math.fround(value) === value;
  return isFloat32 ? String(Number(shortestFloat32(value))) : String(value);
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
    ...failed.map(({ id, reason }) => `${id}: ${plainText(reason, reasonCharacters)}`),
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

/** Devices whose values the running gateway is asked for, and what it told at first. */
type OfGateway = { readonly ids: readonly string[]; readonly first: GatewayViews };
/** `devices` are read by this command. */
type Asked = { config: GatewayConfig; devices: readonly DeviceConfig[]; ofGateway: OfGateway; json: boolean };

async function lookOnce({ config, devices }: Asked, io: CommandIo): Promise<LiveDevice[]> {
  if (devices.length === 0) return [];
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
  return live.devices.map((device) => {
    const one = settled.get(device.id);
    if (one || device.connected) return one ?? device;
    return { ...device, connected: false, reason: "no answer until the end of this look; read it again, alone" };
  });
}

/** The table of what was read here, below it what the gateway has read. */
function allText(seen: readonly LiveDevice[], { ids, first }: OfGateway): string {
  return [
    ...(seen.length > 0 ? [readingsText(seen, Date.now())] : []),
    ...(ids.length > 0 ? [gatewayText(ids, first)] : []),
  ].join("\n\n");
}

async function readOnce(asked: Asked, io: CommandIo): Promise<number> {
  const { ofGateway, json } = asked;
  const { ids, first } = ofGateway;
  const seen = await lookOnce(asked, io);
  if (json) {
    for (const device of seen) {
      if (device.connected) for (const tag of device.tags) io.print(jsonOf(device, tag));
      else io.print(JSON.stringify({ device: device.id, failed: true, reason: device.reason }));
    }
    for (const line of gatewayJson(ids, first, () => true)) io.print(line);
  } else io.print(allText(seen, ofGateway));
  const isFailed = seen.some(({ connected }) => connected === false);
  return isFailed || ids.some((id) => gatewayFailure(first.get(id)) !== undefined) ? 1 : 0;
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
async function readOn({ config, devices, ofGateway, json }: Asked, io: CommandIo): Promise<number> {
  const { screen } = io;
  const { promise, resolve } = Promise.withResolvers<void>();
  if (io.signal.aborted) return 0;
  io.signal.addEventListener("abort", () => resolve(), { once: true });
  let views = ofGateway.first;
  let isGone = false;
  const draw = () => {
    if (json) return;
    const gone = isGone ? "\nthe gateway does not answer any more: these were its last values" : "";
    const text = allText(live.devices, { ids: ofGateway.ids, first: views }) + gone;
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
  const told = new Map<string, string | undefined>();
  const tell = () => {
    if (!json) return;
    const isNew = (device: string, { tag, time }: ValueView) => {
      const key = `${device} ${tag}`;
      const isSame = told.has(key) && told.get(key) === time;
      told.set(key, time);
      return !isSame;
    };
    for (const line of gatewayJson(ofGateway.ids, views, isNew)) io.print(line);
  };
  let asking: Promise<void> | undefined;
  /** A gateway that ends meanwhile leaves its last values. */
  const askAgain = async () => {
    const found = await gatewayValues(config.outbox.path, ofGateway.ids);
    isGone = typeof found === "string";
    if (typeof found !== "string") views = found;
    tell();
    asking = undefined;
  };
  const timer = setInterval(() => {
    if (ofGateway.ids.length > 0) asking ??= askAgain();
    draw();
  }, redrawMs);
  draw();
  tell();
  try {
    await promise;
  } finally {
    clearInterval(timer);
    await live.close();
    await asking;
  }
  return 0;
}

/** `jilian-gateway read`: shows what devices give. @returns the exit code */
export async function readCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const flag = { type: "boolean", default: false } as const;
  const parsed = argumentsOf(args, { config: { type: "string" }, once: flag, json: flag }, help, io);
  if (typeof parsed === "number") return parsed;
  const { once, json, config: named } = parsed.values;
  const [first, ...ids] = named === undefined ? parsed.positionals : [named, ...parsed.positionals];
  const file = standardFile(first, help, io);
  if (typeof file === "number") return file;
  const config = await io.configOf(file);
  const unknown = ids.filter((id) => !config.devices.some((device) => device.id === id));
  if (unknown.length > 0) {
    const known = config.devices.map(({ id }) => id).join(", ");
    return usage(`${file} has no device ${unknown.join(", ")}; it has ${known}`, help, io);
  }
  const devices = config.devices.filter(({ id }) => ids.length === 0 || ids.includes(id));
  const onLines = devices.filter((device) => "line" in device).map(({ id }) => id);
  const views = onLines.length > 0 ? await gatewayValues(config.outbox.path, onLines) : "nobody";
  if (views === "unanswered") {
    io.complain(
      `a gateway runs on ${config.outbox.path}, or this user may not ask whether one does; it has the lines of ${onLines.join(", ")}\n  remedy: run this command as the user of the gateway, whose last values it then shows; or stop the gateway first, or name devices that are on no line`,
    );
    return 1;
  }
  const ofGateway: OfGateway = views === "nobody" ? { ids: [], first: new Map() } : { ids: onLines, first: views };
  const readHere = devices.filter(({ id }) => !ofGateway.ids.includes(id));
  const asked = { config, devices: readHere, ofGateway, json };
  return once || io.screen === undefined ? readOnce(asked, io) : readOn(asked, io);
}
