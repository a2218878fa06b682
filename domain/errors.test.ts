import { describe, expect, it } from "vitest";
import { codeOf, JilianError, messageOf } from "./errors.ts";

describe("errors", () => {
  it("carry what is needed to act, and nothing where nothing is known", () => {
    const cause = new Error("ECONNREFUSED");
    const error = new JilianError("cannot connect", {
      code: "MODBUS_TIMEOUT",
      action: "connect",
      remedy: "check the cable",
      device: "m-1",
      address: "192.168.1.5:502",
      status: 0x800a0000,
      cause,
    });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: "JilianError",
      device: "m-1",
      address: "192.168.1.5:502",
      status: 0x800a0000,
      cause,
    });
    const bare = new JilianError("x", { code: "X", action: "a", remedy: "r" });
    expect([bare.device, bare.address, bare.status, "cause" in bare]).toEqual([undefined, undefined, undefined, false]);
  });

  it("tell message and code of anything that is thrown", () => {
    expect(messageOf(new Error("two\n  lines "))).toBe("two lines");
    expect(messageOf("text")).toBe("text");
    expect(messageOf(undefined)).toBe("undefined");
    expect(codeOf(new JilianError("x", { code: "X", action: "a", remedy: "r" }))).toBe("X");
    expect(codeOf(Object.assign(new Error("x"), { code: "ENOENT" }))).toBe("ENOENT");
    expect(codeOf(Object.assign(new Error("x"), { code: 5 }))).toBe("UNKNOWN");
    expect(codeOf({ code: "ENOENT" })).toBe("UNKNOWN");
  });
});
