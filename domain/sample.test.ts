import { describe, expect, it } from "vitest";
import { DataType } from "./datatypes.ts";
import {
  definitionFromBirth,
  definitionProperties,
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
