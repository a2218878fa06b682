import type { DeviceConfig } from "../config.ts";
import type { Dlt645Device } from "../drivers/dlt645-config.ts";
import { requestFrame } from "../drivers/dlt645-frame.ts";
import { blockValues } from "../drivers/dlt645-ids.ts";
import { planQuestions, type Question } from "../drivers/dlt645-plan.ts";
import { formatOf } from "../drivers/dlt645-tags.ts";
import type { LineConfig } from "../drivers/line-config.ts";
import { settingText } from "../drivers/line-facts.ts";
import { serialMedium } from "../drivers/line-serial.ts";
import { networkQuietMs } from "../drivers/line-socket.ts";
import type { ModbusDevice, ModbusRtuDevice, ModbusUnit } from "../drivers/modbus-config.ts";
import { isBitTable } from "../drivers/modbus-facts.ts";
import { planByRate } from "../drivers/modbus-plan.ts";
import { intervalOf } from "../drivers/rates.ts";

/**
 * Whether the reads that a configuration asks for find room in the time of what they go over. Reckoned, not measured, and while every
 * device answers: one that does not costs its time-out besides.
 */

/** What the calculation assumes where no configuration says it, of devices that are neither quick nor slow. */
const assumed = {
  /** From request to answer over TCP: 5-50 ms in most PLCs and meters. */
  tcpReadMs: 20,
  /** Silence of a Modbus unit before it answers. */
  modbusAnswerMs: 20,
  /** Of a DL/T 645 meter: 20-500 ms by DL/T 645-2007, 5.3.3. */
  dlt645AnswerMs: 100,
  /** Of a line whose speed only the converter knows: what most devices leave the works with. */
  modbusBaud: 9600,
  dlt645Baud: 2400,
  /** Of such a line, with a parity or a second stop bit: MODBUS over Serial Line V1.02, 2.5.1. */
  bitsPerCharacter: 11,
  /** Total and tariffs 1-4: what a block of energies brings from most meters, of the 64 that the standard has. */
  energies: 5,
};
/** RTU frames: request; unit, function, byte count and CRC around the data of an answer (MODBUS over Serial Line V1.02, 2.5.1). */
const modbusRequestBytes = 8;
const modbusAnswerBytes = 5;
/** Between two RTU frames there are 3.5 characters at least (2.5.1.1). */
const quietCharacters = 3.5;
/** Data behind the identifier in one frame of DL/T 645: L is at most 200 (5.2.4), 4 of which are the identifier. */
const dlt645FrameData = 196;

/** From here on a retry or a time-out leaves polls out. */
const mostLoad = 0.8;

/** A read as the line has it, and how often. */
type Exchange = {
  readonly requestBytes: number;
  readonly answerBytes: number;
  /** Silence before the answer. */
  readonly answerMs: number;
  readonly intervalMs: number;
};

/** How fast a line is. */
type Pace = {
  readonly characterMs: number;
  /** From the end of an answer to the next request. */
  readonly betweenMs: number;
  readonly why: string;
};

export type LineDevice = ModbusRtuDevice | Dlt645Device;

function modbusExchanges(device: ModbusUnit): Exchange[] {
  return planByRate(device.tags, device).map(({ table, quantity, group }) => ({
    requestBytes: modbusRequestBytes,
    answerBytes: modbusAnswerBytes + (isBitTable({ table }) ? Math.ceil(quantity / 8) : 2 * quantity),
    answerMs: assumed.modbusAnswerMs,
    intervalMs: intervalOf(group === undefined ? {} : { group }, device),
  }));
}

/** Bytes of data in the answer to a question. A block brings all its values, whichever are wanted. */
function dlt645DataBytes({ dataId, wants, valueBytes }: Question, { tags }: Dlt645Device): number {
  if (valueBytes === undefined)
    return Math.max(...wants.map(({ tag }) => (formatOf(tags[tag] as Dlt645Device["tags"][number])?.digits ?? 0) / 2));
  const wanted = Math.max(...wants.map(({ index }) => index + 1));
  return valueBytes * Math.max(wanted, Math.min(blockValues(dataId) ?? wanted, assumed.energies));
}

