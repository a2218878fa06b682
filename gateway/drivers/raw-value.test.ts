import { Status } from "@jilian/domain/quality.ts";
import { describe, expect, it } from "vitest";
import { statusOfRaw } from "./raw-value.ts";

describe("statusOfRaw", () => {
  it.each([
    ["float32", Number.NaN, Status.BadSensorFailure],
    ["float32", Number.POSITIVE_INFINITY, Status.BadSensorFailure],
    ["float32", Number.NEGATIVE_INFINITY, Status.BadSensorFailure],
    ["float32", Buffer.from("ff7fffff", "hex").readFloatBE(0), Status.BadSensorFailure],
    ["float32", Buffer.from("7f7ffffe", "hex").readFloatBE(0), Status.Good],
    ["float64", Number.NaN, Status.BadSensorFailure],
    ["float64", -Number.MAX_VALUE, Status.BadSensorFailure],
    ["float64", 3.5e38, Status.Good],
    ["uint64", 2n ** 63n - 1n, Status.Good],
    ["uint64", 2n ** 63n, Status.BadOutOfRange],
    ["int64", -(2n ** 63n), Status.Good],
    ["bool", false, Status.Good],
    ["datetime", -1n, Status.BadOutOfRange],
    ["datetime", 0n, Status.Good],
    ["string", "温".repeat(4096), Status.Good],
    ["string", "x".repeat(4097), Status.BadOutOfRange],
  ] as const)("%s %s", (type, value, status) => {
    expect(statusOfRaw(value, type)).toBe(status);
  });
});
