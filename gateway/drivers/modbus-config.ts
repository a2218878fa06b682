import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { duplicates } from "@jilian/domain/check-config.ts";
import { DataType } from "@jilian/domain/datatypes.ts";
import { scaleExactly } from "@jilian/domain/decimal.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { carriers, counterRoles, type Role, roleNames, roles } from "@jilian/domain/roles.ts";
import { type Static, Type } from "typebox";

const strict = { additionalProperties: false } as const;

/** What a register value can be: how many 16-bit registers it takes, and its Sparkplug type before scaling. */
export const registerTypes = {
  int16: { registers: 1, bits: 16, datatype: DataType.Int16 },
  uint16: { registers: 1, bits: 16, datatype: DataType.UInt16 },
  int32: { registers: 2, bits: 32, datatype: DataType.Int32 },
  uint32: { registers: 2, bits: 32, datatype: DataType.UInt32 },
  int64: { registers: 4, bits: 64, datatype: DataType.Int64 },
  uint64: { registers: 4, bits: 64, datatype: DataType.UInt64 },
  float32: { registers: 2, bits: 32, datatype: DataType.Float },
  float64: { registers: 4, bits: 64, datatype: DataType.Double },
  bool: { registers: 1, bits: 1, datatype: DataType.Boolean },
} as const;
export type RegisterType = keyof typeof registerTypes;
const typeNames = Object.keys(registerTypes) as RegisterType[];

export const byteOrders = ["ABCD", "CDAB", "BADC", "DCBA"] as const;
export type ByteOrder = (typeof byteOrders)[number];

/** One of some words. The library infers no type from a union that was mapped. */
export function oneOf<T extends string>(words: readonly T[], options: Record<string, unknown> = {}) {
  const choices = words.map((word) => Type.Literal(word));
  return Type.Unsafe<T>(Type.Union(choices, options));
}

const wholeNumber = { minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER } as const;
const dayMs = 86_400_000;

const tagSchema = Type.Object(
  {
    name: Type.String({
      pattern: "^[A-Za-z0-9_](?:[A-Za-z0-9_./ -]{0,126}[A-Za-z0-9_])?$",
      description: "metric name: letters, digits, _ . / - and inner blanks",
    }),
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
    scale: Type.Object(
      {
        numerator: Type.Integer({ ...wholeNumber, default: 1 }),
        denominator: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, default: 1 }),
      },
      { ...strict, default: {}, description: "value = register x numerator / denominator" },
    ),
    unit: Type.Optional(Type.String({ minLength: 1, maxLength: 20, description: "unit of the scaled value" })),
    role: Type.Optional(oneOf(roleNames)),
    carrier: Type.Optional(oneOf(carriers)),
    product: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    deadband: Type.Number({ default: 0, minimum: 0, description: "smaller changes are not reported, in the unit" }),
    heartbeatMs: Type.Optional(Type.Integer({ minimum: 10, maximum: dayMs })),
    modulusCounts: Type.Optional(
      Type.Union([
        Type.Integer({ minimum: 2, maximum: Number.MAX_SAFE_INTEGER }),
        Type.String({ pattern: "^[1-9][0-9]{0,19}$", description: "count at which the register starts again from 0" }),
      ]),
    ),
    range: Type.Optional(
      Type.Object({ min: Type.Optional(Type.Number()), max: Type.Optional(Type.Number()) }, { ...strict }),
    ),
  },
  strict,
);

/** A device behind Modbus TCP. One unit id is one device and one connection (see modbus-connection.ts). */
export const modbusDeviceSchema = Type.Object(
  {
    id: Type.String({ pattern: idPattern, description: "lower-case id, used in topics and addresses" }),
    driver: Type.Literal("modbus-tcp"),
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ default: 502, minimum: 1, maximum: 65_535 }),
    unitId: Type.Integer({ minimum: 0, maximum: 255 }),
    simulated: Type.Boolean({ default: false, description: "true when a simulator stands in for the plant" }),
    pollIntervalMs: Type.Integer({ default: 1000, minimum: 10, maximum: dayMs }),
    heartbeatMs: Type.Integer({ default: 10_000, minimum: 10, maximum: dayMs }),
    timeoutMs: Type.Integer({
      default: 1000,
      minimum: 10,
      maximum: 60_000,
      description: "of a connect and of each read",
    }),
    order: oneOf(byteOrders, { default: "ABCD", description: "order of the bytes of a value; a tag may have its own" }),
    maxRegistersPerRead: Type.Integer({ default: 125, minimum: 1, maximum: 125 }),
    maxGapRegisters: Type.Integer({
      default: 8,
      minimum: 0,
      maximum: 124,
      description: "unused registers read along between two tags rather than reading twice",
    }),
    maxReadsInFlight: Type.Integer({ default: 1, minimum: 1, maximum: 8 }),
    retryMinMs: Type.Integer({ default: 500, minimum: 10, maximum: dayMs }),
    retryMaxMs: Type.Integer({ default: 30_000, minimum: 10, maximum: dayMs }),
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

export function isCounter(tag: ModbusTag): boolean {
  return tag.role !== undefined && (counterRoles as readonly Role[]).includes(tag.role);
}