/** What one question to a meter is on the line: more than one frame where the values do not fit into one. */
function dlt645Exchanges(device: Dlt645Device): Exchange[] {
  const { meterAddress, pollIntervalMs, tags } = device;
  return planQuestions(tags, [...tags.keys()], () => false).flatMap((question) => {
    const { dataId } = question;
    const bytes = dlt645DataBytes(question, device);
    const frames = Math.max(1, Math.ceil(bytes / dlt645FrameData));
    return Array.from({ length: frames }, (_, i) => {
      const { length } = requestFrame({ meterAddress, dataId, ...(i > 0 ? { sequence: i } : {}) });
      // Identifier, wake-up bytes and the rest of the frame are as long in the answer as in the request.
      const answerBytes = length + Math.min(dlt645FrameData, bytes - i * dlt645FrameData);
      return { requestBytes: length, answerBytes, answerMs: assumed.dlt645AnswerMs, intervalMs: pollIntervalMs };
    });
  });
}

/** Part of the line's time that a device takes: 1 is all of it. */
function lineLoad(exchanges: readonly Exchange[], { characterMs, betweenMs }: Pace): number {
  return exchanges.reduce((load, { requestBytes, answerBytes, answerMs, intervalMs }) => {
    const ms = (requestBytes + answerBytes) * characterMs + answerMs + betweenMs;
    return load + ms / intervalMs;
  }, 0);
}

const percent = (load: number): string => `${Math.round(load * 100)} %`;
const consequence = (load: number): string =>
  load > 1 ? "the intervals cannot be met, polls will be left out" : "a retry or a time-out leaves polls out";

/** A line serves one unit after the other: whether the reads of all of them find room in its time. */
function lineWarning(place: string, units: readonly { id: string; exchanges: Exchange[] }[], pace: Pace): string[] {
  const loads = units.map(({ id, exchanges }) => ({ id, load: lineLoad(exchanges, pace) }));
  const load = loads.reduce((sum, one) => sum + one.load, 0);
  if (load <= mostLoad) return [];
  const most = loads.reduce((a, b) => (b.load > a.load ? b : a));
  const who = units.length === 1 ? `device ${most.id}` : `its ${units.length} devices`;
  const heaviest = units.length === 1 ? "" : ` (most of them ${most.id}: ${percent(most.load)})`;
  const why = `reading ${who} takes about ${percent(load)} of its time${heaviest}, with ${pace.why}`;
  const remedy = "raise pollIntervalMs, put tags that change seldom into a group, raise the baud rate of all devices";
  return [`${place}: ${why}: ${consequence(load)}; ${remedy}, or divide them among two lines`];
}

const answerText = (isModbus: boolean, isDlt645: boolean): string =>
  [
    ...(isModbus ? [`${assumed.modbusAnswerMs} ms`] : []),
    ...(isDlt645 ? [`${assumed.dlt645AnswerMs} ms (DL/T 645)`] : []),
  ].join(" and ");

/** What the configuration says of a line, and what it does not. @param line undefined for one behind a gateway of Modbus TCP */
function paceOf(line: LineConfig | undefined, isModbus: boolean, isDlt645: boolean): Pace {
  const before = `${answerText(isModbus, isDlt645)} before each answer`;
  if (line?.kind === "serial") {
    const { characterMs, quietMs, turnaroundMs } = serialMedium(line);
    const why = `${settingText(line)} and ${before} (assumed)`;
    return { characterMs, betweenMs: Math.max(quietMs, turnaroundMs), why };
  }
  const baud = isDlt645 ? assumed.dlt645Baud : assumed.modbusBaud;
  const characterMs = (assumed.bitsPerCharacter * 1000) / baud;
  const quietMs = line === undefined ? quietCharacters * characterMs : (line.quietMs ?? networkQuietMs);
  const betweenMs = Math.max(quietMs, line?.turnaroundMs ?? 0);
  return { characterMs, betweenMs, why: `${baud} baud and ${before} (assumed)` };
}

