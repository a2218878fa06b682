import { type Static, Type } from "typebox";
import { heartbeatOf } from "./rates.ts";
import { hasSentinels, sentinelFits } from "./sentinels.ts";
import type { Check, CommonDevice, CommonTag } from "./tag-config.ts";
import { spanOf } from "./tag-facts.ts";
import { integerBounds, isFloatType, isIntegerType } from "./value-types.ts";

/** What a value can be beside a scaled number, and how seldom it is told: keys of every protocol's tags, and their checks. */

const strict = { additionalProperties: false } as const;
const bounds = (description: string) =>
  Type.Optional(Type.Object({ min: Type.Number(), max: Type.Number() }, { ...strict, description }));

/** Values that mean "none": of a tag, or of all tags of a device that have none of their own. */
export const sentinelsSchema = Type.Optional(
  Type.Array(
    Type.Union([
      Type.Number(),
      Type.String({
        pattern: "^0x(?:[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}|[0-9A-Fa-f]{8}|[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16})$",
        description: 'bits in quotes, all digits: "0x7FFF" of 16 bits, "0x00007FFF" of 32',
      }),
    ]),
    { maxItems: 20, description: "values as read that mean none: they turn the tag bad" },
  ),
);

/** Offset of a scale: exact, hence a text where a number would not hold its digits. */
export const offsetSchema = Type.Optional(
  Type.Union([
    Type.Number(),
    Type.String({ pattern: "^[+-]?[0-9]{1,30}(?:\\.[0-9]{1,30})?$", description: "decimal added after the factor" }),
  ]),
);

export const valueKeys = {
  rawRange: bounds("values as read that stand for the ends of euRange; beyond them the value is uncertain"),
  euRange: bounds(
    "value (in the unit) at the ends of rawRange; min above max for one that falls as the raw value rises",
  ),
  sentinels: sentinelsSchema,
  enumeration: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Union([
        Type.Integer({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 }),
        Type.String({ minLength: 1, maxLength: 60 }),
      ]),
      { description: "number as read: state code, or text" },
    ),
  ),
};

/** Keys of tags and derived tags that say how seldom a change is told. */
export const reportKeys = {
  deadbandPercent: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 100,
      description: "deadband in percent of the span of euRange, or of range",
    }),
  ),
  minIntervalMs: Type.Optional(
    Type.Integer({ minimum: 10, maximum: 86_400_000, description: "not reported more often than this" }),
  ),
};

const keysSchema = Type.Object({ ...valueKeys, ...reportKeys });
export type ValueKeys = Static<typeof keysSchema>;

function isQuantity({ type, enumeration }: CommonTag): boolean {
  return (isIntegerType(type) || isFloatType(type)) && enumeration === undefined;
}

function rangeFaults(tag: CommonTag, isCounter: boolean, check: Check): void {
  const { rawRange, euRange, scale } = tag;
  check(
    scale.offset === undefined || isQuantity(tag),
    "/scale/offset",
    "an offset only on a number",
    'remove "offset"',
  );
  const none = (what: string) =>
    [`no ${what} on a counter: figures are its differences`, "publish the register as it counts"] as const;
  check(scale.offset === undefined || !isCounter, "/scale/offset", ...none("offset"));
  if (rawRange === undefined && euRange === undefined) return;
  const paired = rawRange !== undefined && euRange !== undefined;
  check(paired, rawRange === undefined ? "/rawRange" : "/euRange", "rawRange and euRange, both or neither", "add it");
  const alone = scale.numerator === 1 && scale.denominator === 1 && scale.offset === undefined;
  check(
    alone,
    "/scale",
    "scale or rawRange with euRange, not both",
    "remove one: each says how the value follows from the raw one",
  );
  check(isQuantity(tag), "/rawRange", "a raw range only on a number", 'remove "rawRange" and "euRange"');
  check(!isCounter, "/rawRange", ...none("raw range"));
  // Written so that an end that is missing, a fault of its own, is none here.
  if (rawRange !== undefined)
    check(
      !(rawRange.min >= rawRange.max),
      "/rawRange",
      "min below max",
      "exchange them; a falling value has euRange the other way round",
    );
  if (euRange !== undefined)
    check(euRange.min !== euRange.max, "/euRange", "two different ends", "take both from the transmitter's data sheet");
  if (rawRange === undefined || !isIntegerType(tag.type)) return;
  const type = integerBounds(tag.type);
  const reached = !(rawRange.min < type.min || rawRange.max > type.max);
  check(
    reached,
    "/rawRange",
    `within ${type.min} to ${type.max}, what ${tag.type} can hold`,
    "correct the range or the type",
  );
}

const notThere = 'remove it, or in quotes write all digits of the register: "0x8000" is -32768 in an int16';

