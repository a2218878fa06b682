import type { SemanticFault } from "@jilian/domain/check-config.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { type Ratio, ratioOf } from "@jilian/domain/meter-ratio.ts";
import type { Profile, Profiles, ProfileTag } from "./profile-schema.ts";

/** Drivers whose devices a profile can describe. */
const modbusDrivers = ["modbus-tcp", "modbus-rtu"] as const;

type Section = Record<string, unknown>;
type Ratios = { readonly ct: Ratio | undefined; readonly pt: Ratio | undefined };

const isSection = (value: unknown): value is Section =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
/** As names of tags are told apart (tag-config.ts). */
const keyOf = (name: unknown): string => textOf(name).toLowerCase();

const needs = (tag: ProfileTag, which: "ct" | "pt"): boolean => tag.ratio === which || tag.ratio === "ct-pt";

/** A ratio of a device; a fault where it is none, is missing, or the meter's registers have it already. */
function readRatio(
  device: Section,
  which: "ct" | "pt",
  tags: readonly ProfileTag[],
  fault: (key: string, expected: string, remedy: string) => void,
): Ratio | undefined {
  const key = `${which}Ratio`;
  const given = device[key];
  const isNeeded = tags.some((tag) => needs(tag, which));
  if (given === undefined) {
    const remedy = `add "${key}" as on the transformers' plate, such as ${which === "ct" ? "400/5" : "10000/100"}; 1 where there are none`;
    if (isNeeded) fault(key, "the ratio of the transformers: the meter's registers do not have it", remedy);
    return undefined;
  }
  if (!isNeeded) {
    fault(key, "no ratio: no tag of the profile is multiplied by it", `remove "${key}"`);
    return undefined;
  }
  // What is neither a text nor a number is a fault of the schema.
  if (typeof given !== "string" && typeof given !== "number") return undefined;
  try {
    return ratioOf(given);
  } catch (thrown) {
    fault(key, `a ratio such as 400/5 or 80 (${messageOf(thrown)})`, "write it as on the transformers' plate");
    return undefined;
  }
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

/** The scale of a tag with the ratios, exact; undefined where its whole numbers leave what a configuration can hold. */
function scaleWith(tag: ProfileTag, { ct, pt }: Ratios): ProfileTag["scale"] | undefined {
  let numerator = BigInt(tag.scale.numerator);
  let denominator = BigInt(tag.scale.denominator);
  for (const ratio of [needs(tag, "ct") ? ct : undefined, needs(tag, "pt") ? pt : undefined]) {
    numerator *= ratio?.numerator ?? 1n;
    denominator *= ratio?.denominator ?? 1n;
  }
  const common = gcd(numerator, denominator);
  const scale = { ...tag.scale, numerator: Number(numerator / common), denominator: Number(denominator / common) };
  return Number.isSafeInteger(scale.numerator) && Number.isSafeInteger(scale.denominator) ? scale : undefined;
}

/** The tags of the profile that the device keeps, its own in their places, then those that it adds. */
function mergedTags(
  given: readonly ProfileTag[],
  device: Section,
  ratios: Ratios,
  outside: (tag: string) => void,
): unknown[] {
  const own = Array.isArray(device.tags) ? (device.tags as unknown[]) : [];
  const ownBy = new Map(own.filter(isSection).map((tag) => [keyOf(tag.name), tag]));
  const merged = given.map((tag) => {
    const replaced = ownBy.get(keyOf(tag.name));
    if (replaced) return replaced;
    const { ratio: _, ...plain } = tag;
    const scale = scaleWith(tag, ratios);
    if (!scale) outside(tag.name);
    return { ...plain, scale: scale ?? tag.scale };
  });
  const names = new Set(given.map(({ name }) => keyOf(name)));
  return [...merged, ...own.filter((tag) => !isSection(tag) || !names.has(keyOf(tag.name)))];
}

function applied(device: Section, name: string, profile: Profile, base: string, faults: SemanticFault[]): Section {
  const of = `profile ${name}, device ${textOf(device.id)}`;
  const fault = (key: string, expected: string, remedy: string) =>
    void faults.push({ path: `${base}/${key}`, expected: `${expected} (${of})`, remedy });
  if (!(modbusDrivers as readonly unknown[]).includes(device.driver)) {
    fault(
      "driver",
      `one of ${modbusDrivers.join(", ")}`,
      "choose a driver that the profile is for, or another profile",
    );
  }
  const without = Array.isArray(device.without) ? (device.without as unknown[]) : [];
  for (const [i, left] of without.entries()) {
    if (typeof left !== "string" || profile.tags.some((tag) => keyOf(tag.name) === keyOf(left))) continue;
    const expected = `a tag of the profile: ${profile.tags.map((tag) => tag.name).join(", ")}`;
    fault(`without/${i}`, expected, "correct the name, or remove it");
  }
  const leftOut = new Set(without.map(keyOf));
  const own = new Set((Array.isArray(device.tags) ? device.tags : []).map((tag) => keyOf(isSection(tag) && tag.name)));
  const kept = profile.tags.filter((tag) => !leftOut.has(keyOf(tag.name)));
  const scaled = kept.filter((tag) => !own.has(keyOf(tag.name)));
  const ratios = { ct: readRatio(device, "ct", scaled, fault), pt: readRatio(device, "pt", scaled, fault) };
  const tags = mergedTags(kept, device, ratios, (tag) =>
    fault("ctRatio", `ratios with which the factor of tag "${tag}" can be written in whole numbers`, "round them"),
  );
  const { order, maxRegistersPerRead, maxGapRegisters } = profile;
  return { order, maxRegistersPerRead, maxGapRegisters, ...device, tags };
}

function expanded(device: unknown, base: string, profiles: Profiles, faults: SemanticFault[]): unknown {
  if (!isSection(device)) return device;
  if (device.profile === undefined) {
    for (const key of ["without", "ctRatio", "ptRatio"] as const) {
      if (device[key] === undefined) continue;
      faults.push({
        path: `${base}/${key}`,
        expected: 'only beside "profile"',
        remedy: `remove "${key}", or add "profile"`,
      });
    }
    return device;
  }
  const name = textOf(device.profile);
  const profile = profiles.get(name);
  if (profile) return applied(device, name, profile, base, faults);
  const expected = `one of ${[...profiles.keys()].join(", ")} (device ${textOf(device.id)})`;
  const remedy = "choose one of jilian-gateway profile list, or write the tags yourself and leave the profile out";
  faults.push({ path: `${base}/profile`, expected, remedy });
  return device;
}

/**
 * Puts the content of profiles in the place of their names: tags, byte order and limits of a device that names one. Its own keys come
 * first; a tag of its own takes the place of the profile's tag of the same name, `without` leaves tags out, and ratios of transformers
 * are multiplied into the factors exactly. Pure; what comes of it is checked like a device that was written out.
 */
export function expandProfiles(value: unknown, profiles: Profiles): { value: unknown; faults: SemanticFault[] } {
  const faults: SemanticFault[] = [];
  if (!isSection(value) || !Array.isArray(value.devices)) return { value, faults };
  const devices = value.devices.map((device, i) => expanded(device, `/devices/${i}`, profiles, faults));
  return { value: { ...value, devices }, faults };
}

/** Faults in tags say which profile gave them: they are not in the file. */
export function namingProfile(
  faults: readonly SemanticFault[],
  device: { id: string; profile?: string; tags: readonly { name: string }[] },
  base: string,
): SemanticFault[] {
  const { profile, id, tags } = device;
  if (profile === undefined) return [...faults];
  return faults.map((fault) => {
    const [, index] = fault.path.startsWith(`${base}/tags/`) ? (/\/tags\/(\d+)/.exec(fault.path) ?? []) : [];
    if (index === undefined) return fault;
    const of = `tag "${tags[Number(index)]?.name}", profile ${profile}, device ${id}`;
    return { ...fault, expected: `${fault.expected} (${of})` };
  });
}
