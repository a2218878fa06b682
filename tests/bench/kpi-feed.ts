/**
 * The plants of a measurement in a process of their own, so that what they remember is not counted as the engine's: asked for the messages
 * until a time, it answers with them and how many samples there were so far.
 */
import { feedOf } from "../kpi/feed.ts";
import { plantOf } from "./kpi-size.ts";

const [enterprises = 1, fromMs = 0, untilMs = 0, pollMs = 0] = process.argv.slice(2).map(Number);
const feed = feedOf(plantOf(enterprises, { fromMs, untilMs, pollMs }), { seed: 1, troubled: false, shuffledShare: 0 });

process.on("message", (untilMs: number) => {
  process.send?.({ messages: feed.until(untilMs), samples: feed.book.samples() });
});
process.on("disconnect", () => process.exit());
