import type { ModbusTag } from "./modbus-config.ts";
import { isBitTable, widthOf } from "./modbus-facts.ts";

/** One read request: a range of one table, and the tags whose values lie wholly in it. */
export type Block = {
  readonly table: ModbusTag["table"];
  readonly address: number;
  /** Registers, or bits for coil and discrete. */
  readonly quantity: number;
  /** Positions in the device's tags, by address. Never empty. */
  readonly tags: readonly number[];
};

export type PlanLimits = { readonly maxRegistersPerRead: number; readonly maxGapRegisters: number };

const tables: readonly ModbusTag["table"][] = ["coil", "discrete", "holding", "input"];

/** Most bits in one read of coils or discrete inputs (MODBUS Application Protocol V1.1b3, 6.1 and 6.2). */
const maxBitsPerRead = 2000;
/** One register of an answer holds 16 bits: a gap of bits costs a sixteenth of one of registers. */
const bitsPerRegister = 16;

function endOf(tag: ModbusTag): number {
  return tag.address + widthOf(tag);
}

function blockOf(tags: readonly ModbusTag[], members: readonly number[]): Block {
  const first = tags[members[0] as number] as ModbusTag;
  const end = Math.max(...members.map((i) => endOf(tags[i] as ModbusTag)));
  return { table: first.table, address: first.address, quantity: end - first.address, tags: members };
}

/**
 * Merges tags into few reads: neighbours of one table in one request while it stays within the limits and no gap is too wide. A value
 * never spans two requests. Pure; the same tags give the same plan.
 * @param members positions of the tags to plan; all by default
 */
export function planReads(
  tags: readonly ModbusTag[],
  limits: PlanLimits,
  members: readonly number[] = [...tags.keys()],
): Block[] {
  const at = (i: number) => tags[i] as ModbusTag;
  // By position rather than by name: comparing words by a language's rules takes longer than all the rest.
  const tableOf = (i: number) => tables.indexOf(at(i).table);
  const sorted = members.toSorted(
    (a, b) => tableOf(a) - tableOf(b) || at(a).address - at(b).address || endOf(at(a)) - endOf(at(b)),
  );
  const blocks: Block[] = [];
  let open: number[] = [];
  let end = 0;
  for (const i of sorted) {
    const tag = at(i);
    const first = open.length > 0 ? at(open[0] as number) : undefined;
    const bits = isBitTable(tag);
    const most = bits ? maxBitsPerRead : limits.maxRegistersPerRead;
    const gap = limits.maxGapRegisters * (bits ? bitsPerRegister : 1);
    const joins =
      first?.table === tag.table && tag.address - end <= gap && Math.max(end, endOf(tag)) - first.address <= most;
    if (!joins && open.length > 0) {
      blocks.push(blockOf(tags, open));
      open = [];
    }
    end = open.length === 0 ? endOf(tag) : Math.max(end, endOf(tag));
    open.push(i);
  }
  if (open.length > 0) blocks.push(blockOf(tags, open));
  return blocks;
}

/** The plan of tags with rates of their own: those of one rate are merged with each other alone. Pure. @param members as of planReads */
export function planByRate(
  tags: readonly ModbusTag[],
  limits: PlanLimits,
  members: readonly number[] = [...tags.keys()],
): (Block & { readonly group: string | undefined })[] {
  const byGroup = Map.groupBy(members, (i) => tags[i]?.group);
  return [...byGroup].flatMap(([group, own]) => planReads(tags, limits, own).map((block) => ({ ...block, group })));
}

/**
 * Splits a block that a device refused in two: at its widest gap, since registers that nobody asked for are the likeliest cause, else in
 * the middle. Repeated, it ends at the single tag that the device does not have.
 * @returns one block when it holds one tag
 */
export function splitBlock(tags: readonly ModbusTag[], block: Block): [Block] | [Block, Block] {
  if (block.tags.length < 2) return [block];
  let cut = block.tags.length >>> 1;
  let widest = 0;
  let end = 0;
  for (const [position, i] of block.tags.entries()) {
    const tag = tags[i] as ModbusTag;
    if (position > 0 && tag.address - end > widest) {
      widest = tag.address - end;
      cut = position;
    }
    end = Math.max(end, endOf(tag));
  }
  return [blockOf(tags, block.tags.slice(0, cut)), blockOf(tags, block.tags.slice(cut))];
}
