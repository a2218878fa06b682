import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { type Static, Type } from "typebox";
import { isBitTable, type RegisterType, registerTypes, widthOf } from "./modbus-facts.ts";
import { groupFaults, groupsSchema } from "./modbus-groups.ts";
import { profileKeys } from "./profile-keys.ts";
import { intervalOf } from "./rates.ts";
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
import { isCounter } from "./tag-facts.ts";
import { isBcd } from "./value-types.ts";

const typeNames = Object.keys(registerTypes) as RegisterType[];

export const byteOrders = ["ABCD", "CDAB", "BADC", "DCBA"] as const;
export type ByteOrder = (typeof byteOrders)[number];

export const bcdSigns = ["nibble", "bit"] as const;
export type BcdSign = (typeof bcdSigns)[number];
export const encodings = ["ascii", "utf-8", "gbk"] as const;
export type Encoding = (typeof encodings)[number];

/** A tag of a device or of a profile. */
export const modbusTagSchema = Type.Object(
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
    sign: Type.Optional(
      oneOf(bcdSigns, { description: "of a BCD value: first digit 0 or F, or the first bit; unsigned when left out" }),
    ),
    lengthRegisters: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 125, description: "of a string: two bytes in each register" }),
    ),
    encoding: Type.Optional(oneOf(encodings, { description: "of a string; ascii when left out" })),
    group: Type.Optional(Type.String({ description: "group whose rate it has; as often as the device when left out" })),
  },
  strict,
);

const modbusKeys = {
  order: oneOf(byteOrders, { default: "ABCD", description: "order of the bytes of a value; a tag may have its own" }),
  maxRegistersPerRead: Type.Integer({ default: 125, minimum: 1, maximum: 125 }),
  maxGapRegisters: Type.Integer({
    default: 8,
    minimum: 0,
    maximum: 124,
    description: "unused registers read along between two tags rather than reading twice",
  }),
  groups: groupsSchema,
  ...profileKeys,
};
const modbusTags = Type.Array(modbusTagSchema, { minItems: 1 });

/** A device behind Modbus TCP. One unit id is one device; those of one host and port share a connection (see modbus-port.ts). */
export const modbusDeviceSchema = Type.Object(
  {
    ...commonDeviceKeys(1000),
    driver: Type.Literal("modbus-tcp"),
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ default: 502, minimum: 1, maximum: 65_535 }),
    backup: Type.Optional(
      Type.Object(
        {
          host: Type.String({ minLength: 1, maxLength: 253 }),
          port: Type.Integer({ default: 502, minimum: 1, maximum: 65_535 }),
        },
        {
          ...strict,
          description: "second address of the same device: taken in turn with the first while neither answers",
        },
      ),
    ),
    unitId: Type.Integer({ minimum: 0, maximum: 255 }),
    ...modbusKeys,
    connection: Type.Optional(
      oneOf(["shared", "own"], {
        description:
          "shared: one for all devices of this host and port, which take turns with one request at a time. own: for a device or converter " +
          "that takes several. shared when left out, own where maxReadsInFlight is above 1",
      }),
    ),
    maxReadsInFlight: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 8,
      description: "above 1 only on a connection of its own",
    }),
    tags: modbusTags,
  },
  strict,
);

/** A device that speaks Modbus RTU on a line (line-config.ts). 0 is the broadcast, 248-255 are reserved (V1.02, 2.2). */
export const modbusRtuDeviceSchema = Type.Object(
  {
    ...commonDeviceKeys(1000),
    driver: Type.Literal("modbus-rtu"),
    line: Type.String({ pattern: idPattern, description: "id of the line it is on" }),
    unitId: Type.Integer({ minimum: 1, maximum: 247 }),
    ...modbusKeys,
    tags: modbusTags,
  },
  strict,
);

export type ModbusDevice = Static<typeof modbusDeviceSchema>;
export type ModbusRtuDevice = Static<typeof modbusRtuDeviceSchema>;
/** What reading a unit needs to know of it, however it is reached. */
export type ModbusUnit = Omit<ModbusRtuDevice, "driver" | "line">;
export type ModbusTag = ModbusUnit["tags"][number];

