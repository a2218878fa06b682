import { parseDecimal } from "@jilian/domain/decimal.ts";
import { isRole, type Role, roleNames, roles } from "@jilian/domain/roles.ts";
import { type ByteOrder, byteOrders, type ModbusTag } from "../drivers/modbus-config.ts";
import { type RegisterType, registerTypes } from "../drivers/modbus-facts.ts";

/** How the words of a tag list are read. Each gives undefined for what it does not understand. Pure. */

type Table = ModbusTag["table"];

const plain = (text: string): string =>
  text
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[\s_-]/g, "");

const tableWords: Readonly<Record<Table, readonly string[]>> = {
  holding: [
    "holding",
    "holdingregister",
    "holdingregisters",
    "保持寄存器",
    "保持",
    "3",
    "03",
    "fc3",
    "fc03",
    "4x",
    "4区",
    "hr",
  ],
  input: ["input", "inputregister", "inputregisters", "输入寄存器", "4", "04", "fc4", "fc04", "3x", "3区", "ir"],
  coil: ["coil", "coils", "线圈", "线圈状态", "1", "01", "fc1", "fc01", "0x", "0区"],
  discrete: [
    "discrete",
    "discreteinput",
    "discreteinputs",
    "离散输入",
    "离散量输入",
    "输入状态",
    "2",
    "02",
    "fc2",
    "fc02",
    "1x",
    "1区",
  ],
};

const tableOf = new Map(
  Object.entries(tableWords).flatMap(([table, words]) => words.map((word) => [word, table as Table] as const)),
);

/** A table by its name or the function code that reads it. */
export function readTable(text: string): Table | undefined {
  const word = plain(text);
  const [, code = "", name = ""] = /^(0?[1-4])(\D.*)$/.exec(word) ?? [];
  // "03 保持寄存器", "3-holding": only where the code and the name say the same.
  const both = tableOf.get(code) === tableOf.get(name) ? tableOf.get(name) : undefined;
  return tableOf.get(word) ?? both;
}

const typeWords: Readonly<Partial<Record<RegisterType, readonly string[]>>> = {
  int16: ["int", "short", "s16", "i16", "有符号16位", "16位有符号"],
  uint16: ["uint", "word", "ushort", "u16", "无符号16位", "16位无符号"],
  int32: ["dint", "long", "s32", "i32", "有符号32位", "32位有符号"],
  uint32: ["udint", "dword", "ulong", "u32", "无符号32位", "32位无符号"],
  int64: ["lint", "s64", "i64", "有符号64位", "64位有符号"],
  uint64: ["ulint", "lword", "u64", "无符号64位", "64位无符号"],
  float32: ["float", "real", "single", "f32", "浮点", "浮点数", "单精度", "单精度浮点", "32位浮点"],
  float64: ["double", "lreal", "f64", "双精度", "双精度浮点", "64位浮点"],
  bool: ["boolean", "bit", "布尔", "开关量", "位"],
};

const typeOf = new Map<string, RegisterType>([
  ...(Object.keys(registerTypes) as RegisterType[]).map((type) => [type, type] as const),
  ...Object.entries(typeWords).flatMap(([type, words]) => words.map((word) => [word, type as RegisterType] as const)),
]);

/** A type by our name, that of IEC 61131-3, or in Chinese. */
export function readType(text: string): RegisterType | undefined {
  return typeOf.get(plain(text).replaceAll(/整数|整型|型|数$/g, "")) ?? typeOf.get(plain(text));
}

const orderWords: Readonly<Record<string, ByteOrder>> = {
  "1234": "ABCD",
  "3412": "CDAB",
  "2143": "BADC",
  "4321": "DCBA",
  AB: "ABCD",
  BA: "BADC",
  ABCDEFGH: "ABCD",
  GHEFCDAB: "CDAB",
  BADCFEHG: "BADC",
  HGFEDCBA: "DCBA",
  大端: "ABCD",
  小端: "DCBA",
  BIGENDIAN: "ABCD",
  LITTLEENDIAN: "DCBA",
};

export function readOrder(text: string): ByteOrder | undefined {
  const word = plain(text).toUpperCase();
  const own = byteOrders.find((order) => order === word);
  return own ?? (Object.hasOwn(orderWords, word) ? orderWords[word] : undefined);
}

