import { DataType } from "@jilian/domain/datatypes.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { expect, it } from "vitest";
import { definitionAt, maxDefinitions } from "./series-versions.ts";
import type { Series } from "./telemetry.ts";
import type { Harness } from "./telemetry-suite.ts";

const key = { group: "f", node: "g", device: "d", metric: "m" };
const definition: MetricDefinition = {
  ...{ name: "m", datatype: DataType.Double, unit: "kWh", role: "energy.import", simulated: false },
};
const outgoing = { ...definition, role: "energy.export" };
const noonMs = Date.UTC(2026, 10, 22, 4, 0);

/** What births say of a series over time: `series` shows the newest, and all where there are several. */
export function definitionTests({ store, reopen, nowAndReopened }: Harness): void {
  const only = async (open = store()) => (await open.series())[0] as Series;

  it("a changed definition holds from its birth on, that before it until then", async () => {
    const [id] = await store().ensureSeries([{ ...key, definition, sinceMs: noonMs - 1000 }]);
    expect(await store().ensureSeries([{ ...key, definition: outgoing, sinceMs: noonMs }])).toEqual([id]);
    await nowAndReopened(async (open) => {
      const series = await only(open);
      expect(series).toMatchObject({ ...key, id, definition: outgoing });
      expect(definitionAt(series, noonMs)).toEqual(outgoing);
      for (const before of [noonMs - 1, noonMs - 2000, 0]) expect(definitionAt(series, before)).toEqual(definition);
    });
  });

  it("one that repeats what is known writes nothing, and nothing is shown beside it", async () => {
    await store().ensureSeries([{ ...key, definition, sinceMs: noonMs }]);
    const changes = await store().seriesChanges();
    await store().ensureSeries([{ ...key, definition, sinceMs: noonMs + 5000 }]);
    expect(await store().seriesChanges()).toBe(changes);
    await nowAndReopened(async (open) => expect(await only(open)).not.toHaveProperty("dated"));
    const again = await store().seriesChanges();
    await store().ensureSeries([{ ...key, definition: outgoing, sinceMs: noonMs + 9000 }]);
    expect(await store().seriesChanges()).not.toBe(again);
  });

  it("a birth of an older time that comes late is put in its place", async () => {
    await store().ensureSeries([{ ...key, definition, sinceMs: 1000 }]);
    await store().ensureSeries([{ ...key, definition: { ...definition, unit: "MWh" }, sinceMs: 9000 }]);
    await store().ensureSeries([{ ...key, definition: outgoing, sinceMs: 5000 }]);
    await nowAndReopened(async (open) => {
      const series = await only(open);
      expect(series.definition.unit).toBe("MWh");
      const said = [4999, 5000, 8999, 9000].map((at) => definitionAt(series, at));
      expect(said.map(({ role, unit }) => `${role} ${unit}`)).toEqual([
        ...["energy.import kWh", "energy.export kWh", "energy.export kWh", "energy.import MWh"],
      ]);
    });
  });

  it("what a birth says of the time before is put in its place, between what is known, and writes nothing when it is told again", async () => {
    await store().ensureSeries([{ ...key, definition, sinceMs: 1000 }]);
    const earlier = [
      { sinceMs: 0, definition },
      { sinceMs: 5000, definition: outgoing },
    ];
    // Changed and changed back: what it is now is what is known.
    const told = { ...key, definition, sinceMs: 7000, bornMs: 9000, earlier };
    await store().redefineSeries([told]);
    const changes = await store().seriesChanges();
    await store().redefineSeries([told]);
    await store().ensureSeries([told]);
    expect(await store().seriesChanges()).toBe(changes);
    await nowAndReopened(async (open) => {
      expect((await only(open)).dated).toEqual([
        { fromMs: 1000, definition },
        { fromMs: 5000, definition: outgoing },
        { fromMs: 7000, definition },
      ]);
    });
  });

  it("what births say of a series is kept without a sample where the store has it, and makes none", async () => {
    await store().ensureSeries([{ ...key, definition, sinceMs: 1000 }]);
    const strange = { ...key, metric: "strange", definition, sinceMs: 2000 };
    await store().redefineSeries([{ ...key, definition: outgoing, sinceMs: 5000, doubtMs: 4000 }, strange]);
    await nowAndReopened(async (open) => {
      const all = await open.series();
      expect(all.map(({ metric }) => metric)).toEqual(["m"]);
      expect(all[0]?.dated).toEqual([
        { fromMs: 1000, definition },
        { fromMs: 5000, definition: outgoing, doubtMs: 4000 },
      ]);
    });
  });

  it("keeps a bounded number of one that flaps, and what held long among them", async () => {
    await store().ensureSeries([{ ...key, definition: { ...definition, unit: "MWh" }, sinceMs: 0 }]);
    await store().ensureSeries([{ ...key, definition, sinceMs: 1_000_000 }]);
    for (let i = 1; i <= 2 * maxDefinitions; i += 1)
      await store().ensureSeries([{ ...key, definition: i % 2 ? outgoing : definition, sinceMs: noonMs + i * 1000 }]);
    await reopen();
    const series = await only();
    expect(series.dated?.length).toBeLessThanOrEqual(maxDefinitions);
    expect(series.definition).toEqual(definition);
    expect(definitionAt(series, noonMs)).toEqual(definition);
    expect(definitionAt(series, 999_999).unit).toBe("MWh");
  });
}
