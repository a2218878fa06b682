import { DataType } from "@jilian/domain/datatypes.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { indexRegistry } from "@jilian/store/registry.ts";
import { onlyVersion } from "@jilian/store/registry-versions.ts";
import { shownDefinitions } from "@jilian/store/series-versions.ts";
import type { Series } from "@jilian/store/telemetry.ts";
import { expect, test } from "vitest";
import { testRegistry } from "../test-world.ts";
import { alarmBook, alarmValue, sameSeries, tracksOf } from "./alarm-tracks.ts";
import { rules } from "./test-alarms.ts";

const book = alarmBook(onlyVersion(indexRegistry({ ...testRegistry(false).file, alarms: [...rules] })));
const power: MetricDefinition = {
  ...{ name: "p", datatype: DataType.Double, role: "power.active", unit: "kW", simulated: false },
};

/** A meter's series, by what its births said from when on. */
function born(...said: [fromMs: number, over: Partial<MetricDefinition>][]): Series {
  const dated = said.map(([fromMs, over]) => ({ fromMs, definition: { ...power, ...over } }));
  return { group: "f1", node: "gw-1", device: "meter-1", metric: "p", id: 7, ...shownDefinitions(dated) };
}
const stretches = (series: Series) => tracksOf(series, book).map(({ fromMs, toMs }) => [fromMs, toMs]);

test("a rule watches a series while its births say what the rule asks for", () => {
  expect(stretches(born([0, {}]))).toEqual([[0, Infinity]]);
  expect(stretches(born([0, {}], [5000, { role: "temperature" }], [9000, {}]))).toEqual([
    [0, 5000],
    [9000, Infinity],
  ]);
  expect(stretches(born([0, { simulated: true }], [5000, {}]))).toEqual([[5000, Infinity]]);
  // In another unit its numbers mean something else.
  expect(stretches(born([0, {}], [5000, { unit: "W" }]))).toEqual([[0, 5000]]);
});

test("what makes no difference to it ends no alarm, what changes how readings are taken does", () => {
  expect(stretches(born([0, {}], [5000, { deadband: 2 }]))).toEqual([[0, Infinity]]);
  const floats = tracksOf(born([0, {}], [5000, { datatype: DataType.Float }]), book);
  expect(floats.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([
    [0, 5000],
    [5000, Infinity],
  ]);
  const row = { ...{ series: 7, sourceTimeMs: 1, status: 0, gatewayTimeMs: 1, ingestTimeMs: 1, tx: 1 } };
  const values = floats.map((track) => alarmValue(track, { ...row, value: Math.fround(16777.217) }));
  expect(values[1]).toBe(16_777_217_000n);
  expect(values[0]).not.toBe(values[1]);
});

test("two looks at a series are the same while its births say the same", () => {
  expect(sameSeries(born([0, {}]), born([0, {}]))).toBe(true);
  expect(sameSeries(born([0, {}]), born([0, {}], [5, { unit: "W" }]))).toBe(false);
});
