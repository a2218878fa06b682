import { expect, it } from "vitest";
import { opcuaValueOf } from "./opcua-decode.ts";

it("takes the source's time before the server's, and the server's where the source tells none", () => {
  const t = 1_750_000_000_000;
  const times = (sourceMs: number | undefined, serverMs: number | undefined) =>
    opcuaValueOf({
      ...(sourceMs === undefined ? {} : { sourceTimestamp: new Date(sourceMs) }),
      ...(serverMs === undefined ? {} : { serverTimestamp: new Date(serverMs) }),
      statusCode: { value: 0 },
    }).sourceMs;
  expect(times(t, t + 5000)).toBe(t);
  expect(times(t, t - 5000)).toBe(t);
  expect(times(undefined, t)).toBe(t);
  // OPC 10000-6, 5.2.2.5: 1601 stands for no time.
  expect(times(Date.parse("1601-01-01T00:00:00Z"), t)).toBe(t);
  expect(times(undefined, undefined)).toBeUndefined();
});
