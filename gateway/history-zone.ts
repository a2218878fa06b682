const minuteMs = 60_000;
/** Offsets change on quarter hours. */
const stepMs = 15 * minuteMs;
const keptOffsets = 256;

const pattern = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2}))?(Z|[+-]\d{2}:\d{2})?$/;

/** Times of a place, with their offset from UTC: what a daylight saving time repeats stays apart. */
export type ZoneTimes = {
  /** `2026-11-01T00:15:00+08:00`. @param timeMs UTC ms; parts of a second are left out */
  readonly format: (timeMs: number) => string;
  /** Reads `2026-11-01`, `2026-11-01T10:15` in the zone, or with an offset of its own. UTC ms; undefined when it is none. */
  readonly parse: (text: string) => number | undefined;
};

const two = (value: number): string => String(value).padStart(2, "0");

function offsetText(offsetMs: number): string {
  const minutes = Math.abs(offsetMs) / minuteMs;
  return `${offsetMs < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(Math.floor(minutes % 60))}`;
}

/** @throws RangeError when the zone is unknown */
export function zoneTimes(timeZone: string): ZoneTimes {
  const names = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  const offsets = new Map<number, number>();

  function offsetMs(timeMs: number): number {
    const step = Math.floor(timeMs / stepMs);
    const known = offsets.get(step);
    if (known !== undefined) return known;
    const name = names.formatToParts(step * stepMs).find(({ type }) => type === "timeZoneName")?.value ?? "GMT";
    const [, sign = "+", hours = "0", minutes = "0"] = /^GMT([+-])(\d{2}):(\d{2})/.exec(name) ?? [];
    const found = (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * minuteMs;
    if (offsets.size >= keptOffsets) offsets.clear();
    offsets.set(step, found);
    return found;
  }

  function parse(text: string): number | undefined {
    const [whole, year, month, day, hour = "00", minute = "00", offset] = pattern.exec(text) ?? [];
    if (whole === undefined) return undefined;
    const local = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:00Z`);
    // A day that does not exist (30 February) would be read as another one.
    if (Number.isNaN(local) || new Date(local).getUTCDate() !== Number(day)) return undefined;
    if (offset !== undefined) return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:00${offset}`);
    const guess = local - offsetMs(local);
    return local - offsetMs(guess);
  }

  return {
    format(timeMs) {
      const offset = offsetMs(timeMs);
      return new Date(timeMs + offset).toISOString().slice(0, 19) + offsetText(offset);
    },
    parse,
  };
}