export type Factor = { numerator: number; denominator: number };

function divisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : divisor(b, a % b);
}

/** A factor as it is written, exactly: `0.1` is 1/10, `1/3` stays so, `×10`, `1e-3`. Zero is none. */
export function readFactor(text: string): Factor | undefined {
  const word = text
    .normalize("NFKC")
    .replaceAll(/\s/g, "")
    .replace(/^[x×*]/i, "");
  const number = "\\d{1,15}(?:\\.\\d{1,15})?";
  const [, top = "", below = "1"] =
    new RegExp(`^(-?${number}(?:e[+-]?\\d{1,2})?)(?:/(${number}))?$`, "i").exec(word) ?? [];
  if (top === "") return undefined;
  const up = parseDecimal(top.toLowerCase());
  const down = parseDecimal(below);
  if (up.digits === 0n || down.digits === 0n) return undefined;
  const numerator = up.digits * 10n ** BigInt(Math.max(0, down.scale - up.scale));
  const denominator = down.digits * 10n ** BigInt(Math.max(0, up.scale - down.scale));
  const common = divisor(numerator < 0n ? -numerator : numerator, denominator);
  const factor = { numerator: Number(numerator / common), denominator: Number(denominator / common) };
  return Number.isSafeInteger(factor.numerator) && Number.isSafeInteger(factor.denominator) ? factor : undefined;
}

const unitWords: Readonly<Record<string, string>> = {
  "℃": "°C",
  kwh: "kWh",
  kw·h: "kWh",
  "kw.h": "kWh",
  kw: "kW",
  "m³": "m3",
  立方米: "m3",
  度: "kWh",
  个: "pcs",
  件: "pcs",
  吨: "t",
};

/** A unit in the spelling that roles have. */
export function readUnit(text: string): string {
  const word = text.toLowerCase().replaceAll(/\s/g, "");
  return Object.hasOwn(unitWords, word) ? (unitWords[word] as string) : text;
}

const roleOf = new Map<string, Role>(
  roleNames.flatMap((role) =>
    [role, roles[role].zh, roles[role].en.toLowerCase()].map((word) => [word, role] as const),
  ),
);

/** A role by its name, or as it is called in Chinese or English. */
export function readRole(text: string): Role | undefined {
  return isRole(text) ? text : roleOf.get(text.toLowerCase());
}

export type Place = {
  readonly table?: Table;
  readonly address: number;
  readonly bit?: number;
  readonly from?: "manual" | "hexadecimal";
};

const manualTables: Readonly<Record<string, Table>> = { "0": "coil", "1": "discrete", "3": "input", "4": "holding" };

/**
 * An address: a number from 0 as on the wire; hexadecimal as `0x64` or `64H`; or as manuals write it, counted from 1 behind the number
 * of its table (`40001`, `400001`, `4x0001`: MODBUS Application Protocol V1.1b3, 4.4 and its predecessors). `.5` behind it is a bit.
 * @param table what the row says of it: a plain number of five digits is then a manual's only where it names the same table
 * @param asManual whether such numbers are taken for a manual's where the row says the table itself
 */
export function readPlace(text: string, table: Table | undefined, asManual: boolean): Place | undefined {
  const [, body = "", bitText] = /^([0-9a-fxh]+)(?:\.(\d{1,2}))?$/i.exec(text.trim()) ?? [];
  const bit = bitText === undefined ? {} : { bit: Number(bitText) };
  const hex = /^0x([0-9a-f]{1,4})$/i.exec(body) ?? /^([0-9a-f]{1,5})h$/i.exec(body);
  if (hex) return { address: Number.parseInt(hex[1] as string, 16), from: "hexadecimal", ...bit };
  const marked = /^([0134])x(\d{1,5})$/i.exec(body);
  const [, digit = "", rest = ""] = marked ?? /^([0134])(\d{4,5})$/.exec(body) ?? [];
  const named = manualTables[digit];
  const counted = Number(rest);
  const isManual =
    named !== undefined && counted > 0 && (marked !== null || table === undefined || (asManual && named === table));
  if (isManual) return { table: named, address: counted - 1, from: "manual", ...bit };
  if (!/^\d{1,5}$/.test(body)) return undefined;
  return { address: Number(body), ...bit };
}
