import { duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { scaleExactly } from "@jilian/domain/decimal.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { carriers, roleNames, roles } from "@jilian/domain/roles.ts";
import { bdSeqMetric, nodeControl } from "@jilian/domain/topics.ts";
import { type Static, Type } from "typebox";
import { type Groups, heartbeatOf, intervalOf } from "./rates.ts";
import { isCounted, isCounter } from "./tag-facts.ts";
import {
  deviceSentinelFaults,
  offsetSchema,
  reportKeys,
  sentinelsSchema,
  valueFaults,
  valueKeys,
} from "./value-config.ts";
import { greatestModulus, isFloatType, isIntegerType, type ValueType, valueTypes } from "./value-types.ts";

/** What every device and every tag has, whatever its protocol: the schema's common part and its checks stand here once. */

export const strict = { additionalProperties: false } as const;
export const dayMs = 86_400_000;

/** One of some words. The library infers no type from a union that was mapped. */
export function oneOf<T extends string>(words: readonly T[], options: Record<string, unknown> = {}) {
  const choices = words.map((word) => Type.Literal(word));
  return Type.Unsafe<T>(Type.Union(choices, options));
}

const wholeNumber = { minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER } as const;

/** Keys that a tag and one derived from tags have in common. */
const namedKeys = {
  name: Type.String({
    pattern: "^[A-Za-z0-9_](?:[A-Za-z0-9_./ -]{0,126}[A-Za-z0-9_])?$",
    description: "metric name: letters, digits, _ . / - and inner blanks",
  }),
  unit: Type.Optional(Type.String({ minLength: 1, maxLength: 20, description: "unit of the scaled value" })),
  role: Type.Optional(oneOf(roleNames)),
  carrier: Type.Optional(oneOf(carriers)),
  product: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  deadband: Type.Number({ default: 0, minimum: 0, description: "smaller changes are not reported, in the unit" }),
  heartbeatMs: Type.Optional(Type.Integer({ minimum: 10, maximum: dayMs })),
  range: Type.Optional(Type.Object({ min: Type.Optional(Type.Number()), max: Type.Optional(Type.Number()) }, strict)),
  ...reportKeys,
};

/** Keys of a tag that do not depend on the protocol, spread into each protocol's tag schema. */
export const commonTagKeys = {
  ...namedKeys,
  scale: Type.Object(
    {
      numerator: Type.Integer({ ...wholeNumber, default: 1 }),
      denominator: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, default: 1 }),
      offset: offsetSchema,
    },
    { ...strict, default: {}, description: "value = value as read x numerator / denominator + offset" },
  ),
  modulusCounts: Type.Optional(
    Type.Union([
      Type.Integer({ minimum: 2, maximum: Number.MAX_SAFE_INTEGER }),
      Type.String({ pattern: "^[1-9][0-9]{0,19}$", description: "count at which the counter starts again from 0" }),
    ]),
  ),
  ...valueKeys,
};

/** A metric that is computed from tags of the same device. */
const derivedSchema = Type.Object(
  {
    ...namedKeys,
    operation: oneOf(["sum", "difference", "ratio"], {
      description: "difference: the first less the others; ratio: the first by the second",
    }),
    of: Type.Array(
      Type.Object(
        {
          tag: Type.String({ minLength: 1, description: "name of a tag of this device" }),
          weight: Type.Number({ default: 1, description: "its value is multiplied by this" }),
        },
        strict,
      ),
      { minItems: 1, maxItems: 100 },
    ),
  },
  strict,
);
export type DerivedTag = Static<typeof derivedSchema>;

/** Keys of a device that do not depend on the protocol. @param timeoutMs default of `timeoutMs` */
export function commonDeviceKeys(timeoutMs: number) {
  return {
    id: Type.String({ pattern: idPattern, description: "lower-case id, used in topics and addresses" }),
    simulated: Type.Boolean({ default: false, description: "true when a simulator stands in for the plant" }),
    pollIntervalMs: Type.Integer({ default: 1000, minimum: 10, maximum: dayMs }),
    heartbeatMs: Type.Integer({ default: 10_000, minimum: 10, maximum: dayMs }),
    timeoutMs: Type.Integer({
      default: timeoutMs,
      minimum: 10,
      maximum: 60_000,
      description: "of a connect and of each request",
    }),
    retryMinMs: Type.Integer({ default: 500, minimum: 10, maximum: dayMs }),
    retryMaxMs: Type.Integer({ default: 30_000, minimum: 10, maximum: dayMs }),
    sentinels: sentinelsSchema,
    derived: Type.Optional(Type.Array(derivedSchema, { minItems: 1, maxItems: 1000 })),
  };
}

const commonTagSchema = Type.Object({ ...commonTagKeys, type: oneOf(Object.keys(valueTypes) as ValueType[]) });
const commonDeviceSchema = Type.Object(commonDeviceKeys(0));

/** A tag as shaping sees it: what any protocol's tag is beside its address. */
export type CommonTag = Static<typeof commonTagSchema> & { readonly group?: string };
/** A device as collecting and shaping see it. */
export type CommonDevice = Static<typeof commonDeviceSchema> & {
  readonly tags: readonly CommonTag[];
  readonly groups?: Groups;
};

