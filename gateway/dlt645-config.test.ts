import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { type DeviceConfig, readGatewayConfig } from "./config.ts";
import { definitionOf, definitionsOf } from "./definitions.ts";
import { commonDevice } from "./drivers/common-device.ts";
import type { CommonDevice } from "./drivers/tag-config.ts";
import { createShaper } from "./shape.ts";

const head =
  "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\nlines: [{ id: east, kind: tcp, host: h, port: 1 }]\ndevices:\n";

function meterText(tag: string, { id = "m", address = '"000000000161"', extra = "" } = {}): string {
  const keys = `id: ${id}, driver: dlt645, line: east, meterAddress: ${address}${extra}`;
  return `  - { ${keys}, tags: [{ name: t, ${tag} }] }\n`;
}

function deviceOf(tag: string): CommonDevice {
  const read = readGatewayConfig(head + meterText(tag), "g");
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  return commonDevice(read.value.devices[0] as DeviceConfig);
}

function faultsOf(text: string): string[] {
  const read = readGatewayConfig(head + text, "g");
  return read.ok ? [] : read.faults.map(({ path, expected, remedy }) => `${path}: ${expected}; ${remedy}`);
}

function definition(tag: string) {
  const device = deviceOf(tag);
  return definitionOf(device, device.tags[0] as CommonDevice["tags"][number], false);
}

describe("a tag", () => {
  it("of a known register needs its identifier alone: unit, role, modulus and resolution are the standard's", () => {
    expect(definition('dataId: "00010000"')).toMatchObject({
      datatype: DataType.Double,
      unit: "kWh",
      role: "energy.import",
      carrier: "electricity",
      modulus: "1000000",
      resolution: "0.01",
    });
    expect(definition('dataId: "02030000"')).toMatchObject({ unit: "kW", role: "power.active", resolution: "0.0001" });
    expect(definition('dataId: "02030000"')).not.toHaveProperty("modulus");
  });

  it("of a part has no role: a total would be counted twice", () => {
    for (const dataId of ["00010100", "00020000", "00000000", "02030100"]) {
      expect(definition(`dataId: "${dataId}"`), dataId).not.toHaveProperty("role");
    }
  });

  it.each([
    [12_345_678, 123_456.78],
    [99_999_999, 999_999.99],
    [1, 0.01],
    [30_000_003, 300_000.03],
  ])("becomes the decimal that the meter shows: %d counts are %d", (counts, value) => {
    const shaper = createShaper(deviceOf('dataId: "00010000"'), { lastSourceTimeMs: 0 });
    expect(shaper.shape([{ tag: 0, value: counts, status: Status.Good }], 1000)).toMatchObject([
      { value, status: Status.Good },
    ]);
  });

  it("is scaled by the ratio of its transformers, exactly, its modulus with it", () => {
    const tag = 'dataId: "00010000", scale: { numerator: 120 }';
    expect(definition(tag)).toMatchObject({ unit: "kWh", modulus: "120000000", resolution: "1.2" });
    const shaper = createShaper(deviceOf(tag), { lastSourceTimeMs: 0 });
    expect(shaper.shape([{ tag: 0, value: 12_345_678, status: Status.Good }], 1000)[0]?.value).toBe(14_814_813.6);
  });

  it("in another unit than the standard's has the role that is written, and no other", () => {
    const tag = definition('dataId: "00010000", unit: MWh, scale: { denominator: 1000 }');
    expect(tag).toMatchObject({ unit: "MWh", resolution: "0.00001" });
    expect(tag).not.toHaveProperty("role");
    expect(tag).not.toHaveProperty("modulus");
  });

  it("of an own format has that one's digits, and its own modulus where it counts", () => {
    const counter = 'dataId: "04A00101", format: XXXXXX.XXXX, unit: kWh, role: energy.import';
    expect(deviceOf(counter).tags[0]).toMatchObject({ type: "uint64", modulusCounts: "10000000000" });
    expect(definition(counter)).toMatchObject({ modulus: "1000000", resolution: "0.0001" });
    const signed = 'dataId: "00000000", role: energy.import';
    expect(definition(signed)).toMatchObject({ unit: "kWh", role: "energy.import" });
    expect(definition(signed)).not.toHaveProperty("modulus");
    expect(definition(`${signed}, modulusCounts: 80000000`)).toMatchObject({ modulus: "800000" });
  });
});

