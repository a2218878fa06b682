import { describe, expect, it } from "vitest";
import { DataType } from "./datatypes.ts";
import {
  definitionFromBirth,
  definitionProperties,
  earlierFromBirth,
  earlierProperties,
  type MetricDefinition,
  nodeMetrics,
  parseDeviceMetric,
  stalenessWindowMs,
} from "./sample.ts";
import { decodePayload, encodePayload, property } from "./sparkplug/payload.ts";

describe("metric definition", () => {
  const full: MetricDefinition = {
    name: "energy/import",
    datatype: DataType.UInt32,
    role: "energy.import",
    carrier: "electricity",
    product: "fabric",
    unit: "kWh",
    deadband: 0,
    heartbeatMs: 10_000,
    modulus: "42949672.96",
    resolution: "0.01",
    simulated: true,
  };

  it.each<[string, MetricDefinition]>([
    ["full", full],
    ["bare", { name: "x", datatype: DataType.Float, simulated: false }],
  ])("%s survives a birth certificate", (_name, definition) => {
    const { name, datatype } = definition;
    const properties = definitionProperties(definition);
    const metric = { name, datatype, declare: true, timestampMs: 1, value: null, properties };
    const [born] = decodePayload(encodePayload({ timestampMs: 1, metrics: [metric] })).metrics;
    expect(definitionFromBirth(name, datatype, born?.properties ?? {})).toEqual(definition);
  });

  it("of a foreign node takes what is well-formed and guesses nothing", () => {
    const properties = {
      role: property.int32(3),
      engUnit: property.text("bar"),
      heartbeatMs: property.uint32(0),
      deadband: property.text("1"),
      simulated: property.text("true"),
    };
    expect(definitionFromBirth("p", DataType.Double, properties)).toEqual({
      name: "p",
      datatype: DataType.Double,
      unit: "bar",
      simulated: false,
    });
  });
});

describe("what a metric was before", () => {
  const earlier = [
    { sinceMs: 0, definition: { name: "e", datatype: DataType.Float, simulated: false } },
    {
      sinceMs: 5000,
      definition: {
        ...{ name: "e", datatype: DataType.Int64, role: "gas.import", unit: "m³" },
        simulated: true,
        deadband: 0.5,
      },
    },
  ];

  it("survives a birth certificate, which says nothing of it where there is nothing", () => {
    const properties = earlierProperties(earlier);
    const metric = { name: "e", datatype: DataType.Float, declare: true, timestampMs: 1, value: null, properties };
    const [born] = decodePayload(encodePayload({ timestampMs: 1, metrics: [metric] })).metrics;
    expect(earlierFromBirth("e", born?.properties ?? {})).toEqual(earlier);
    expect(earlierProperties([])).toEqual({});
    expect(earlierFromBirth("e", {})).toEqual([]);
  });

  it.each([
    ["no JSON", "["],
    ["no list", "{}"],
    ["no object in it", "[null]"],
    ["no datatype", '[{"role":"gas.import"}]'],
    ["a datatype without a series", '[{"datatype":99}]'],
    ["an order that is none", '[{"datatype":9,"definedSince":5},{"datatype":9,"definedSince":5}]'],
    ["two without a time", '[{"datatype":9},{"datatype":9}]'],
    [
      "more than are told",
      JSON.stringify(Array.from({ length: 17 }, (_, i) => ({ datatype: 9, definedSince: i + 1 }))),
    ],
    ["more than is read", `[{"datatype":9,"role":"${"x".repeat(40_000)}"}]`],
  ])("is nothing where the birth has %s", (_name, text) => {
    expect(earlierFromBirth("e", { earlierDefinitions: property.text(text) })).toEqual([]);
  });

  it("is cut to what is read of it, the oldest first", () => {
    const bulky = earlier.map((one) => ({ ...one, definition: { ...one.definition, product: "x".repeat(20_000) } }));
    expect(earlierFromBirth("e", earlierProperties(bulky))).toEqual(bulky.slice(1));
  });
});

it("a value is stale after three heartbeats, of 10 s where none is declared", () => {
  expect(stalenessWindowMs(2000)).toBe(6000);
  expect(stalenessWindowMs(undefined)).toBe(30_000);
});

it("reads the node metrics about devices, and no others", () => {
  expect(parseDeviceMetric(nodeMetrics.deviceConnected("m-1"))).toEqual({ device: "m-1", field: "Connected" });
  expect(parseDeviceMetric(nodeMetrics.deviceReason("m-1"))).toEqual({ device: "m-1", field: "Reason" });
  for (const name of [
    "Devices/m/Other",
    "Devices//Reason",
    "Devices/a/b/Reason",
    "xDevices/a/Reason",
    nodeMetrics.software,
  ]) {
    expect(parseDeviceMetric(name), name).toBeUndefined();
  }
});

it("has a staleness window of whole milliseconds, whatever a birth of another make says", () => {
  expect([undefined, 5000, 1000.5, 0.1].map(stalenessWindowMs)).toEqual([30_000, 15_000, 3002, 1]);
});