function sentinelFaults(tag: CommonTag, check: Check): void {
  if (tag.sentinels === undefined) return;
  check(hasSentinels(tag.type), "/sentinels", `no sentinels on a ${tag.type}`, 'remove "sentinels"');
  if (!hasSentinels(tag.type)) return;
  for (const [i, sentinel] of tag.sentinels.entries())
    check(sentinelFits(sentinel, tag.type), `/sentinels/${i}`, `a value that ${tag.type} can have`, notThere);
}

/** Numbers among a device's sentinels that none of its tags can ever have; bits of other widths may stand in a vendor's list. */
export function deviceSentinelFaults({ sentinels = [], tags }: CommonDevice, check: Check): void {
  const heirs = tags.filter((tag) => tag.sentinels === undefined);
  for (const [i, sentinel] of sentinels.entries()) {
    const meets = typeof sentinel === "string" || heirs.some(({ type }) => sentinelFits(sentinel, type));
    check(meets, `/sentinels/${i}`, "a value that a tag without sentinels of its own can have", notThere);
  }
}

function isKey(key: string, { type }: CommonTag): boolean {
  if (!/^(?:0|-?[1-9][0-9]{0,19})$/.test(key)) return false;
  const { min, max } = integerBounds(type);
  return BigInt(key) >= min && BigInt(key) <= max;
}

function enumerationFaults(tag: CommonTag, check: Check): void {
  const { enumeration, type, scale, role } = tag;
  if (enumeration === undefined) return;
  check(
    isIntegerType(type),
    "/enumeration",
    `no enumeration on a ${type}`,
    "give the tag the type of the integer that the device counts its states with",
  );
  const entries = Object.entries(enumeration);
  check(entries.length > 0, "/enumeration", "one entry or more", "list the device's numbers, or remove it");
  const texts = entries.filter(([, code]) => typeof code === "string").length;
  const mixed = "codes, all of them whole numbers or all of them texts: a metric has one type";
  check(
    texts === 0 || texts === entries.length,
    "/enumeration",
    mixed,
    "write all of them as numbers, or all as texts",
  );
  if (isIntegerType(type)) {
    const bad = entries.map(([key]) => key).filter((key) => !isKey(key, tag));
    for (const key of bad)
      check(
        false,
        `/enumeration/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`,
        `a whole number that ${type} can hold`,
        "write the number as the device gives it",
      );
  }
  check(
    role === undefined || role === "machine.state",
    "/role",
    "machine.state, or no role, on an enumeration",
    "remove the role or the enumeration",
  );
  const plain = scale.numerator === 1 && scale.denominator === 1 && scale.offset === undefined;
  check(plain, "/scale", "no scale on an enumeration", 'remove "scale"');
  check(tag.deadband === 0, "/deadband", "no deadband on an enumeration", 'remove "deadband"');
  check(
    tag.range === undefined,
    "/range",
    "no range on an enumeration",
    "a number that is not listed turns the tag bad",
  );
}

/** How seldom a change is told: the checks of tags and derived tags alike. @param quantity whether values can be compared by size */
export function reportFaults(
  tag: Pick<
    CommonTag,
    "deadband" | "deadbandPercent" | "minIntervalMs" | "heartbeatMs" | "group" | "role" | "range" | "euRange"
  >,
  device: Pick<CommonDevice, "heartbeatMs" | "pollIntervalMs" | "groups">,
  { quantity, isCounter }: { quantity: boolean; isCounter: boolean },
  check: Check,
): void {
  const { deadbandPercent, minIntervalMs } = tag;
  if (deadbandPercent !== undefined) {
    check(quantity, "/deadbandPercent", "a deadband only on a number", 'remove "deadbandPercent"');
    check(tag.deadband === 0, "/deadbandPercent", "deadband or deadbandPercent, not both", "remove one");
    check(!isCounter, "/deadbandPercent", "no percent on a counter: it has no span", 'write "deadband" in the unit');
    const span = spanOf(tag);
    const spanned = span !== undefined && span > 0;
    check(
      spanned || isCounter || !quantity,
      "/deadbandPercent",
      "a span to take the percent of",
      'add "euRange", or "range" with min and max',
    );
  }
  if (minIntervalMs === undefined) return;
  const heartbeatMs = heartbeatOf(tag, device);
  check(
    minIntervalMs <= heartbeatMs,
    "/minIntervalMs",
    `<= heartbeatMs (${heartbeatMs})`,
    "lower it, or raise the heartbeat",
  );
  const state = tag.role === "machine.state";
  check(
    !state,
    "/minIntervalMs",
    "no least interval on machine.state: a short stop counts, too",
    'remove "minIntervalMs"',
  );
}

/** The checks of a tag's value and of how seldom it is told. */
export function valueFaults(tag: CommonTag, device: CommonDevice, isCounter: boolean, check: Check): void {
  rangeFaults(tag, isCounter, check);
  sentinelFaults(tag, check);
  enumerationFaults(tag, check);
  reportFaults(tag, device, { quantity: isQuantity(tag), isCounter }, check);
}
