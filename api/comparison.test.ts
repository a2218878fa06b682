import { DataType } from "@jilian/domain/datatypes.ts";
import { emptyLeaf } from "@jilian/domain/leaf.ts";
import { hourMs, isoTime, minuteMs, type Period, periodStart } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Figure } from "./figures.ts";
import { openWorld, type World } from "./test-app.ts";
import { figure, worldNowMs } from "./test-world.ts";

let world: World;
/** 14:00, of which half an hour has passed; and the hours before it. */
const openMs = periodStart("hour", worldNowMs);
const hour = (back: number) => openMs - back * hourMs;

/** Pieces of the press in an hour, by product. */
async function make(startMs: number, pieces: Record<string, bigint>): Promise<void> {
  const place = { group: "jinlv-1", node: "gw-1", device: "press-1" };
  const definition = { datatype: DataType.Int64, role: "production.good", unit: "pcs", simulated: true };
  const names = Object.keys(pieces);
  const ids = await world.telemetry.ensureSeries(
    names.map((product) => ({ ...place, metric: product, definition: { ...definition, name: product, product } })),
  );
  const leaves = Object.values(pieces).map((amount, i) => ({
    ...{ series: ids[i] as number, minuteMs: startMs + 5 * minuteMs },
    leaf: { ...emptyLeaf, amount: amount * 1_000_000n, coveredMs: minuteMs, samples: 6 },
  }));
  await world.telemetry.writeLeaves(leaves, []);
  world.ledger.noteHours([startMs]);
}

/** Figures of the first factory. */
function note(startMs: number, values: Record<string, string | null>, over: Partial<Result> = {}): void {
  const { period = "hour" } = over;
  const key = { level: "factory", entity: "jinlv-1", period, startMs } as const;
  world.ledger.writeResults(
    Object.entries(values).map(([indicator, value]) =>
      figure(world.registry, { ...key, indicator }, { value, reason: value === null ? "no_data" : null, ...over }),
    ),
  );
}

beforeAll(async () => {
  world = await openWorld();
  await make(hour(4), { bar: 700n, rod: 300n });
  await make(hour(3), { bar: 680n, rod: 320n });
  await make(hour(2), { bar: 1n, rod: 9n });
  const values = { "energy.unit_product": "0.04", "energy.electricity": "100.5", "devices.online_rate": "0.9" };
  note(hour(4), { ...values, oee: null });
  note(hour(3), { ...values, "energy.unit_product": "0.038", "energy.electricity": "95", oee: "0.8" });
  note(hour(2), { ...values, "energy.unit_product": "0.05" }, { definitionVersion: 2, lowerBound: true });
  note(openMs, { "energy.electricity": "50" });
  note(periodStart("day", worldNowMs) - 24 * hourMs, { "energy.electricity": "2000" }, { period: "day" });
});
afterAll(() => world.close());

type Answer = {
  baseline: { start: string; end: string | null };
  current: { start: string; end: string | null };
  mix: { mixChange: number | null; mixChanged: boolean | null; products: object[] };
  comparisons: {
    indicator: string;
    baseline: Figure | null;
    current: Figure | null;
    caveats: string[];
    comparable: boolean;
    direction: string | null;
    reason: string | null;
  }[];
};
type Faults = { code: string; faults?: { parameter: string }[] };

const ask = (query: string) => world.get(`/open/v1/metrics/comparison?${query}`);
async function compare(query: string): Promise<Answer> {
  const { status, body } = await ask(query);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Answer;
}
const factory = "level=factory&entity=jinlv-1";
const hours = (baseline: number, current: number) =>
  `${factory}&baselinePeriod=hour&baselineStart=${hour(baseline)}&currentStart=${hour(current)}`;

