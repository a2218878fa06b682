import type { ModbusDevice, ModbusTag } from "./modbus-config.ts";

/** What a register value can be, and how many 16-bit registers it takes: a string as many as its tag says. */
export const registerTypes = {
  int16: { registers: 1 },
  uint16: { registers: 1 },
  int32: { registers: 2 },
  uint32: { registers: 2 },
  int64: { registers: 4 },
  uint64: { registers: 4 },
  float32: { registers: 2 },
  float64: { registers: 4 },
  bcd16: { registers: 1 },
  bcd32: { registers: 2 },
  bcd48: { registers: 3 },
  bcd64: { registers: 4 },
  bool: { registers: 1 },
  string: { registers: 0 },
} as const;

export type RegisterType = keyof typeof registerTypes;

/** Whether a device shares its connection with the others of its host and port. */
export function sharesConnection({ connection, maxReadsInFlight }: ModbusDevice): boolean {
  return connection === undefined ? maxReadsInFlight === 1 : connection === "shared";
}

export function isBitTable(tag: Pick<ModbusTag, "table">): boolean {
  return tag.table === "coil" || tag.table === "discrete";
}

/** Registers (or bits, for coil and discrete) that a tag takes on the wire. */
export function widthOf(tag: ModbusTag): number {
  return tag.type === "string" ? (tag.lengthRegisters ?? 1) : registerTypes[tag.type].registers;
}
