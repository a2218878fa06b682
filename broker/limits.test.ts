import { networkOf } from "@jilian/domain/network.ts";
import { describe, expect, it } from "vitest";
import { failureBudget, packetLengths, takeoverBudget } from "./limits.ts";

describe("packet lengths", () => {
  // MQTT 3.1.1, table 2.4: the first and last length of each number of digits.
  const packets: [header: number[], length: number][] = [
    [[0xc0, 0x00], 0],
    [[0x30, 0x7f], 127],
    [[0x30, 0x80, 0x01], 128],
    [[0x30, 0xff, 0x7f], 16_383],
    [[0x30, 0x80, 0x80, 0x01], 16_384],
    [[0x30, 0xff, 0xff, 0x7f], 2_097_151],
  ];
  const stream = Buffer.concat(
    packets.map(([header, length]) => Buffer.concat([Buffer.from(header), Buffer.alloc(length, 0x81)])),
  );

  it.each([1, 2, 3, 7, 4096, stream.length])("are told whatever the chunks (%i bytes)", (size) => {
    const found: number[] = [];
    const follow = packetLengths((length) => found.push(length));
    for (let at = 0; at < stream.length; at += size) follow(stream.subarray(at, at + size));
    expect(found).toEqual(packets.map(([, length]) => length));
  });

  it("are told from the header alone", () => {
    const found: number[] = [];
    packetLengths((length) => found.push(length))(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
    expect(found).toEqual([268_435_455]);
  });
});

describe("network of an address", () => {
  it.each([
    ["10.0.0.5", "10.0.0.5"],
    ["::ffff:10.0.0.5", "10.0.0.5"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:DB8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["unknown", "unknown"],
  ])("%s: %s", (address, network) => expect(networkOf(address)).toBe(network));
});

describe("failure budget", () => {
  it("runs out for one address alone, and comes back with time", () => {
    let nowMs = 0;
    const budget = failureBudget(() => nowMs);
    for (let i = 0; i < 20; i += 1) {
      expect(budget.isLeft("a")).toBe(true);
      budget.spend("a");
    }
    expect(budget.isLeft("a")).toBe(false);
    expect(budget.isLeft("b")).toBe(true);
    nowMs += 499;
    expect(budget.isLeft("a")).toBe(false);
    nowMs += 1;
    expect(budget.isLeft("a")).toBe(true);
    budget.spend("a");
    expect(budget.isLeft("a")).toBe(false);
    nowMs += 60_000;
    for (let i = 0; i < 20; i += 1) budget.spend("a");
    expect(budget.isLeft("a"), "never more than the whole").toBe(false);
  });

  it("forgets the address that failed longest ago when there are too many", () => {
    const budget = failureBudget(() => 0);
    for (let i = 0; i < 20; i += 1) budget.spend("first");
    for (let i = 0; i < 9999; i += 1) budget.spend(`a${i}`);
    expect(budget.isLeft("first")).toBe(false);
    budget.spend("one more");
    expect(budget.isLeft("first")).toBe(true);
  });
});

describe("takeover budget", () => {
  it("lets a client push out its own old connection now and then, and no storm of it", () => {
    let nowMs = 0;
    const budget = takeoverBudget(() => nowMs);
    let passed = 0;
    for (; nowMs < 60_000; nowMs += 100) {
      if (!budget.isLeft("f1/gw-1")) continue;
      budget.spend("f1/gw-1");
      passed += 1;
    }
    expect(passed).toBeGreaterThanOrEqual(15);
    expect(passed).toBeLessThanOrEqual(17);
    expect(budget.isLeft("f1/gw-2")).toBe(true);
  });
});
