import type { ParameterFault } from "./problems.ts";

const iso = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?(Z|[+-]\d\d:\d\d)$/;

/** 9999-12-31T00:00:00Z. */
const latestMs = 253_402_214_400_000;

/**
 * Reads a time: ISO 8601 with an offset, or milliseconds since 1970. An offset's `+` that a client left unencoded arrives as a space and
 * is read as the `+` it was. Dates that do not exist (30 February) are refused, not rolled over.
 * @returns UTC ms, or undefined
 */
export function parseTime(text: string): number | undefined {
  if (/^\d{1,15}$/.test(text)) return Number(text) <= latestMs ? Number(text) : undefined;
  const match = iso.exec(text.replace(/ (\d\d:\d\d)$/, "+$1"));
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second = "0", fraction = "0", zone = "Z"] = match;
  const fields = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const localMs = Date.UTC(fields[0], fields[1] - 1, ...(fields.slice(2) as [number, number, number, number]));
  const back = new Date(localMs);
  const same =
    back.getUTCFullYear() === fields[0] &&
    back.getUTCMonth() + 1 === fields[1] &&
    back.getUTCDate() === fields[2] &&
    back.getUTCHours() === fields[3] &&
    back.getUTCMinutes() === fields[4] &&
    back.getUTCSeconds() === fields[5];
  const [zoneHour = 0, zoneMinute = 0] = zone === "Z" ? [] : zone.slice(1).split(":").map(Number);
  if (!same || zoneHour > 14 || zoneMinute > 59) return undefined;
  const offsetMs = (zone.startsWith("-") ? -1 : 1) * (zoneHour * 60 + zoneMinute) * 60_000;
  const timeMs = localMs + Number(fraction.padEnd(3, "0")) - offsetMs;
  return timeMs >= 0 && timeMs <= latestMs ? timeMs : undefined;
}

export type Range = { fromMs: number; toMs: number };

/**
 * The half-open range [from, to) of a question. Absent ends: `to` is now and `from` lies `defaultMs` before `to`.
 * Pushes every fault it finds to `faults`; the range is meaningless then.
 */
export function readRange(
  query: { from?: string | undefined; to?: string | undefined },
  setting: { nowMs: number; defaultMs: number; maxMs: number },
  faults: ParameterFault[],
): Range {
  const read = (parameter: "from" | "to", fallback: number): number => {
    const text = query[parameter];
    if (text === undefined) return fallback;
    const timeMs = parseTime(text);
    if (timeMs !== undefined) return timeMs;
    faults.push({
      parameter,
      found: JSON.stringify(text),
      expected: "a time: ISO 8601 with offset, or milliseconds since 1970",
      remedy: "write 2026-11-22T08:00:00+08:00 (with + as %2B) or 1795305600000",
    });
    return Number.NaN;
  };
  const toMs = read("to", setting.nowMs);
  const fromMs = read("from", Math.max(0, toMs - setting.defaultMs));
  if (fromMs >= toMs) {
    const found = query.from ?? "its default";
    faults.push({ parameter: "from", found, expected: "a time before `to`", remedy: "exchange from and to" });
  } else if (toMs - fromMs > setting.maxMs) {
    faults.push({
      parameter: "from",
      found: `${toMs - fromMs} ms before \`to\``,
      expected: `at most ${setting.maxMs} ms before \`to\``,
      remedy: "ask for shorter ranges one after the other, or for a longer period",
    });
  }
  return { fromMs, toMs };
}
