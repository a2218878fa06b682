import { DataType } from "@jilian/domain/datatypes.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import { type EarlierDefinition, earlierProperties, sinceProperties } from "@jilian/domain/sample.ts";
import { type OutMetric, property } from "@jilian/domain/sparkplug/payload.ts";
import { describe, expect, test } from "vitest";
import type { BornMetric } from "./sessions.ts";
import {
  bdSeq,
  bear,
  bearForeign,
  clock,
  commitControl,
  data,
  host,
  hostPerTest,
  rebirthControl,
  send,
  t0,
  tag,
} from "./test-node.ts";

hostPerTest();

const device = "press-1";
const said = (role: string, over: Partial<OutMetric> = {}) =>
  tag("a", 1, { properties: { role: property.text(role) }, ...over });

/** A birth of the device at a time of the gateway's clock, heard at a time of ingest's; what the next reading is said to be. */
function reborn(
  role: string,
  timestampMs: number | undefined,
  over: Partial<OutMetric> = {},
  heardMs = t0,
): BornMetric {
  clock.set(heardMs);
  send("DBIRTH", [said(role, over)], { seq: 2, device, ...(timestampMs !== undefined && { timestampMs }) });
  return next();
}

let offset = 0;
function next(): BornMetric {
  offset += 1;
  data([{ alias: 1, value: 5, timestampMs: t0 }], { offset });
  const metric = host.queue.take(10).at(-1)?.samples[0]?.metric;
  return metric ?? expect.fail("no reading came");
}

describe("since when a metric is what a birth says", () => {
  test("the time of the birth; one that repeats it changes nothing", () => {
    bear();
    const first = reborn("energy.import", t0 + 1000, { timestampMs: t0 + 1000 });
    expect(first).toMatchObject({ definition: { role: "energy.import" }, sinceMs: t0 + 1000, doubtMs: t0 + 1000 });
    expect(reborn("energy.import", t0 + 9000)).toBe(first);
    expect(reborn("energy.export", t0 + 9500, { timestampMs: t0 + 9500 })).toMatchObject({ sinceMs: t0 + 9500 });
  });

  test("what an outbox read last may be of before or after: it is doubted from there on", () => {
    bear();
    const value = { timestampMs: t0 + 700, value: 4 };
    expect(reborn("energy.import", t0 + 1000, value)).toMatchObject({ sinceMs: t0 + 1000, doubtMs: t0 + 700 });
    const none = { timestampMs: t0 + 700, value: null };
    expect(reborn("energy.export", t0 + 1500, none)).toMatchObject({ sinceMs: t0 + 1500, doubtMs: t0 + 1500 });
    const old = { timestampMs: t0 - 9 * hourMs, value: 4 };
    expect(reborn("production.total", t0 + 1900, old)).toMatchObject({ sinceMs: t0 + 1900, doubtMs: t0 + 1900 });
  });

  test("of another maker's node the birth alone counts, since its values are readings", () => {
    bearForeign([said("energy.import", { timestampMs: t0 - 500 })]);
    const [record] = host.queue.take(10);
    expect(record?.samples[0]?.metric).toMatchObject({ sinceMs: t0, doubtMs: t0 });
  });

  test("a clock that is far off is not believed, and one that was set back puts no birth before the last", () => {
    bear();
    for (const [role, wrongMs] of [
      ["energy.import", 5000],
      ["energy.export", t0 + 3 * hourMs],
    ] as const)
      expect(reborn(role, wrongMs, { timestampMs: wrongMs }, t0 + 2000)).toMatchObject({ sinceMs: t0 + 2000 });
    const ahead = reborn("energy.import", t0 + 600_000, { timestampMs: t0 + 600_000 }, t0 + 3000);
    expect(ahead).toMatchObject({ sinceMs: t0 + 600_000 });
    // Heard after it, so that it holds after it.
    expect(reborn("energy.export", t0 + 4000, {}, t0 + 4000)).toMatchObject({ sinceMs: t0 + 600_000 });
  });

  test("a new session goes on from the births of the one before", () => {
    bear();
    expect(reborn("energy.import", t0 + 5000, { timestampMs: t0 + 5000 }, t0 + 5000).sinceMs).toBe(t0 + 5000);
    send("NBIRTH", [bdSeq(4), rebirthControl, commitControl], { seq: 0, timestampMs: t0 + 6000 });
    expect(reborn("energy.export", t0 + 4000, {}, t0 + 6000).sinceMs).toBe(t0 + 6000);
  });
});

