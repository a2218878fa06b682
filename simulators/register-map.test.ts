import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { baseUnitsPerCount } from "./codec.ts";
import { printReadmeSection } from "./print-map.ts";
import { PROFILE_NAMES } from "./profiles.ts";
import { BYTE_ORDERS, registerMapOf } from "./register-map.ts";

const NUMERIC = ["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"];

describe("register map", () => {
  it("has every type in every order across the profiles", () => {
    const points = PROFILE_NAMES.flatMap((profile) => registerMapOf(profile).points);
    const found = new Set(points.map(({ type, order }) => `${type} ${order}`));
    for (const type of NUMERIC) for (const order of BYTE_ORDERS) expect(found).toContain(`${type} ${order}`);
  });

  it.each(PROFILE_NAMES)("%s has every type, order and table, one order a device, and names of its own", (profile) => {
    const { points, devices } = registerMapOf(profile);
    expect(new Set(points.map(({ type }) => type))).toEqual(new Set([...NUMERIC, "bool"]));
    expect(new Set(points.map(({ order }) => order))).toEqual(new Set(BYTE_ORDERS));
    expect(new Set(points.map(({ table }) => table))).toEqual(new Set(["holding", "input", "coil", "discrete"]));
    expect(new Set(points.map(({ name }) => name)).size).toBe(points.length);
    expect(devices.map(({ unitId }) => unitId)).toEqual([1, 2, 3, 4, 11, 12, 13]);
    for (const device of devices) expect(new Set(device.points.map(({ order }) => order)).size).toBe(1);
  });

  it("has counts that are whole numbers of base units, and a modulus on narrow counters only", () => {
    for (const point of registerMapOf("copper-rolling").points) {
      expect(Number.isInteger(baseUnitsPerCount(point)), point.name).toBe(true);
      if (!point.counter) expect(point.modulus, point.name).toBeNull();
      else expect(point.modulus === null, point.name).toBe(point.type.endsWith("64"));
    }
  });

  it("is printed in the README as it is", async () => {
    const readme = await readFile(new URL("./README.md", import.meta.url), "utf8");
    expect(readme, "run: npm run simulate -- --print-map readme").toContain(printReadmeSection());
  });
});
