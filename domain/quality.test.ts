import { describe, expect, it } from "vitest";
import { qualityOf, Status, sparkplugQuality, statusFromSparkplug, statusName } from "./quality.ts";

describe("quality", () => {
  it("follows the severity bits: 00 good, 01 uncertain, 10 and the reserved 11 bad (OPC 10000-4, 7.39)", () => {
    expect([0, 0x00ba0000, 0x3fffffff].map(qualityOf)).toEqual(["good", "good", "good"]);
    expect([0x40000000, 0x40900000, 0x7fffffff].map(qualityOf)).toEqual(["uncertain", "uncertain", "uncertain"]);
    expect([0x80000000, 0x800a0000, 0xc0000000, 0xffffffff].map(qualityOf)).toEqual(["bad", "bad", "bad", "bad"]);
    // A code read as a signed 32-bit integer is the same code.
    expect(qualityOf(0x800a0000 | 0)).toBe("bad");
  });

  it("agrees with the names of this product's codes", () => {
    for (const [name, code] of Object.entries(Status)) {
      expect(name.toLowerCase().startsWith(qualityOf(code)), name).toBe(true);
      expect(statusName(code)).toBe(name);
      expect(statusName(code | 0x0403), "info bits do not change the name").toBe(name);
    }
    expect(statusName(0x80ff0000)).toBe("0x80ff0000");
    expect(statusName(0x800a0000 | 0)).toBe("BadTimeout");
  });

  it("is 192 or 0 in Sparkplug", () => {
    expect([Status.Good, Status.Uncertain, Status.BadTimeout].map(sparkplugQuality)).toEqual([192, 192, 0]);
  });

  it("is read from whatever a node carries, the StatusCode first", () => {
    expect(statusFromSparkplug(undefined, undefined)).toBe(Status.Good);
    expect(statusFromSparkplug(192, undefined)).toBe(Status.Good);
    expect(statusFromSparkplug(0, undefined)).toBe(Status.Bad);
    expect(statusFromSparkplug(500, undefined)).toBe(Status.UncertainLastUsableValue);
    expect(statusFromSparkplug(77, undefined)).toBe(Status.Bad);
    expect(statusFromSparkplug(192, 0x800a0000 | 0)).toBe(Status.BadTimeout);
    expect(statusFromSparkplug(0, Status.Uncertain)).toBe(Status.Uncertain);
  });
});
