import { minuteMs } from "@jilian/domain/periods.ts";
import type { Window } from "../telemetry.ts";

/** Windows of a series nearer to each other than this are fetched as one span: their neighbours then lie in it. */
const joinGapMs = 600_000;

/** A stretch of one series that holds some windows. */
export type Span = { series: number; fromMs: number; toMs: number };
/** Merges windows into spans; `spanOf[i]` is the span of window i. */
export function spansOf(windows: readonly Window[]): { spans: Span[]; spanOf: Int32Array } {
  const spans: Span[] = [];
  const spanOf = new Int32Array(windows.length);
  const order = Array.from(windows.keys()).sort((a, b) => {
    const [x, y] = [windows[a] as Window, windows[b] as Window];
    return x.series - y.series || x.fromMs - y.fromMs;
  });
  for (const i of order) {
    const { series, fromMs, toMs } = windows[i] as Window;
    const last = spans.at(-1);
    if (last && last.series === series && fromMs <= last.toMs + joinGapMs) last.toMs = Math.max(last.toMs, toMs);
    else spans.push({ series, fromMs, toMs });
    spanOf[i] = spans.length - 1;
  }
  return { spans, spanOf };
}

/** Adds the time of [fromMs, toMs) to the minutes it touches; `minutes[0]` begins at `startMs`. What lies outside is cut off. */
export function addToMinutes(minutes: Float64Array, startMs: number, fromMs: number, toMs: number): void {
  const end = Math.min(toMs, startMs + minutes.length * minuteMs);
  let at = Math.max(fromMs, startMs);
  while (at < end) {
    const minute = Math.floor((at - startMs) / minuteMs);
    const next = Math.min(end, startMs + (minute + 1) * minuteMs);
    minutes[minute] = (minutes[minute] as number) + next - at;
    at = next;
  }
}