const exchangesOf = (device: LineDevice): Exchange[] =>
  device.driver === "dlt645" ? dlt645Exchanges(device) : modbusExchanges(device);

/** Devices whose time-out their longest answer cannot keep, however soon it comes: every read of them would fail. Pure. */
export function timeoutWarnings(devices: readonly LineDevice[], lines: readonly LineConfig[]): string[] {
  return devices.flatMap((device) => {
    const { id, driver, timeoutMs } = device;
    const line = lines.find((one) => one.id === device.line);
    const { characterMs, why } = paceOf(line, driver === "modbus-rtu", driver === "dlt645");
    const longest = exchangesOf(device).reduce((a, b) => (b.answerBytes > a.answerBytes ? b : a));
    const neededMs = Math.ceil(longest.answerMs + longest.answerBytes * characterMs);
    if (neededMs <= timeoutMs) return [];
    const answer = `its longest answer, ${longest.answerBytes} bytes, takes about ${neededMs} ms with ${why}`;
    const shorter = driver === "dlt645" ? "" : ", or lower maxRegistersPerRead";
    return [`device ${id}: ${answer}, and timeoutMs is ${timeoutMs}; raise it to twice that at least${shorter}`];
  });
}

/** Lines on which the reads of their devices find no room. Pure. @param devices those on lines */
export function lineWarnings(devices: readonly LineDevice[], lines: readonly LineConfig[]): string[] {
  return [...Map.groupBy(devices, ({ line }) => line)].flatMap(([id, units]) => {
    const isDlt645 = units.some(({ driver }) => driver === "dlt645");
    const isModbus = units.some(({ driver }) => driver === "modbus-rtu");
    const pace = paceOf(
      lines.find((line) => line.id === id),
      isModbus,
      isDlt645,
    );
    const reading = units.map((device) => ({ id: device.id, exchanges: exchangesOf(device) }));
    return lineWarning(`line ${id}`, reading, pace);
  });
}

/** A device alone at its address: its own Ethernet. */
function tcpWarning(device: ModbusDevice): string[] {
  const { id, maxReadsInFlight } = device;
  const reads = modbusExchanges(device);
  const load = reads.reduce((sum, { intervalMs }) => sum + assumed.tcpReadMs / intervalMs / maxReadsInFlight, 0);
  if (load <= mostLoad) return [];
  const inFlight = maxReadsInFlight === 1 ? "" : ` ${maxReadsInFlight} at a time`;
  const why = `${reads.length} reads of ${assumed.tcpReadMs} ms (assumed)${inFlight} take about ${percent(load)} of the time`;
  const remedy =
    "raise pollIntervalMs, maxGapRegisters or maxReadsInFlight, put tags that change seldom into a group, or bring the tags' addresses together";
  return [`device ${id}: ${why}: ${consequence(load)}; ${remedy}`];
}

/** Devices of Modbus TCP that are asked too much. Pure. Several units at one address are most likely behind a gateway to a serial line. */
export function tcpWarnings(devices: readonly ModbusDevice[]): string[] {
  const endpoints = Map.groupBy(devices, ({ host, port }) => `${host.toLowerCase()}:${port}`);
  return [...endpoints].flatMap(([endpoint, units]) => {
    if (units.length === 1) return units.flatMap(tcpWarning);
    const reading = units.map((device) => ({ id: device.id, exchanges: modbusExchanges(device) }));
    return lineWarning(`${endpoint}, if it is a serial line`, reading, paceOf(undefined, true, false));
  });
}

export const isOnLine = (device: DeviceConfig): device is LineDevice =>
  device.driver === "modbus-rtu" || device.driver === "dlt645";
