import { DataType } from "@jilian/domain/datatypes.ts";
import { minuteMs } from "@jilian/domain/periods.ts";
import { seriesAt } from "@jilian/domain/rollup.ts";
import type { MetricDefinition } from "@jilian/domain/sample.ts";
import { expect, test } from "vitest";
import { deviceIn } from "./device-channels.ts";
import { type DeviceSeries, registrySeries } from "./device-series.ts";
import { indexRegistry } from "./registry.ts";
import { shownDefinitions } from "./series-versions.ts";
import type { Series } from "./telemetry.ts";

/** 10:00 in Shanghai. */
const t0 = Date.UTC(2026, 10, 22, 2, 0);
const noon = t0 + 120 * minuteMs;
const registry = indexRegistry({
  cluster: { id: "c", name: "集群" },
  pilot: { id: "p", name: "试点", demo: false },
  enterprises: [
    {
      ...{ id: "e", name: "甲", creditCode: "91440200MA4UQ0000X" },
      factories: [
        {
          ...{ id: "f", name: "厂" },
          gateways: [
            {
              id: "g",
              devices: [
                { id: "meter", name: "表", kind: "meter", meteringPoint: "incoming" },
                { id: "press", name: "机", kind: "machine" },
              ],
            },
          ],
        },
      ],
    },
  ],
});

/** A series, by what its births said from when on. */
function born(id: number, device: string, ...said: [fromMs: number, over: Partial<MetricDefinition>][]): Series {
  const base = { name: `m${id}`, datatype: DataType.Double, simulated: false };
  const dated = said.map(([fromMs, over]) => ({ fromMs, definition: { ...base, ...over } }));
  return { group: "f", node: "g", device, metric: `m${id}`, id, ...shownDefinitions(dated) };
}
const energy = { role: "energy.import", unit: "kWh" };
const gas = { role: "gas.import", unit: "m3" };
const under = (...series: Series[]) => registrySeries(registry, series);
const deviceOf = (key: string, ...series: Series[]) => under(...series).devices.get(`f/g/${key}`) as DeviceSeries;

/** The series that a number stands for a minute before and at some minutes. */
const around = ({ source }: DeviceSeries, id: number | undefined, ...minutes: number[]) =>
  minutes.map((at) => seriesAt(source.channels, id as number, at));

test("births that always said the same have no channels, and the signature of before", () => {
  const plain = born(3, "meter", [0, energy]);
  const device = deviceOf("meter", plain);
  expect(device).toMatchObject({ register: 3, counters: [{ id: 3, role: "energy.import" }] });
  expect(device.source).not.toHaveProperty("channels");
  expect(deviceIn(device, 0, 1)).toBe(device);
  const changed = born(3, "meter", [0, energy], [noon, gas]);
  expect(deviceOf("meter", changed).source.signature).not.toBe(device.source.signature);
});

test("the register is the first series of its role in each minute", () => {
  const device = deviceOf(
    "meter",
    born(3, "meter", [0, energy], [noon + 1, gas]),
    born(5, "meter", [0, gas], [noon + 1, energy]),
  );
  // What changes within a minute counts from the next one on.
  expect(around(device, device.register, t0, noon, noon + minuteMs)).toEqual([3, 3, 5]);
  expect(device.source.counters).toContain(device.register);
  expect(device.counters.map(({ role }) => role).sort()).toEqual([
    ...["energy.import", "energy.import", "gas.import", "gas.import"],
  ]);
  const { demands } = under(born(3, "meter", [0, energy], [noon, gas]), born(5, "meter", [0, gas], [noon, energy]));
  const demand = demands.get("f");
  expect([t0, noon].map((at) => seriesAt(demand?.channels, demand?.demand[0] as number, at))).toEqual([3, 5]);
});

test("a period has what births said in it", () => {
  const pieces = { role: "production.good", unit: "pcs" };
  const device = deviceOf(
    "press",
    born(3, "press", [0, { ...pieces, product: "a" }], [noon, { ...pieces, product: "b" }]),
    born(4, "press", [0, { role: "machine.state" }], [noon, { role: "temperature", simulated: true }]),
  );
  const products = (fromMs: number, toMs: number) =>
    deviceIn(device, fromMs, toMs).counters.map(({ product }) => product);
  expect(products(t0, noon)).toEqual(["a"]);
  expect(products(noon, noon + minuteMs)).toEqual(["b"]);
  expect(products(t0, noon + minuteMs)).toEqual(["a", "b"]);
  expect(deviceIn(device, t0, noon)).toMatchObject({ states: device.states, simulated: false });
  expect(deviceIn(device, noon, noon + 1)).toMatchObject({ states: [], simulated: true });
});

test("of a counter whose unit changed the minutes in the unit of its role count", () => {
  const wrong = { role: "energy.import", unit: "MWh" };
  const device = deviceOf("meter", born(3, "meter", [0, wrong], [noon, energy]));
  expect(around(device, device.counters[0]?.id, t0, noon)).toEqual([undefined, 3]);
  expect(around(device, device.register, t0, noon)).toEqual([undefined, 3]);
  // Simulated ones count nowhere outside of a demonstration, also for a time.
  const simulated = deviceOf("meter", born(3, "meter", [0, { ...energy, simulated: true }], [noon, energy]));
  expect(around(simulated, simulated.register, t0, noon)).toEqual([undefined, 3]);
});
