/** The oracle, third part: who belongs to whom, what a meter is, and when is what, from the registry file by hand. */
import type { RegistryDevice, RegistryFactory, RegistryFile } from "@jilian/store/registry-schema.ts";
import { hour, minute, type Register } from "./oracle-readings.ts";

type Calendar = NonNullable<RegistryDevice["calendar"]>;

export type OracleDevice = {
  key: string;
  registered: RegistryDevice;
  calendar: Calendar | undefined;
  register: Register;
  /** Key of the meter above a feeder. */
  parent: string | undefined;
};

/** A factory, or the part of it that belongs to a line. */
export type OraclePlace = { id: string; creditCode: string; file: RegistryFactory; devices: OracleDevice[] };

export type OracleSite = { level: string; entity: string; places: OraclePlace[] };

function registerOf(registered: RegistryDevice): Register {
  const ratio = (text: string | number | undefined) => {
    const [over = 1, under = 1] = String(text ?? 1)
      .split("/")
      .map(Number);
    return over / under;
  };
  const micro = (value: string | number) => BigInt(Math.round(Number(value) * 1e6));
  return {
    ratedKW: registered.ratedPowerKW,
    factor: BigInt(ratio(registered.ctRatio) * ratio(registered.ptRatio)),
    exchanges: (registered.exchanges ?? []).map(({ at, oldFinal, newInitial }) => ({
      at: Date.parse(at),
      oldFinal: micro(oldFinal),
      newInitial: micro(newInitial),
    })),
  };
}

function placeOf(file: RegistryFactory, creditCode: string): OraclePlace {
  const all = file.gateways.flatMap((gateway) => gateway.devices.map((registered) => ({ gateway, registered })));
  const devices = all.map(({ gateway, registered }): OracleDevice => {
    const key = `${file.id}/${gateway.id}/${registered.id}`;
    const above = registered.parent?.includes("/") ? registered.parent : `${gateway.id}/${registered.parent}`;
    const calendar = registered.calendar ?? file.calendar;
    const parent = registered.parent === undefined ? undefined : `${file.id}/${above}`;
    return { key, registered, calendar, register: registerOf(registered), parent };
  });
  return { id: file.id, creditCode, file, devices };
}

/** Lines, factories, enterprises, the cluster and the pilot, each with its registered devices. */
export function sitesOf(file: RegistryFile): OracleSite[] {
  const found: OracleSite[] = [];
  const everywhere: OraclePlace[] = [];
  for (const enterprise of file.enterprises) {
    const own = enterprise.factories.map((factory) => placeOf(factory, enterprise.creditCode));
    for (const place of own) {
      for (const { id } of place.file.lines ?? []) {
        const devices = place.devices.filter(({ registered }) => registered.line === id);
        found.push({ level: "line", entity: `${place.id}/${id}`, places: [{ ...place, devices }] });
      }
      found.push({ level: "factory", entity: place.id, places: [place] });
    }
    found.push({ level: "enterprise", entity: enterprise.id, places: own });
    everywhere.push(...own);
  }
  found.push({ level: "cluster", entity: file.cluster.id, places: everywhere });
  found.push({ level: "pilot", entity: file.pilot.id, places: everywhere });
  return found;
}

const weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

/** The clock on the wall in Shanghai: date, time of day, day of the week. */
export function wallClock(atMs: number): { date: string; time: string; weekday: (typeof weekdays)[number] } {
  const wall = new Date(atMs + 8 * hour);
  const text = wall.toISOString();
  return {
    date: text.slice(0, 10),
    time: text.slice(11, 16),
    weekday: weekdays[wall.getUTCDay()] as (typeof weekdays)[number],
  };
}

/** UTC ms of a date and time on the wall. */
function momentOf(date: string, time: string): number {
  return Date.parse(`${date}T00:00:00Z`) - 8 * hour + (Number(time.slice(0, 2)) * 60 + Number(time.slice(3))) * minute;
}

function shiftsOf(calendar: Calendar, atMs: number): readonly { from: string; to: string }[] {
  const { date, weekday } = wallClock(atMs);
  const exception = calendar.exceptions?.find((e) => date >= e.date && date <= (e.untilDate ?? e.date));
  return exception ? exception.shifts : calendar.shifts.filter(({ days }) => days.includes(weekday));
}