type Check = (holds: boolean, path: string, expected: string, remedy: string) => void;

function collector(base: string): { faults: SemanticFault[]; check: Check } {
  const faults: SemanticFault[] = [];
  const check: Check = (holds, path, expected, remedy) => {
    if (!holds) faults.push({ path: `${base}${path}`, expected, remedy });
  };
  return { faults, check };
}

/** Greatest number of counts before a register of this type starts again. */
function greatestModulus(type: RegisterType): bigint {
  return 1n << BigInt(type.startsWith("u") ? registerTypes[type].bits : registerTypes[type].bits - 1);
}

function boolFaults(tag: ModbusTag, check: Check): void {
  const inRegister = tag.type === "bool" && !isBitTable(tag);
  check(!isBitTable(tag) || tag.type === "bool", "/type", `"bool" in table ${tag.table}`, 'write "bool"');
  check(inRegister || tag.bit === undefined, "/bit", 'no bit, unless a "bool" in a register', 'remove "bit"');
  check(!inRegister || tag.bit !== undefined, "/bit", "bit 0-15 of the register that holds the bool", 'add "bit"');
  if (tag.type !== "bool") return;
  const { numerator, denominator } = tag.scale;
  check(numerator === 1 && denominator === 1, "/scale", "no scale on a bool", 'remove "scale"');
  check(tag.deadband === 0, "/deadband", "no deadband on a bool", 'remove "deadband"');
  check(tag.range === undefined, "/range", "no range on a bool", 'remove "range"');
}

function counterFaults(tag: ModbusTag, check: Check): void {
  const isInteger = tag.type.includes("int");
  if (tag.modulusCounts !== undefined) {
    check(
      isCounter(tag),
      "/modulusCounts",
      "a modulus only with a counter role",
      'remove it or give the tag its "role"',
    );
    const fits = isInteger && BigInt(tag.modulusCounts) <= greatestModulus(tag.type);
    const bound = isInteger
      ? `at most ${greatestModulus(tag.type)} for ${tag.type}`
      : "a modulus only on an integer register";
    check(fits, "/modulusCounts", bound, "take it from the meter's manual: the count after which it shows 0 again");
  }
  if (!isCounter(tag)) return;
  check(tag.type !== "bool", "/role", "a counter in an integer or float register", "correct the type or the role");
  check(
    tag.scale.numerator > 0,
    "/scale/numerator",
    "> 0 for a counter",
    "a counter counts up: write a positive factor",
  );
  const exact = scaleExactly({ digits: 1n, scale: 0 }, tag.scale) !== undefined;
  const decimal = "a factor with a finite decimal: counters are added up to the last digit";
  check(exact, "/scale", decimal, "publish whole pulses without a scale, or a denominator made of 2s and 5s");
}

function tagFaults(tag: ModbusTag, device: ModbusDevice, base: string): SemanticFault[] {
  const { faults, check } = collector(base);
  boolFaults(tag, check);
  counterFaults(tag, check);
  const width = widthOf(tag);
  const fits = tag.address + width <= 65_536;
  check(fits, "/address", `at most ${65_536 - width} for ${tag.type}`, "its registers must end by address 65535");
  const readable = isBitTable(tag) || width <= device.maxRegistersPerRead;
  const least = `a type of at most ${device.maxRegistersPerRead} registers (maxRegistersPerRead)`;
  check(readable, "/type", least, "raise maxRegistersPerRead: a value is never read in two halves");
  check(tag.scale.numerator !== 0, "/scale/numerator", "not 0", "write the factor, or leave the scale out");
  if (tag.role !== undefined) {
    const { unit } = roles[tag.role];
    check(tag.unit === unit, "/unit", `"${unit}", the unit of role ${tag.role}`, `scale the tag to ${unit}`);
  }
  const heartbeatMs = tag.heartbeatMs ?? device.heartbeatMs;
  check(
    heartbeatMs >= device.pollIntervalMs,
    "/heartbeatMs",
    `>= pollIntervalMs (${device.pollIntervalMs})`,
    "raise it",
  );
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = tag.range ?? {};
  check(min <= max, "/range", "min not above max", "exchange them");
  return faults;
}

/** The checks of one device that its schema cannot express. Pure. */
export function modbusDeviceFaults(device: ModbusDevice, base: string): SemanticFault[] {
  const { faults, check } = collector(base);
  const { pollIntervalMs, retryMinMs, retryMaxMs } = device;
  check(device.heartbeatMs >= pollIntervalMs, "/heartbeatMs", `>= pollIntervalMs (${pollIntervalMs})`, "raise it");
  check(retryMinMs <= retryMaxMs, "/retryMinMs", `<= retryMaxMs (${retryMaxMs})`, "exchange them");
  // Names that differ only by case are one file name, one column or one URL somewhere downstream.
  const names = device.tags.map((tag) => tag.name.toLowerCase());
  faults.push(...duplicates(`${base}/tags`, names, "tag name (upper and lower case are the same)", "name"));
  for (const [i, tag] of device.tags.entries()) faults.push(...tagFaults(tag, device, `${base}/tags/${i}`));
  return faults;
}