function bitFaults(tag: ModbusTag, check: Check): void {
  const inRegister = tag.type === "bool" && !isBitTable(tag);
  check(!isBitTable(tag) || tag.type === "bool", "/type", `"bool" in table ${tag.table}`, 'write "bool"');
  check(inRegister || tag.bit === undefined, "/bit", 'no bit, unless a "bool" in a register', 'remove "bit"');
  check(!inRegister || tag.bit !== undefined, "/bit", "bit 0-15 of the register that holds the bool", 'add "bit"');
}

/** What only a BCD value or only a string has. */
function formFaults(tag: ModbusTag, check: Check): void {
  const { type, sign, lengthRegisters, encoding, order = "ABCD" } = tag;
  const isText = type === "string";
  check(sign === undefined || isBcd(type), "/sign", "no sign, unless of a BCD value", 'remove "sign"');
  check(sign === undefined || !isCounter(tag), "/sign", "no sign on a counter", "a counter counts up from 0");
  const length = "the registers that the string takes";
  check(!isText || lengthRegisters !== undefined, "/lengthRegisters", length, 'add "lengthRegisters"');
  check(isText || lengthRegisters === undefined, "/lengthRegisters", "no length, unless of a string", "remove it");
  check(isText || encoding === undefined, "/encoding", "no encoding, unless of a string", 'remove "encoding"');
  const inOrder = order === "ABCD" || order === "BADC";
  const orders = "ABCD or BADC: a text is told register by register";
  check(!isText || inOrder, "/order", orders, "BADC exchanges the two characters of each register");
}

/** The platform believes a state for three heartbeats, an hour at most. */
const longestStateMs = 1_200_000;

function tagFaults(tag: ModbusTag, device: ModbusUnit, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  bitFaults(tag, check);
  formFaults(tag, check);
  commonTagFaults(tag, device, check);
  const width = widthOf(tag);
  const fits = tag.address + width <= 65_536;
  check(fits, "/address", `at most ${65_536 - width} for ${tag.type}`, "its registers must end by address 65535");
  const readable = isBitTable(tag) || width <= device.maxRegistersPerRead;
  const [path, what] = tag.type === "string" ? ["/lengthRegisters", "length"] : ["/type", "type"];
  const least = `a ${what} of at most ${device.maxRegistersPerRead} registers (maxRegistersPerRead)`;
  check(readable, path, least, "raise maxRegistersPerRead: a value is never read in two halves");
  const intervalMs = intervalOf(tag, device);
  const seen = tag.role !== "machine.state" || intervalMs <= longestStateMs;
  const often = `a group of at most ${longestStateMs} ms for machine.state: a state is believed for an hour`;
  check(seen, "/group", often, "read it more often, or take it out of the group");
  const slower = tag.minIntervalMs === undefined || tag.minIntervalMs > intervalMs;
  const polled = `> pollIntervalMs (${intervalMs}): it is read no more often`;
  check(slower, "/minIntervalMs", polled, "raise it, or remove it");
  return faults;
}

/** A connection that is shared has one request at a time: more would be asked for in vain. Pure. */
export function modbusConnectionFaults(device: ModbusDevice, base: string): SemanticFault[] {
  if (device.connection !== "shared" || device.maxReadsInFlight === 1) return [];
  const expected = "1 on a shared connection, which has one request at a time";
  const remedy = 'write "connection: own" where the device takes several, or remove maxReadsInFlight';
  return [{ path: `${base}/maxReadsInFlight`, expected, remedy }];
}

/** The checks of one device that its schema cannot express. Pure. */
export function modbusDeviceFaults(device: ModbusUnit, base: string): SemanticFault[] {
  const faults = [...commonDeviceFaults(device, base), ...groupFaults(device, base)];
  for (const [i, tag] of device.tags.entries()) faults.push(...tagFaults(tag, device, `${base}/tags/${i}`));
  return faults;
}