/** Whether the minute that begins at a time lies in planned time: in a shift of its date, or in one that began the day before. */
function isPlanned(calendar: Calendar, atMs: number): boolean {
  const { time } = wallClock(atMs);
  const today = shiftsOf(calendar, atMs).some(({ from, to }) => (to > from ? time >= from && time < to : time >= from));
  return today || shiftsOf(calendar, atMs - 24 * hour).some(({ from, to }) => to <= from && time < to);
}

const plans = new WeakMap<Calendar, (atMs: number) => boolean>();

/** The same for many questions: a day with the same shifts, before it too, has the same minutes. */
export function planOf(calendar: Calendar | undefined): ((atMs: number) => boolean) | undefined {
  if (!calendar) return undefined;
  const known = plans.get(calendar) ?? planBy(calendar);
  plans.set(calendar, known);
  return known;
}

const day = 24 * hour;

function planBy(calendar: Calendar): (atMs: number) => boolean {
  const days = new Map<number, boolean[]>();
  const patterns = new Map<string, boolean[]>();
  return (atMs) => {
    const number = Math.floor((atMs + 8 * hour) / day);
    const start = number * day - 8 * hour;
    let minutes = days.get(number);
    if (!minutes) {
      const shifts = JSON.stringify([shiftsOf(calendar, start), shiftsOf(calendar, start - day)]);
      minutes = patterns.get(shifts) ?? Array.from({ length: 1440 }, (_, m) => isPlanned(calendar, start + m * minute));
      patterns.set(shifts, minutes);
      days.set(number, minutes);
    }
    return minutes[(atMs - start) / minute] === true;
  };
}

/** A period with its name; shifts are of one factory. */
export type OracleSpan = { period: string; from: number; to: number; factory?: string };

const fixed: Readonly<Record<string, number>> = {
  minute,
  quarter_hour: 15 * minute,
  hour,
  day: 24 * hour,
};
const months: Readonly<Record<string, number>> = { month: 1, quarter: 3, year: 12 };

function shiftSpans(file: RegistryFile, fromMs: number, untilMs: number): OracleSpan[] {
  const found = new Map<string, OracleSpan>();
  for (const { id, calendar } of file.enterprises.flatMap(({ factories }) => factories))
    for (let day = fromMs - 48 * hour; calendar && day <= untilMs + 24 * hour; day += 24 * hour)
      for (const { from, to } of shiftsOf(calendar, day)) {
        const start = momentOf(wallClock(day).date, from);
        const end = momentOf(wallClock(to > from ? day : day + 24 * hour).date, to);
        if (end > fromMs && start <= untilMs)
          found.set(`${id} ${start}`, { period: "shift", from: start, to: end, factory: id });
      }
  return [...found.values()];
}

/** The periods of a kind that have begun by `untilMs` and end after `fromMs`. */
export function spansOf(file: RegistryFile, period: string, fromMs: number, untilMs: number): OracleSpan[] {
  const found: OracleSpan[] = [];
  const length = fixed[period];
  const [first] = [Math.floor((fromMs + 8 * hour) / (length ?? 1)) * (length ?? 1) - 8 * hour];
  if (length) for (let from = first; from <= untilMs; from += length) found.push({ period, from, to: from + length });
  const count = months[period];
  if (count) {
    const wall = new Date(fromMs + 8 * hour);
    const group = Math.floor(wall.getUTCMonth() / count) * count;
    const startOf = (n: number) => Date.UTC(wall.getUTCFullYear(), group + n * count) - 8 * hour;
    for (let n = 0; startOf(n) <= untilMs; n += 1) found.push({ period, from: startOf(n), to: startOf(n + 1) });
  }
  if (period === "shift") found.push(...shiftSpans(file, fromMs, untilMs));
  if (period === "pilot")
    for (const { from, until } of file.pilot.periods ?? []) {
      const span = { period, from: momentOf(from, "00:00"), to: momentOf(until, "00:00") + 24 * hour };
      if (span.to > fromMs && span.from <= untilMs) found.push(span);
    }
  return found;
}

/** Whether figures of a level exist for a period. */
export function isTold(level: string, period: string): boolean {
  if (period === "shift") return level === "line" || level === "factory";
  return level !== "pilot" || !["minute", "quarter_hour", "hour"].includes(period);
}
