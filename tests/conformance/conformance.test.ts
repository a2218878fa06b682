import { beforeAll, describe, expect, it } from "vitest";
import { type Capture, isPublish, levels, sent } from "./capture.ts";
import type { Row } from "./check.ts";
import { record } from "./record.ts";
import { checkedRows, deviations, outcomeOf, statements } from "./rows.ts";

/** The statements of Sparkplug 3.0.0 with a name of their own. */
const statementCount = 299;

let capture: Capture;
beforeAll(async () => {
  capture = await record();
}, 180_000);

const checked = statements.filter(({ reason }) => reason === undefined);

describe("the product at work keeps", () => {
  it.each(checked.filter(({ id }) => !(id in deviations)))("$id", (statement) => {
    const { outcome, verdict } = outcomeOf(statement, capture);
    expect({ outcome, faults: verdict?.faults.slice(0, 5) }, `seen ${verdict?.seen} times`).toEqual({
      outcome: "holds",
      faults: [],
    });
  });

  it.for(Object.keys(deviations))("%s not, which is known", (id) => {
    const statement = statements.find((one) => one.id === id);
    // When it holds, the deviation is mended: take it out of the list.
    expect(statement && outcomeOf(statement, capture).outcome).toBe("deviates");
  });
});

describe("a capture that breaks it is found out by", () => {
  it.each(checked)("$id", ({ id }) => {
    const { check, breaks } = checkedRows[id] as Row;
    const { seen, faults } = check(capture);
    expect(breaks.length).toBeGreaterThan(0);
    for (const [i, make] of breaks.entries()) {
      const broken = check(make(capture));
      // What already finds fault has to find more; and a break must not only take away what would be looked at.
      expect(broken.faults.length > faults.length || broken.seen < Math.min(1, seen), `break ${i} of ${id}`).toBe(true);
    }
  });
});

describe("the list", () => {
  it("has every statement once, each checked or with the reason why traffic cannot falsify it", () => {
    expect(new Set(statements.map(({ id }) => id)).size).toBe(statementCount);
    expect(statements).toHaveLength(statementCount);
    expect(Object.keys(checkedRows).toSorted()).toEqual(checked.map(({ id }) => id).toSorted());
    expect(Object.keys(deviations).filter((id) => !checked.some((one) => one.id === id))).toEqual([]);
  });

  it("leaves out only what the product does not send: no template, no data set, no DCMD", () => {
    const metrics = [...sent(capture, "edge"), ...sent(capture, "host")].flatMap(
      ({ payload }) => payload?.metrics ?? [],
    );
    expect(metrics.length).toBeGreaterThan(100);
    expect(metrics.filter(({ field, datatype }) => (field ?? 0) >= 17 || datatype === 16 || datatype === 19)).toEqual(
      [],
    );
    expect(capture.filter((entry) => isPublish(entry) && levels(entry.topic)?.type === "DCMD")).toEqual([]);
  });
});
