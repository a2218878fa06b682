import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { decimalOf, scaleExactly } from "@jilian/domain/decimal.ts";
import { roles } from "@jilian/domain/roles.ts";
import {
  type Check,
  type CommonDevice,
  type CommonTag,
  type DerivedTag,
  faultsBelow,
  namedFaults,
} from "./tag-config.ts";
import { inputModulus, isCounter } from "./tag-facts.ts";
import { reportFaults } from "./value-config.ts";
import { isFloatType, isIntegerType } from "./value-types.ts";

function inputFaults(input: DerivedTag["of"][number], tag: CommonTag | undefined, path: string, check: Check): void {
  check(
    tag !== undefined,
    `${path}/tag`,
    "the name of a tag of this device, as it is written there",
    "correct the name; a derived tag is none",
  );
  check(input.weight !== 0, `${path}/weight`, "not 0", "remove the entry: it would count nothing");
  if (tag === undefined) return;
  const quantity = (isIntegerType(tag.type) || isFloatType(tag.type)) && tag.enumeration === undefined;
  check(
    quantity,
    `${path}/tag`,
    "a tag that is a number",
    `take another: ${tag.name} is ${tag.enumeration ? "an enumeration" : `a ${tag.type}`}`,
  );
}

/** A counter is a sum to the last digit: of integers that count up in equal steps and start again at the same number. */
function counterFaults(derived: DerivedTag, inputs: readonly (CommonTag | undefined)[], check: Check): void {
  check(
    derived.operation === "sum",
    "/operation",
    '"sum" for a counter',
    "figures are differences of counters: they are made by the platform",
  );
  const first = inputs.find((tag) => tag !== undefined);
  for (const [i, tag] of inputs.entries()) {
    const path = `/of/${i}`;
    check(derived.of[i]?.weight === 1, `${path}/weight`, "1 in a counter", "scale the inputs instead");
    if (tag === undefined || first === undefined) continue;
    const { numerator, denominator, offset } = tag.scale;
    const finite = numerator > 0 && scaleExactly(decimalOf(1), tag.scale) !== undefined;
    const counts = isIntegerType(tag.type) && finite && offset === undefined && tag.rawRange === undefined;
    check(
      counts,
      `${path}/tag`,
      "an integer that counts up, with a positive finite factor and no offset",
      "take the register in which the device counts",
    );
    const [over, under] = [BigInt(numerator) * BigInt(first.scale.denominator), BigInt(first.scale.numerator)];
    const same = over === under * BigInt(denominator) && tag.unit === first.unit;
    check(
      same,
      `${path}/tag`,
      `scale and unit of ${first.name}: counters are added up as they count`,
      "scale all inputs alike",
    );
    check(
      inputModulus(tag) === inputModulus(first),
      `${path}/tag`,
      `the modulus of ${first.name}`,
      'write "modulusCounts" of the meters at both',
    );
    check(
      tag.unit === undefined || tag.unit === derived.unit,
      `${path}/tag`,
      `unit "${derived.unit ?? "none"}"`,
      "scale it to the unit of the sum",
    );
    const twice = tag.role === derived.role && tag.carrier === derived.carrier && tag.product === derived.product;
    check(
      !twice,
      `${path}/tag`,
      `a tag without role ${derived.role}: it would be counted twice`,
      `remove the role of ${tag.name}, or this tag`,
    );
  }
}

function unitFaults(derived: DerivedTag, inputs: readonly (CommonTag | undefined)[], check: Check): void {
  if (derived.operation === "ratio") return;
  const unit = derived.role === undefined ? derived.unit : roles[derived.role].unit;
  for (const [i, tag] of inputs.entries()) {
    const plain = derived.of[i]?.weight === 1 && tag?.unit !== undefined && unit !== undefined;
    check(!plain || tag.unit === unit, `/of/${i}/tag`, `unit "${unit}"`, 'give it a "weight" that converts it');
  }
}

function oneFaults(derived: DerivedTag, device: CommonDevice, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  const { role, operation, of } = derived;
  const inputs = of.map(({ tag }) => device.tags.find(({ name }) => name === tag));
  namedFaults(derived, device, check);
  for (const [i, input] of of.entries()) {
    inputFaults(input, inputs[i], `/of/${i}`, check);
    check(
      of.findIndex(({ tag }) => tag === input.tag) === i,
      `/of/${i}/tag`,
      "a tag named once",
      "write it once, with the weight of both",
    );
  }
  check(operation !== "ratio" || of.length === 2, "/of", "two tags for a ratio", "name the dividend, then the divisor");
  check(
    operation !== "difference" || of.length >= 2,
    "/of",
    "two tags or more for a difference",
    "name what is subtracted",
  );
  check(role !== "machine.state", "/role", "no state: a state is read, not computed", "remove the role");
  const isCounterToo = isCounter(derived);
  if (isCounterToo) counterFaults(derived, inputs, check);
  else unitFaults(derived, inputs, check);
  reportFaults(derived, device, { quantity: true, isCounter: isCounterToo }, check);
  return faults;
}

/** The checks of a device's derived tags. Pure. */
export function derivedFaults(device: CommonDevice, base: string): SemanticFault[] {
  const { derived = [], tags } = device;
  const names = [...tags, ...derived].map(({ name }) => name.toLowerCase());
  return derived.flatMap((one, i) => {
    const { faults, check } = faultsBelow(`${base}/derived/${i}`);
    const isOwn = names.indexOf(one.name.toLowerCase()) === tags.length + i;
    check(
      isOwn,
      "/name",
      "a name that no other tag of the device has (upper and lower case are the same)",
      "give each its own",
    );
    return [...faults, ...oneFaults(one, device, `${base}/derived/${i}`)];
  });
}
