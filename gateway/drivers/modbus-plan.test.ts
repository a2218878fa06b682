import { describe, expect, it } from "vitest";
import type { ModbusTag } from "./modbus-config.ts";
import { type RegisterType, widthOf } from "./modbus-facts.ts";
import { planReads, splitBlock } from "./modbus-plan.ts";

const limits = { maxRegistersPerRead: 125, maxGapRegisters: 8 };

function tag(table: ModbusTag["table"], address: number, type: RegisterType): ModbusTag {
  return { name: `${table}-${address}`, table, address, type, scale: { numerator: 1, denominator: 1 }, deadband: 0 };
}

const ranges = (tags: ModbusTag[], given = limits) =>
  planReads(tags, given).map(({ table, address, quantity, tags }) => [table, address, quantity, tags]);

describe("planReads", () => {
  it("merges neighbours and gaps up to the limit, each table for itself, in any order of configuration", () => {
    const tags = [
      tag("holding", 20, "float32"),
      tag("input", 0, "uint16"),
      tag("holding", 0, "uint32"),
      tag("holding", 10, "uint16"),
      tag("holding", 31, "uint16"),
    ];
    expect(ranges(tags)).toEqual([
      ["holding", 0, 11, [2, 3]],
      ["holding", 20, 2, [0]],
      ["holding", 31, 1, [4]],
      ["input", 0, 1, [1]],
    ]);
    expect(ranges(tags, { ...limits, maxGapRegisters: 9 })).toEqual([
      ["holding", 0, 32, [2, 3, 0, 4]],
      ["input", 0, 1, [1]],
    ]);
  });

  it("fills a read to exactly 125 registers and never splits a value over two", () => {
    const tags = [tag("holding", 0, "uint16"), tag("holding", 4, "uint16"), tag("holding", 121, "uint64")];
    const wide = { ...limits, maxGapRegisters: 124 };
    expect(ranges(tags, wide)).toEqual([["holding", 0, 125, [0, 1, 2]]]);
    expect(ranges([...tags, tag("holding", 122, "uint64")], wide)).toEqual([
      ["holding", 0, 125, [0, 1, 2]],
      ["holding", 122, 4, [3]],
    ]);
  });

  it("reads overlapping tags once, and a long tag does not end before a short one inside it", () => {
    const tags = [tag("holding", 0, "uint64"), tag("holding", 1, "uint16"), tag("holding", 12, "uint16")];
    expect(ranges(tags)).toEqual([["holding", 0, 13, [0, 1, 2]]]);
  });

  it("reads at most 2000 bits at once, with a gap of 16 bits for each register of the limit", () => {
    const coils = [0, 129, 259, 1999, 2000].map((address) => tag("coil", address, "bool"));
    expect(ranges(coils)).toEqual([
      ["coil", 0, 130, [0, 1]],
      ["coil", 259, 1, [2]],
      ["coil", 1999, 2, [3, 4]],
    ]);
    const dense = Array.from({ length: 2001 }, (_, i) => tag("discrete", i, "bool"));
    expect(ranges(dense).map(([, address, quantity]) => [address, quantity])).toEqual([
      [0, 2000],
      [2000, 1],
    ]);
  });

  it("holds its promises for any tags", () => {
    const types: RegisterType[] = ["uint16", "float32", "uint64", "bool", "bcd48", "string"];
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 200; round += 1) {
      const given = { maxRegistersPerRead: 4 + random(122), maxGapRegisters: random(20) };
      const tags = Array.from({ length: 1 + random(60) }, () => {
        const drawn = tag("holding", random(400), types[random(types.length)] as RegisterType);
        return drawn.type === "string" ? { ...drawn, lengthRegisters: 1 + random(given.maxRegistersPerRead) } : drawn;
      });
      const blocks = planReads(tags, given);
      expect(blocks.flatMap((block) => block.tags).toSorted((a, b) => a - b)).toEqual([...tags.keys()]);
      for (const block of blocks) {
        expect(block.quantity).toBeLessThanOrEqual(given.maxRegistersPerRead);
        for (const i of block.tags) {
          const { address } = tags[i] as ModbusTag;
          expect(address).toBeGreaterThanOrEqual(block.address);
          expect(address + widthOf(tags[i] as ModbusTag)).toBeLessThanOrEqual(block.address + block.quantity);
        }
      }
    }
  });
});

describe("splitBlock", () => {
  const tags = [
    tag("holding", 0, "uint16"),
    tag("holding", 1, "uint16"),
    tag("holding", 6, "uint32"),
    tag("holding", 10, "uint16"),
  ];
  const [block] = planReads(tags, limits);

  it("splits at the widest gap first, then in the middle, down to single tags", () => {
    if (block === undefined) throw new Error("no plan");
    const [left, right] = splitBlock(tags, block);
    expect([left.address, left.quantity, right?.address, right?.quantity]).toEqual([0, 2, 6, 5]);
    const [first, second] = splitBlock(tags, left);
    expect([first.tags, second?.tags]).toEqual([[0], [1]]);
    expect(splitBlock(tags, first)).toEqual([first]);
  });
});
