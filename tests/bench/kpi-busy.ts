/**
 * A process that has nothing to do with the product and keeps two threads busy in bursts, until it is disconnected: what of a broker's latency
 * is the waiting for a core.
 */
import { isMainThread, Worker } from "node:worker_threads";

const burstMs = 20;
const restMs = 30;

function burst(): void {
  const untilMs = performance.now() + burstMs;
  while (performance.now() < untilMs);
  setTimeout(burst, restMs);
}

if (isMainThread) {
  for (let i = 0; i < 2; i += 1) new Worker(new URL(import.meta.url));
  process.on("disconnect", () => process.exit());
  process.send?.("ready");
} else burst();
