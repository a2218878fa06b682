import { existsSync, realpathSync } from "node:fs";
import { reasonOf } from "../collect.ts";
import { baudRates, type LineConfig, parities } from "../drivers/line-config.ts";
import { openConnection } from "../drivers/modbus-connection.ts";
import { endpointOf, exceptionText } from "../drivers/modbus-errors.ts";
import { findMatches, type Match, readExpected } from "../probe/match.ts";
import { type GivenRange, probeUnits, tables, type UnitFinding } from "../probe/probe.ts";
import { isBits, type Range, type TableFinding } from "../probe/ranges.ts";
import { placeText, type SerialPlace, serialUnits, usersOf } from "../probe/serial.ts";
import { probeSession } from "../probe/session.ts";
import { gatewayText, gatewayValues } from "./gateway-values.ts";
import { argumentsOf, type CommandIo, plainText, usage, wholeNumber } from "./io.ts";

const help = `jilian-gateway probe modbus HOST[:PORT] [options]    finds out what answers there, and how its values are to be read
jilian-gateway probe modbus /dev/ttyUSB0 [options]   the same on a serial port (Modbus RTU)

  --baud 9600              of a serial port, with --parity none (even, odd) and --stop-bits 1 (2); these when left out

  --units 1-10,17          unit ids to ask; 1-247 when left out. Devices with their own Ethernet often answer to 255 or to every unit
  --range holding:0-200    reads this instead of searching; several parted by commas; tables: ${tables.join(", ")}
  --expect 230.1,50.02     values that the device's display shows now: names the addresses, types, byte orders and factors that give them
  --tolerance 1            how far a value may be off, in percent; 1 when left out
  --timeout-ms 300         how long a unit is waited for; behind a serial gateway 1000 is safer
  --requests-per-second 20 at most; one connection, one request at a time
  --max-requests 1500      at most; divided among the units that answer

It only reads: functions 1-4, and 43/14 for the identification. The search tries addresses where ranges usually begin: what lies between can
be missed, --range reads exactly. Progress goes to standard error. Ctrl-C ends it and shows what was found.
A serial port that another process has open is refused: stop the gateway first, two masters on one line disturb each other. With
--config gateway.yaml the last values of the gateway that has this line are shown instead, also where it is a converter's HOST:PORT.
Exit codes: 0 something was found, 1 nothing answers or no expected value was found, 2 wrong arguments.
`;

const options = {
  units: { type: "string" },
  range: { type: "string" },
  expect: { type: "string" },
  tolerance: { type: "string" },
  "timeout-ms": { type: "string" },
  "requests-per-second": { type: "string" },
  "max-requests": { type: "string" },
  baud: { type: "string" },
  parity: { type: "string" },
  "stop-bits": { type: "string" },
  config: { type: "string" },
} as const;

const matchesShown = 12;

/** `1-10,17` as numbers, each once; undefined when it is none. */
export function readUnits(text: string): number[] | undefined {
  const units = new Set<number>();
  for (const part of text.split(",")) {
    const [, first = "", last = first] = /^\s*(\d{1,3})(?:-(\d{1,3}))?\s*$/.exec(part) ?? [];
    const [from, to] = [Number(first), Number(last)];
    if (first === "" || from > to || to > 255) return undefined;
    for (let unit = from; unit <= to; unit += 1) units.add(unit);
  }
  return [...units];
}