describe("two periods of one entity", () => {
  it("stand beside each other whole, with difference, ratio, direction, and what was made of each product", async () => {
    const found = await compare(`${hours(4, 3)}&indicator=energy.unit_product,%20devices.online_rate`);
    expect(found).toMatchObject({
      ...{ level: "factory", entity: "jinlv-1", entityName: "金铝一厂（挤压）" },
      baseline: { period: "hour", start: isoTime(hour(4)), end: isoTime(hour(3)) },
      current: { period: "hour", start: isoTime(hour(3)), end: isoTime(hour(2)) },
    });
    expect(found.mix).toEqual({
      ...{ mixChange: 0.02, mixChanged: false },
      products: [
        { product: "bar", baseline: "700", current: "680" },
        { product: "rod", baseline: "300", current: "320" },
      ],
    });
    const [rate, unit] = found.comparisons;
    expect(rate).toMatchObject({ indicator: "devices.online_rate", better: "more", direction: "same", ratio: "1" });
    expect(unit).toMatchObject({
      ...{ indicator: "energy.unit_product", better: "less", difference: "-0.002", ratio: "0.95", reason: null },
      ...{ direction: "better", caveats: [], comparable: true },
    });
    const { body } = await world.get(
      `/open/v1/metrics?${factory}&indicator=energy.unit_product&from=${hour(4)}&to=${hour(2)}`,
    );
    expect([unit?.baseline, unit?.current]).toEqual(body.figures);
  });

  it("of all indicators that one of them has, where none is named", async () => {
    const { comparisons } = await compare(hours(4, 3));
    expect(comparisons.map(({ indicator, reason }) => [indicator, reason])).toEqual([
      ["devices.online_rate", null],
      ["energy.electricity", null],
      ["energy.unit_product", null],
      ["oee", "baseline_null"],
    ]);
  });

  it("tell what spoils a comparison: another mix, which touches no connection, another definition, a lower bound", async () => {
    const { mix, comparisons } = await compare(hours(4, 2));
    expect(mix).toMatchObject({ mixChange: 0.6, mixChanged: true });
    const caveats = Object.fromEntries(comparisons.map((one) => [one.indicator, one.caveats]));
    const both = ["definition_differs", "lower_bound"];
    expect(caveats["energy.unit_product"]).toEqual([...both, "mix_changed"]);
    expect(caveats["devices.online_rate"]).toEqual(both);
    expect(comparisons.map(({ comparable }) => comparable)).toEqual(comparisons.map(() => false));
    expect(comparisons.find(({ indicator }) => indicator === "energy.unit_product")?.direction).toBe("worse");
    // Less of what is neither good nor bad is neither.
    expect(comparisons.find(({ indicator }) => indicator === "energy.electricity")?.direction).toBeNull();
  });

  it("of different kinds, and of one that runs", async () => {
    const day = periodStart("day", worldNowMs) - 24 * hourMs;
    const found = await compare(
      `${factory}&indicator=energy.electricity&baselinePeriod=day&baselineStart=${day}&currentPeriod=hour&currentStart=${openMs}`,
    );
    expect(found.mix).toEqual({ mixChange: null, mixChanged: null, products: [] });
    expect(found.comparisons).toMatchObject([
      { ratio: "0.025", caveats: ["length_differs", "provisional"], comparable: false },
    ]);
  });

  it("of which one is not kept has the other, and says so", async () => {
    const { baseline, comparisons } = await compare(`${hours(24, 3)}&indicator=energy.electricity`);
    expect(baseline).toEqual({ period: "hour", start: isoTime(hour(24)), end: null });
    const absent = { baseline: null, current: { value: "95" }, difference: null, reason: "baseline_absent" };
    expect(comparisons).toMatchObject([{ ...absent, direction: null, comparable: false }]);
    const turned = await compare(`${hours(3, 24)}&indicator=energy.electricity`);
    expect(turned.comparisons).toMatchObject([{ current: null, reason: "current_absent" }]);
  });

  it("of a single machine, from its leaves", async () => {
    const machine = `level=device&entity=jinlv-1/gw-1/press-1&indicator=production.good&baselinePeriod=hour`;
    const { mix, comparisons } = await compare(`${machine}&baselineStart=${hour(4)}&currentStart=${hour(3)}`);
    expect(mix.mixChange).toBe(0.02);
    expect(comparisons).toMatchObject([{ baseline: { value: "1000" }, current: { value: "1000" }, difference: "0" }]);
  });
});

describe("what cannot be compared", () => {
  const refused = async (query: string) => {
    const { status, body } = await ask(query);
    const { code, faults = [] } = body as Faults;
    return [status, code, ...faults.map(({ parameter }) => parameter)];
  };
  const start = (name: string, at: number | string) => `&${name}Start=${at}`;

  it("tells every fault of a question at once", async () => {
    const bad = `level=pilot&entity=x&baselinePeriod=hour&currentPeriod=shift${start("baseline", hour(1) + 1)}${start("current", "soon")}`;
    expect(await refused(bad)).toEqual([
      ...[400, "PARAMETER_INVALID"],
      ...["baselinePeriod", "baselineStart", "currentPeriod", "currentStart"],
    ]);
    expect(await refused(hours(3, 3))).toEqual([400, "PARAMETER_INVALID", "currentStart"]);
    expect(await refused(`${hours(4, 3)}&baseline=1`)).toEqual([400, "PARAMETER_INVALID", "baseline"]);
    expect((await refused(factory)).slice(0, 2)).toEqual([400, "PARAMETER_INVALID"]);
    const minutes = `${factory}&indicator=oee,quality.fpy&baselinePeriod=minute`;
    expect(await refused(`${minutes}${start("baseline", hour(1))}${start("current", openMs)}`)).toEqual([
      ...[400, "PARAMETER_INVALID", "indicator", "indicator"],
    ]);
  });

  it("knows its indicators and entities, and says when nothing is kept", async () => {
    expect(await refused(`${hours(4, 3)}&indicator=energy.electricity,nonsense`)).toEqual([400, "INDICATOR_UNKNOWN"]);
    expect(await refused(`${hours(4, 3)}&indicator=,`)).toEqual([400, "INDICATOR_UNKNOWN"]);
    expect(await refused(`${hours(4, 3)}&indicator=production.good`)).toEqual([400, "INDICATOR_UNKNOWN"]);
    expect(await refused(hours(4, 3).replace("jinlv-1", "nobody"))).toEqual([404, "ENTITY_UNKNOWN"]);
    expect(await refused(hours(40, 41))).toEqual([404, "FIGURE_UNKNOWN"]);
    const ahead: Period = "day";
    const tomorrow = periodStart("day", worldNowMs) + 24 * hourMs;
    const later = `${factory}&baselinePeriod=${ahead}${start("baseline", tomorrow)}${start("current", tomorrow + 24 * hourMs)}`;
    expect(await refused(later)).toEqual([404, "FIGURE_UNKNOWN"]);
  });
});
