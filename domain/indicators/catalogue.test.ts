import { describe, expect, test } from "vitest";
import { nullReasons } from "../result.ts";
import { indicators } from "./catalogue.ts";
import { versionsOf } from "./in-force.ts";

const all = indicators.flatMap((indicator) =>
  versionsOf(indicator).map((version) => [indicator.id, version.version, version] as const),
);

describe.each(all)("%s, version %i", (_id, _version, indicator) => {
  test("its worked example comes to what it says, to the last digit", () => {
    const { site, value } = indicator.example;
    expect(indicator.figure(site).value).toBe(value);
  });

  test("its worked example can be followed: the value stands in both languages", () => {
    const { zh, en, value } = indicator.example;
    for (const text of [zh, en]) expect(text.replaceAll(",", "").replaceAll("，", " ")).toContain(value);
  });

  test("of a site without any device it is null for one of its reasons, or a count of none", () => {
    const figure = indicator.figure({ ...indicator.example.site, factories: [] });
    if (indicator.reasons.length === 0) expect(figure).toMatchObject({ value: "0", reason: null });
    else expect(indicator.reasons, `${figure.reason}`).toContain(figure.reason);
  });

  test("its reasons are known, and it is complete", () => {
    for (const reason of indicator.reasons) expect(Object.keys(nullReasons)).toContain(reason);
    const { zh, en, formula, formulaZh, source, levels, periods, version, id } = indicator;
    expect(id).toMatch(/^[a-z]+(?:\.[a-z_]+)?$/);
    for (const text of [zh, en, formula, formulaZh, source]) expect(text).not.toBe("");
    expect(formulaZh).toMatch(/[一-龥]/);
    expect(levels.length * periods.length).toBeGreaterThan(0);
    expect(version).toBeGreaterThan(0);
  });
});

test("ids are used once", () => {
  const ids = indicators.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
});

test("earlier versions are the same indicator in the same unit, each number once, none above the one in use", () => {
  for (const { earlier = [], ...indicator } of indicators) {
    const numbers = earlier.map(({ version }) => version);
    expect(new Set([...numbers, indicator.version]).size, indicator.id).toBe(numbers.length + 1);
    for (const { id, unit, version } of earlier)
      expect([id, unit, version < indicator.version]).toEqual([indicator.id, indicator.unit, true]);
  }
});