it("a sum of tariffs starts again where each of them does", () => {
  const sum = "operation: sum, unit: kWh, role: energy.import, of: [{ tag: t }, { tag: u }]";
  const extra = `, derived: [{ name: both, ${sum} }]`;
  const read = readGatewayConfig(
    head + meterText('dataId: "00010100" }, { name: u, dataId: "00010200"', { extra }),
    "g",
  );
  if (!read.ok) throw new Error(JSON.stringify(read.faults));
  const device = commonDevice(read.value.devices[0] as DeviceConfig);
  expect(definitionsOf(device, false).at(-1)).toMatchObject({ name: "both", modulus: "1000000", resolution: "0.01" });
});

describe("faults", () => {
  it.each([
    ['dataId: "0201FF00"', "/devices/0/tags/0/dataId", "not of a block"],
    ['dataId: "FF010000"', "/devices/0/tags/0/dataId", "not of a block"],
    ['dataId: "1234567"', "/devices/0/tags/0/dataId", "in quotes"],
    ["dataId: 02010100", "/devices/0/tags/0/dataId", "in quotes"],
    ['dataId: "04000101"', "/devices/0/tags/0/format", "not one of the known ones"],
    ['dataId: "00010001"', "/devices/0/tags/0/format", "not one of the known ones"],
    ['dataId: "04000101", format: XXX', "/devices/0/tags/0/format", "even number of digits"],
    ['dataId: "04000101", format: "12.34"', "/devices/0/tags/0/format", "XXXXXX.XX"],
    ['dataId: "02030000", signed: false', "/devices/0/tags/0/signed", "only beside a format"],
    ['dataId: "00010000", type: uint32', "/devices/0/tags/0/type", 'remove "type"'],
    ['dataId: "00010000", unit: MWh, role: energy.import', "/devices/0/tags/0/unit", '"kWh"'],
    ['dataId: "00010000", scale: { denominator: 900719925474099 }', "/devices/0/tags/0/scale/denominator", "exact"],
    ['dataId: "02010100", modulusCounts: 10000', "/devices/0/tags/0/modulusCounts", "only with a counter role"],
  ])("finds %s", (tag, path, words) => {
    expect(faultsOf(meterText(tag))).toEqual([expect.stringContaining(words)]);
    expect(faultsOf(meterText(tag))[0]).toContain(`${path}: `);
  });

  const tag = 'dataId: "00010000"';
  it.each([
    [meterText(tag, { address: '"999999999999"' }), "/devices/0/meterAddress: the address of one meter"],
    [meterText(tag, { address: '"AAAAAAAAAAAA"' }), "/devices/0/meterAddress"],
    [meterText(tag, { address: "161" }), "/devices/0/meterAddress"],
    [meterText(tag).replace("line: east", "line: west"), "/devices/0/line: one of east"],
    [meterText(tag) + meterText(tag, { id: "n" }), "/devices/1/meterAddress: a meter of one line used once"],
    [meterText(`${tag} }, { name: u, dataId: "00010000"`), "/devices/0/tags/1/dataId"],
    [meterText(`${tag} }, { name: T, dataId: "00020000"`), "/devices/0/tags/1/name"],
  ])("finds them in a device: %#", (text, found) => {
    expect(faultsOf(text).filter((fault) => !fault.startsWith("/lines"))).toEqual([expect.stringContaining(found)]);
  });

  it("takes one address on two lines for two meters", () => {
    const lines = head.replace("port: 1 }", "port: 1 }, { id: west, kind: tcp, host: h, port: 2 }");
    const west = meterText(tag, { id: "n" }).replace("line: east", "line: west");
    expect(readGatewayConfig(lines + meterText(tag) + west, "g").ok).toBe(true);
  });
});
