/**
 * Lets one action through per interval and counts what it held back: a fault that repeats with every reading is told once a minute, with
 * how often it happened, instead of filling the disk that may be the fault. Interval by the machine's monotonic clock.
 */
export function atMostEvery(intervalMs: number): (act: (heldBack: number) => void) => void {
  let lastMs = Number.NEGATIVE_INFINITY;
  let heldBack = 0;
  return (act) => {
    const nowMs = performance.now();
    if (nowMs - lastMs < intervalMs) {
      heldBack += 1;
      return;
    }
    const count = heldBack;
    lastMs = nowMs;
    heldBack = 0;
    act(count);
  };
}