test("a gateway that wrote down when it was configured otherwise is believed, however late its birth is heard", () => {
  const changedMs = t0 - 50 * hourMs;
  const told = (sinceMs: number) => ({ ...sinceProperties(sinceMs), role: property.text("energy.export") });
  bear();
  reborn("energy.import", t0 + 1000, { timestampMs: t0 + 1000 });
  const value = { timestampMs: t0 + 700, value: 4 };
  expect(reborn("", t0 + 2000, { ...value, properties: told(changedMs) })).toMatchObject({
    ...{ definition: { role: "energy.export" }, sinceMs: changedMs, doubtMs: changedMs },
  });
  reborn("energy.import", t0 + 3000);
  expect(reborn("", t0 + 4000, { properties: told(t0 + 9 * hourMs) })).toMatchObject({ sinceMs: t0 + 4000 });
  reborn("energy.import", t0 + 5000);
  // A box without a battery begins its clock in 1970: all that was ever read would be of the new definition.
  expect(reborn("", t0 + 6000, { properties: told(hourMs) })).toMatchObject({ sinceMs: t0 + 6000 });
  // Of another maker's node a property of that name means what it likes.
  bearForeign([said("", { timestampMs: t0, properties: told(changedMs) })]);
  expect(host.queue.take(10).at(-1)?.samples[0]?.metric).toMatchObject({ sinceMs: t0 + 6000 });
});

test("what a metric was before is told with it, bounded as births are, and only by a gateway with an outbox", () => {
  const before = (sinceMs: number, unit: string, heartbeatMs = 1000) => {
    return { sinceMs, definition: { name: "a", datatype: DataType.Double, simulated: false, unit, heartbeatMs } };
  };
  const told = (...earlier: EarlierDefinition[]) => ({
    properties: {
      ...sinceProperties(t0 - hourMs),
      ...earlierProperties(earlier),
      role: property.text("energy.import"),
    },
  });
  bear();
  const first = reborn("", t0, { properties: { role: property.text("energy.import") } });
  expect(first).not.toHaveProperty("earlier");
  const [was, between] = [before(0, "A"), before(t0 - 2 * hourMs, "B")];
  // The same as it was, but for what was between.
  const back = reborn("", t0 + 1000, told(was, between));
  expect(back).toMatchObject({ sinceMs: t0 - hourMs, earlier: [was, between] });
  expect(reborn("", t0 + 2000, told(was, between))).toBe(back);
  expect(reborn("", t0 + 3000, told())).toBe(back);
  const bounded = (...earlier: EarlierDefinition[]) => reborn("", t0 + 4000, told(...earlier)).earlier;
  const day = 24 * hourMs;
  expect(bounded(before(t0 - 9 * hourMs, "A", 3 * day))).toEqual([before(t0 - 9 * hourMs, "A", day)]);
  // None of after the present one, and a clock of 1970 tells no time.
  expect(bounded(between, before(t0 - hourMs, "C"), before(t0, "D"))).toEqual([between]);
  expect(bounded(before(5000, "A"), before(6000, "B"), between)).toEqual([before(0, "B"), between]);
  const foreign = { ...told(was).properties, role: property.text("energy.export") };
  bearForeign([said("", { timestampMs: t0, properties: foreign })]);
  expect(host.queue.take(10).at(-1)?.samples[0]?.metric).not.toHaveProperty("earlier");
});

test("metrics that a birth changes are told without a sample; those that it repeats are not, once their series are known", () => {
  bear();
  host.queue.take(10);
  host.queue.takeBirths();
  const metric = reborn("energy.import", t0 + 1000);
  expect(host.queue.takeBirths()).toEqual([metric]);
  metric.seriesId = 7;
  reborn("energy.import", t0 + 2000);
  expect(host.queue.takeBirths()).toEqual([]);
  const changed = reborn("energy.export", t0 + 3000);
  expect(host.queue.takeBirths()).toEqual([changed]);
});
