import { checkConfig } from "@jilian/domain/check-config.ts";
import { describe, expect, it } from "vitest";
import { apiSchema } from "./config.ts";

describe("apiSchema", () => {
  it("fills what is left out: loopback, port 8080, a wall that asks for a key", () => {
    const checked = checkConfig(apiSchema, "", "api.yaml");
    expect(checked).toEqual({
      ok: true,
      value: { host: "127.0.0.1", port: 8080, maxStreams: 100, wall: { public: false } },
    });
  });

  it("tells every fault with its line", () => {
    const checked = checkConfig(apiSchema, "port: 70000\nwall:\n  publik: true\nhsot: x\n", "api.yaml");
    const faults = checked.ok ? [] : checked.faults.map(({ line, path }) => `${line} ${path}`);
    expect(faults).toEqual(["1 /port", "3 /wall/publik", "4 /hsot"]);
  });
});
