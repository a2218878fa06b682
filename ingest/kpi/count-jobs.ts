import { append } from "@jilian/domain/lists.ts";
import { hourMs } from "@jilian/domain/periods.ts";

/** Some devices that are counted in hours that follow each other. */
export type CountJob = { hours: number[]; devices: string[] };

/** Hours, and devices, that one question counts at most. */
const hoursTogether = 24;
const devicesTogether = 500;

/**
 * Makes questions of the device hours that are to be counted, newest hours first: today's figures are not to wait for a backlog. Hours go
 * together only when they are those of the same devices, so that one late device makes nobody count the others.
 * @param byHour devices by the start of the hour
 * @param openIntervalMs time of the clock between two counts of an hour that has not ended
 */
export function countJobs(byHour: ReadonlyMap<number, ReadonlySet<string>>, openIntervalMs: number) {
  /** When hours that had not ended were counted, time of the clock. */
  const openMs = new Map<number, number>();
  /** Hours whose count failed: they come last, so that one that always fails keeps no other waiting. */
  const failed = new Set<number>();

  function isDue(hour: number, nowMs: number, thorough: boolean): boolean {
    const agoMs = nowMs - (openMs.get(hour) ?? Number.NEGATIVE_INFINITY);
    // A clock that was set back has counted in what is the future now.
    return thorough || hour + hourMs <= nowMs || agoMs >= openIntervalMs || agoMs < 0;
  }

  function* parts(hours: readonly number[], devices: readonly string[]): Generator<CountJob> {
    for (let i = 0; i < devices.length; i += devicesTogether)
      yield { hours: [...hours].sort((a, b) => a - b), devices: devices.slice(i, i + devicesTogether) };
  }

  return {
    due({
      nowMs,
      thorough = false,
      isHeld,
    }: {
      nowMs: number;
      thorough?: boolean;
      isHeld?: ((hour: number) => boolean) | undefined;
    }): CountJob[] {
      for (const hour of openMs.keys()) if (hour + hourMs <= nowMs) openMs.delete(hour);
      for (const hour of failed) if (!byHour.has(hour)) failed.delete(hour);
      const found: CountJob[] = [];
      let hours: number[] = [];
      let devices: string[] = [];
      let same = "";
      const asked = [...byHour.keys()].filter((hour) => isDue(hour, nowMs, thorough) && !isHeld?.(hour));
      asked.sort((a, b) => Number(failed.has(a)) - Number(failed.has(b)) || b - a);
      for (const hour of asked) {
        const own = [...(byHour.get(hour) ?? [])].sort();
        const text = own.join("\n");
        const joins = text === same && hours.at(-1) === hour + hourMs && hours.length < hoursTogether;
        if (!joins) {
          append(found, parts(hours, devices));
          [hours, devices, same] = [[], own, text];
        }
        hours.push(hour);
      }
      append(found, parts(hours, devices));
      return found;
    },
    counted({ hours }: CountJob, nowMs: number): void {
      for (const hour of hours) {
        failed.delete(hour);
        if (hour + hourMs > nowMs) openMs.set(hour, nowMs);
      }
    },
    failed({ hours }: CountJob): void {
      for (const hour of hours) failed.add(hour);
    },
  };
}
