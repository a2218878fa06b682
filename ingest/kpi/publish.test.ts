import { hourMs, watermarkMs } from "@jilian/domain/periods.ts";
import type { Result } from "@jilian/domain/result.ts";
import { describe, expect, test } from "vitest";
import { nextRevision } from "./publish.ts";

describe("revisions", () => {
  const startMs = Date.UTC(2026, 10, 22, 2, 0);
  const result: Result = {
    ...{ indicator: "energy.electricity", level: "factory", entity: "f2", period: "hour" },
    ...{ startMs, endMs: startMs + hourMs, value: "1", reason: null, unit: "kWh", completeness: 1, estimatedShare: 0 },
    ...{ lowerBound: false, status: "provisional", revision: 0, definitionVersion: 1, factorTable: null },
    ...{ registryVersion: "r", inputWatermark: 7, asOfMs: startMs + hourMs, simulated: false },
  };
  const dueMs = result.endMs + watermarkMs;

  test("provisional until the watermark, then final once, whether it changed or not", () => {
    expect(nextRevision(result, undefined, dueMs - 1)).toEqual(result);
    expect(nextRevision({ ...result, asOfMs: 9 }, result, dueMs - 1)).toBeUndefined();
    expect(nextRevision({ ...result, value: "2" }, result, dueMs - 1)).toMatchObject({
      status: "provisional",
      revision: 0,
    });
    expect(nextRevision(result, result, dueMs)).toEqual({ ...result, status: "final" });
    expect(nextRevision(result, undefined, dueMs)).toMatchObject({ status: "final", revision: 0 });
  });

  test("what was final is never provisional again, and is revised only when it says something else", () => {
    const final = { ...result, status: "final" as const };
    expect(nextRevision({ ...result, inputWatermark: 99, asOfMs: dueMs }, final, dueMs + 1)).toBeUndefined();
    const first = nextRevision({ ...result, value: "2" }, final, dueMs + 1) as Result;
    expect(first).toMatchObject({ value: "2", status: "revised", revision: 1 });
    const second = nextRevision({ ...result, completeness: 0.5, value: "2" }, first, dueMs - 1);
    expect(second).toMatchObject({ completeness: 0.5, status: "revised", revision: 2 });
  });
});