export type Check = (holds: boolean, path: string, expected: string, remedy: string) => void;

/** Faults below a path, each noted by a check that did not hold. */
export function faultsBelow(base: string): { faults: SemanticFault[]; check: Check } {
  const faults: SemanticFault[] = [];
  const check: Check = (holds, path, expected, remedy) => {
    if (!holds) faults.push({ path: `${base}${path}`, expected, remedy });
  };
  return { faults, check };
}

/** A bool, a text or a time is no quantity: nothing to scale, to compare or to bound; a text or a time has no role either. */
function plainFaults(tag: CommonTag, check: Check): void {
  const { type } = tag;
  if (isIntegerType(type) || isFloatType(type)) return;
  const { numerator, denominator } = tag.scale;
  check(numerator === 1 && denominator === 1, "/scale", `no scale on a ${type}`, 'remove "scale"');
  check(tag.deadband === 0, "/deadband", `no deadband on a ${type}`, 'remove "deadband"');
  check(tag.range === undefined, "/range", `no range on a ${type}`, 'remove "range"');
  const plays = type === "bool" || tag.role === undefined;
  check(plays, "/role", "a role only on a number or a bool", "correct the type or the role");
}

function counterFaults(tag: CommonTag, device: CommonDevice, check: Check): void {
  const { type, scale } = tag;
  const isInteger = isIntegerType(type);
  if (tag.modulusCounts !== undefined) {
    const only = "a modulus only with a counter role";
    check(isCounter(tag) || isCounted(tag, device), "/modulusCounts", only, 'remove it or give the tag its "role"');
    const fits = isInteger && BigInt(tag.modulusCounts) <= greatestModulus(type);
    const bound = isInteger ? `at most ${greatestModulus(type)} for ${type}` : "a modulus only on an integer";
    check(fits, "/modulusCounts", bound, "take it from the meter's manual: the count after which it shows 0 again");
  }
  if (!isCounter(tag)) return;
  const counts = type !== "bool";
  check(counts, "/role", "a counter in an integer or float", "correct the type or the role");
  check(scale.numerator > 0, "/scale/numerator", "> 0 for a counter", "a counter counts up: write a positive factor");
  const exact = scaleExactly({ digits: 1n, scale: 0 }, scale) !== undefined;
  const decimal = "a factor with a finite decimal: counters are added up to the last digit";
  check(exact, "/scale", decimal, "publish whole pulses without a scale, or a denominator made of 2s and 5s");
}

/** The checks that tags and derived tags have in common: name, unit of the role, heartbeat, range. */
export function namedFaults(tag: CommonTag | DerivedTag, device: CommonDevice, check: Check): void {
  if (tag.role !== undefined) {
    const { unit } = roles[tag.role];
    check(tag.unit === unit, "/unit", `"${unit}", the unit of role ${tag.role}`, `scale the tag to ${unit}`);
  }
  const intervalMs = intervalOf(tag, device);
  const often = `>= pollIntervalMs (${intervalMs})`;
  check(heartbeatOf(tag, device) >= intervalMs, "/heartbeatMs", often, "raise it");
  const name = tag.name.toLowerCase();
  const own = 'a name that does not begin with "Jilian/": the gateway\'s own metrics do';
  check(!name.startsWith("jilian/"), "/name", own, "rename it");
  const isProtocol = name === bdSeqMetric.toLowerCase() || name.startsWith(nodeControl.toLowerCase());
  const protocol = `a name that is not "${bdSeqMetric}" and does not begin with "${nodeControl}": Sparkplug's own metrics`;
  check(!isProtocol, "/name", protocol, "rename it: hosts do not take such a metric for a reading");
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = tag.range ?? {};
  check(min <= max, "/range", "min not above max", "exchange them");
}

/** The checks of a tag that hold for every protocol. */
export function commonTagFaults(tag: CommonTag, device: CommonDevice, check: Check): void {
  plainFaults(tag, check);
  counterFaults(tag, device, check);
  check(tag.scale.numerator !== 0, "/scale/numerator", "not 0", "write the factor, or leave the scale out");
  namedFaults(tag, device, check);
  valueFaults(tag, device, isCounter(tag), check);
}

/** The checks of a device that hold for every protocol. */
export function commonDeviceFaults(device: CommonDevice, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  const { pollIntervalMs, retryMinMs, retryMaxMs } = device;
  check(device.heartbeatMs >= pollIntervalMs, "/heartbeatMs", `>= pollIntervalMs (${pollIntervalMs})`, "raise it");
  check(retryMinMs <= retryMaxMs, "/retryMinMs", `<= retryMaxMs (${retryMaxMs})`, "exchange them");
  deviceSentinelFaults(device, check);
  // Names that differ only by case are one file name, one column or one URL somewhere downstream.
  const names = device.tags.map((tag) => tag.name.toLowerCase());
  faults.push(...duplicates(`${base}/tags`, names, "tag name (upper and lower case are the same)", "name"));
  return faults;
}