/** `holding:0-200,input:0-99`; undefined when it is none. */
export function readRanges(text: string): GivenRange[] | undefined {
  const ranges = text.split(",").map((part) => {
    const [, name, first = "", last = first] = /^\s*([a-z]+):(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    const table = tables.find((one) => one === name);
    const [from, to] = [Number(first), Number(last)];
    return table === undefined || from > to || to > 65_535 ? undefined : { table, from, to };
  });
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
}

/** `host`, `host:port`, `[::1]:port`; undefined when it is none. */
export function readHost(text: string): { host: string; port: number } | undefined {
  const bracketed = /^\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = /^([^\s:/[\]]{1,253})(?::(\d{1,5}))?$/.exec(text);
  const [, host = "", digits = "502"] = bracketed ?? plain ?? [];
  const port = Number(digits);
  return host === "" || port < 1 || port > 65_535 ? undefined : { host, port };
}

function rangeText({ from, to, sampledFrom }: Range): string {
  const text = from === to ? `${from}` : `${from}-${to}`;
  return sampledFrom === undefined ? text : `${text} (from ${sampledFrom} on only some were tried)`;
}

function tableText({ table, ranges, exception, silent, largest, isLimit, isWhole }: TableFinding): string {
  const name = `  ${table.padEnd(9)}`;
  const cut = isWhole ? "" : silent ? "; stayed silent, given up" : "; not looked through to its end";
  if (ranges.length === 0) {
    const why = exception === undefined ? "" : `: ${exceptionText(exception)}`;
    return `${name}nothing readable found${why}${cut}`;
  }
  const what = isBits(table) ? "bits" : "registers";
  const block = isLimit ? `at most ${largest} ${what} in one read` : `up to ${largest} ${what} in one read worked`;
  return `${name}${ranges.map(rangeText).join(", ")}; ${block}${cut}`;
}

function unitText({ unitId, identity, tables: found }: UnitFinding): string {
  if (found.length === 0) return `unit ${unitId}  answers; it was not looked at`;
  const told = identity.length === 0 ? "tells no vendor" : plainText(identity.join(", "));
  return [`unit ${unitId}  ${told}`, ...found.map(tableText)].join("\n");
}

function matchText({ unitId, table, address, type, order, factor, value, isUnsignedToo }: Match): string {
  const { numerator, denominator } = factor;
  const scale = numerator === denominator ? "" : `, scale: { numerator: ${numerator}, denominator: ${denominator} }`;
  const tag = `{ table: ${table}, address: ${address}, type: ${type}, order: ${order}${scale} }`;
  const twin = isUnsignedToo ? `  (u${type} as well)` : "";
  return `  unit ${unitId}  ${String(Number(value.toPrecision(7))).padEnd(10)} ${tag}${twin}`;
}

function matchesText(expected: string, matches: readonly Match[]): string {
  if (matches.length === 0) return `${expected}: nothing that was read gives this value`;
  const more = matches.length > matchesShown ? `\n  ... ${matches.length - matchesShown} more, less likely` : "";
  const shown = matches.slice(0, matchesShown).map(matchText).join("\n");
  return `${expected}, the likeliest first; compare two readings while the value changes:\n${shown}${more}`;
}

/** Devices that do not look at the unit id answer to each. */
function sameNote(asked: number, found: readonly UnitFinding[]): string[] {
  if (asked < 5 || found.length < asked) return [];
  return [
    "Every unit that was asked answers: the device may not look at the unit id. Take the one of its manual, or 1.",
  ];
}

type Place = { readonly host: string; readonly port: number } | SerialPlace;

const nameOf = (place: Place): string => ("path" in place ? placeText(place) : `${place.host}:${place.port}`);

const serialOptions = ["baud", "parity", "stop-bits"] as const;

/** Where the units are, or what is wrong with it. */
function readPlace(address: string, values: Readonly<Partial<Record<keyof typeof options, string>>>): Place | string {
  if (!address.startsWith("/")) {
    const given = serialOptions.find((name) => values[name] !== undefined);
    if (given !== undefined)
      return `--${given} is of a serial port, and "${address}" is none: write its path, /dev/...`;
    return readHost(address) ?? `"${address}" is no HOST, HOST:PORT or path of a serial port`;
  }
  const baudRate = Number(values.baud ?? "9600");
  if (!baudRates.some((rate) => rate === baudRate)) return `--baud: expected one of ${baudRates.join(", ")}`;
  const parity = parities.find((one) => one === (values.parity ?? "none"));
  if (parity === undefined) return `--parity: expected one of ${parities.join(", ")}`;
  const stopBits = ([1, 2] as const).find((one) => String(one) === (values["stop-bits"] ?? "1"));
  return stopBits === undefined ? "--stop-bits: expected 1 or 2" : { path: address, baudRate, parity, stopBits };
}

/** What was asked for, or what is wrong with it. */
function readArguments(
  positionals: readonly string[],
  values: Readonly<Partial<Record<keyof typeof options, string>>>,
) {
  const [protocol, address = "", ...rest] = positionals;
  if (protocol !== "modbus" || rest.length > 0) return "expected: probe modbus HOST[:PORT] or probe modbus /dev/...";
  const place = readPlace(address, values);
  if (typeof place === "string") return place;
  const units = readUnits(values.units ?? "1-247");
  if (units === undefined) return `--units "${values.units}": expected unit ids 0-255 as in 1-10,17`;
  if ("path" in place && units.some((unit) => unit < 1 || unit > 247))
    return `--units "${values.units}": on a serial line units are 1-247; 0 is the broadcast, which nothing answers`;
  const given = values.range === undefined ? [] : readRanges(values.range);
  if (given === undefined) return `--range "${values.range}": expected as in holding:0-200,input:0-99`;
  const expected = values.expect === undefined ? [] : readExpected(values.expect);
  if (expected === undefined) return `--expect "${values.expect}": expected numbers other than 0 as in 230.1,50.02`;
  const percent = Number(values.tolerance ?? "1");
  if (!(percent >= 0 && percent <= 50) || values.tolerance === "") return "--tolerance: expected 0-50, in percent";
  const timeoutMs = wholeNumber(values["timeout-ms"], 10, 60_000, 300);
  const requestsPerSecond = wholeNumber(values["requests-per-second"], 1, 1000, 20);
  const maxRequests = wholeNumber(values["max-requests"], 1, 100_000, 1500);
  if (timeoutMs === undefined) return "--timeout-ms: expected 10-60000";
  if (requestsPerSecond === undefined) return "--requests-per-second: expected 1-1000";
  if (maxRequests === undefined) return "--max-requests: expected 1-100000";
  return { place, units, given, expected, tolerance: percent / 100, timeoutMs, requestsPerSecond, maxRequests };
}

type Asked = Exclude<ReturnType<typeof readArguments>, string>;

/** The load that the probe may cause, told before its first request. */
function budgetText({ place, units, maxRequests, requestsPerSecond, timeoutMs }: Asked): string {
  const busy = `${Math.ceil(maxRequests / requestsPerSecond)} s`;
  const silent = `${Math.ceil((timeoutMs * units.length) / 1000)} s`;
  const load = `at most ${maxRequests} requests, ${requestsPerSecond} a second, one at a time: up to ${busy}`;
  return `${nameOf(place)}: ${load}, and ${timeoutMs} ms for each that gets no answer (${silent} if no unit answers). Reads only.`;
}

/** The way to the units of a place. Opens nothing yet. */
function accessOf({ place, ...asked }: Asked, signal: AbortSignal) {
  if ("path" in place) return serialUnits(place, asked, signal);
  const { host, port } = place;
  const target = { device: "probe", host, port, endpoint: endpointOf(host, port), timeoutMs: asked.timeoutMs };
  return {
    open: (unitId: number) => openConnection({ ...target, unitId }, signal),
    sent: undefined,
    close: async () => undefined,
  };
}

/** Nobody answers on a line: most often for one of these reasons. */
const silentLine =
  "Check wiring (A and B exchanged?), --baud, --parity and --stop-bits against the devices; many have 9600 8N1, or 19200 8E1.";

async function probe(asked: Asked, expectText: string, io: CommandIo): Promise<number> {
  const { place, units, given, maxRequests, expected, tolerance } = asked;
  const users = "path" in place ? usersOf(place.path) : [];
  if (users.length > 0) {
    io.complain(
      `${nameOf(place)}: process ${users.join(", ")} has this port open\n  remedy: end it (a gateway: sudo systemctl stop jilian-gateway), or give --config gateway.yaml to see what the gateway reads there; two masters on one line disturb each other`,
    );
    return 1;
  }
  io.complain(budgetText(asked));
  const access = accessOf(asked, io.signal);
  const session = probeSession(access.open, { ...asked, sent: access.sent }, io.signal);
  let found: UnitFinding[];
  try {
    found = await probeUnits(session, { units, given, progress: io.complain }, maxRequests);
  } catch (thrown) {
    io.complain(reasonOf(thrown));
    return 1;
  } finally {
    session.close();
    await access.close();
  }
  const over = session.over();
  const there = found.length === 0 ? "no unit answers" : `units that answer: ${found.map((f) => f.unitId).join(", ")}`;
  io.print(`${nameOf(place)}  ${there}  (${units.length} asked, ${session.sent()} requests)`);
  for (const unit of found) io.print(unitText(unit));
  for (const note of sameNote(units.length, found)) io.print(note);
  const oddity = session.oddity();
  if (oddity !== undefined)
    io.print(`Some requests ended otherwise than in an answer, the last so: ${plainText(oddity)}`);
  if (over !== undefined) io.print(`Not everything was looked at: ${over}.`);
  if (found.length === 0 && "path" in place) io.print(silentLine);
  if (found.length === 0) return 1;
  const registers = found.flatMap((unit) => unit.registers);
  const matches = findMatches(registers, expected, tolerance);
  const names = expectText.split(",");
  for (const [i, one] of matches.entries()) io.print(`\n${matchesText(names[i]?.trim() ?? "", one)}`);
  return matches.some((one) => one.length === 0) ? 1 : 0;
}

/** The line of a configuration that is at a place, by whatever name of its port. */
function lineAt(place: Place, lines: readonly LineConfig[] = []): LineConfig | undefined {
  if (!("path" in place)) {
    const isThere = (at: { host: string; port: number }) =>
      at.port === place.port && at.host.toLowerCase() === place.host.toLowerCase();
    return lines.find((line) => line.kind === "tcp" && (isThere(line) || (line.backup && isThere(line.backup))));
  }
  const real = (path: string) => (existsSync(path) ? realpathSync(path) : path);
  return lines.find((line) => line.kind === "serial" && real(line.path) === real(place.path));
}

/**
 * Shows what the running gateway has read of a line that it has, which must not be asked by two.
 * @returns the exit code; undefined where the place is no line of it, or it does not run
 */
async function shownByGateway({ place }: Asked, file: string, io: CommandIo): Promise<number | undefined> {
  const config = await io.configOf(file);
  const line = lineAt(place, config.lines);
  if (line === undefined) return undefined;
  const ids = config.devices.flatMap((one) => ("line" in one && one.line === line.id ? [one.id] : []));
  const views = await gatewayValues(config.outbox.path, ids);
  if (views === "nobody") return undefined;
  const has = `${nameOf(place)}: the gateway that runs on ${config.outbox.path} has this line (${line.id})`;
  if (views === "unanswered") {
    io.complain(`${has}, and cannot be asked\n  remedy: run this command as its user, or stop it first`);
    return 1;
  }
  io.complain(`${has}: nothing is asked here, two masters on one line disturb each other; stop the gateway to probe`);
  io.print(gatewayText(ids, views));
  return 1;
}

/** `jilian-gateway probe`. @returns the exit code */
export async function probeCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const parsed = argumentsOf(args, options, help, io);
  if (typeof parsed === "number") return parsed;
  const asked = readArguments(parsed.positionals, parsed.values);
  if (typeof asked === "string") return usage(asked, help, io);
  const { config } = parsed.values;
  const code = config === undefined ? undefined : await shownByGateway(asked, config, io);
  return code ?? probe(asked, parsed.values.expect ?? "", io);
}
