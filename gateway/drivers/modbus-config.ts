import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { type Static, Type } from "typebox";
import {
  type Check,
  commonDeviceFaults,
  commonDeviceKeys,
  commonTagFaults,
  commonTagKeys,
  faultsBelow,
  oneOf,
  strict,
} from "./tag-config.ts";

/** What a register value can be, and how many 16-bit registers it takes. */
export const registerTypes = {
  int16: { registers: 1 },
  uint16: { registers: 1 },
  int32: { registers: 2 },
  uint32: { registers: 2 },
  int64: { registers: 4 },
  uint64: { registers: 4 },
  float32: { registers: 2 },
  float64: { registers: 4 },
  bool: { registers: 1 },
} as const;
export type RegisterType = keyof typeof registerTypes;
const typeNames = Object.keys(registerTypes) as RegisterType[];

export const byteOrders = ["ABCD", "CDAB", "BADC", "DCBA"] as const;
export type ByteOrder = (typeof byteOrders)[number];

const tagSchema = Type.Object(
  {
    ...commonTagKeys,
    table: oneOf(["holding", "input", "coil", "discrete"]),
    address: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      description: "as on the wire, from 0: register 40001 of many manuals is address 0 of table holding",
    }),
    type: oneOf(typeNames),
    bit: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 15, description: "bit of the register, 0 the least significant" }),
    ),
    order: Type.Optional(oneOf(byteOrders)),
  },
  strict,
);

/** A device behind Modbus TCP. One unit id is one device and one connection (see modbus-connection.ts). */
export const modbusDeviceSchema = Type.Object(
  {
    ...commonDeviceKeys(1000),
    driver: Type.Literal("modbus-tcp"),
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ default: 502, minimum: 1, maximum: 65_535 }),
    unitId: Type.Integer({ minimum: 0, maximum: 255 }),
    order: oneOf(byteOrders, { default: "ABCD", description: "order of the bytes of a value; a tag may have its own" }),
    maxRegistersPerRead: Type.Integer({ default: 125, minimum: 1, maximum: 125 }),
    maxGapRegisters: Type.Integer({
      default: 8,
      minimum: 0,
      maximum: 124,
      description: "unused registers read along between two tags rather than reading twice",
    }),
    maxReadsInFlight: Type.Integer({ default: 1, minimum: 1, maximum: 8 }),
    tags: Type.Array(tagSchema, { minItems: 1 }),
  },
  strict,
);

export type ModbusDevice = Static<typeof modbusDeviceSchema>;
export type ModbusTag = ModbusDevice["tags"][number];

export function isBitTable(tag: ModbusTag): boolean {
  return tag.table === "coil" || tag.table === "discrete";
}

/** Registers (or bits, for coil and discrete) that a tag takes on the wire. */
export function widthOf(tag: ModbusTag): number {
  return registerTypes[tag.type].registers;
}

function bitFaults(tag: ModbusTag, check: Check): void {
  const inRegister = tag.type === "bool" && !isBitTable(tag);
  check(!isBitTable(tag) || tag.type === "bool", "/type", `"bool" in table ${tag.table}`, 'write "bool"');
  check(inRegister || tag.bit === undefined, "/bit", 'no bit, unless a "bool" in a register', 'remove "bit"');
  check(!inRegister || tag.bit !== undefined, "/bit", "bit 0-15 of the register that holds the bool", 'add "bit"');
}

function tagFaults(tag: ModbusTag, device: ModbusDevice, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  bitFaults(tag, check);
  commonTagFaults(tag, device, check);
  const width = widthOf(tag);
  const fits = tag.address + width <= 65_536;
  check(fits, "/address", `at most ${65_536 - width} for ${tag.type}`, "its registers must end by address 65535");
  const readable = isBitTable(tag) || width <= device.maxRegistersPerRead;
  const least = `a type of at most ${device.maxRegistersPerRead} registers (maxRegistersPerRead)`;
  check(readable, "/type", least, "raise maxRegistersPerRead: a value is never read in two halves");
  return faults;
}

/** The checks of one device that its schema cannot express. Pure. */
export function modbusDeviceFaults(device: ModbusDevice, base: string): SemanticFault[] {
  const faults = commonDeviceFaults(device, base);
  for (const [i, tag] of device.tags.entries()) faults.push(...tagFaults(tag, device, `${base}/tags/${i}`));
  return faults;
}
