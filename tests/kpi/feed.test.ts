import { decodePayload } from "@jilian/domain/sparkplug/payload.ts";
import { parseTopic } from "@jilian/domain/topics.ts";
import { expect, test } from "vitest";
import { feedOf, type Message } from "./feed.ts";
import { makePlant } from "./plant.ts";

const hourMs = 3_600_000;

/** A number that is left out would have ingest wait for it, and ask for births when it has waited long. */
test("messages of each node bear numbers without a gap, whatever begins anew in between", () => {
  const fromMs = Date.UTC(2026, 10, 30, 13, 47, 23);
  const untilMs = fromMs + 24 * hourMs;
  const plant = makePlant({ seed: 7, enterprises: 10, fromMs, untilMs, pollMs: 120_000 });
  const feed = feedOf(plant, { seed: 8, troubled: true, shuffledShare: 0.03 });
  const last = new Map<string, number>();
  const gaps: string[] = [];
  let births = 0;
  const follow = (messages: readonly Message[]) => {
    for (const { topic, payload } of messages) {
      const { group, type, node } = parseTopic(topic) ?? expect.fail(topic);
      const key = `${group}/${node}`;
      const seq = Number(decodePayload(payload).seq);
      const before = last.get(key);
      if (type === "NBIRTH") births += 1;
      const expected = type === "NBIRTH" ? 0 : ((before ?? -1) + 1) % 256;
      if (seq !== expected) gaps.push(`${topic}: ${seq} behind ${before}`);
      last.set(key, seq);
    }
  };
  for (let at = fromMs; at <= untilMs; at += hourMs / 2) {
    follow(feed.until(at));
    if (at === fromMs + 5 * hourMs) feed.forgotten();
  }
  follow(feed.rest(untilMs + 20_000));
  expect(gaps).toEqual([]);
  expect(births).toBeGreaterThan(last.size);
});
