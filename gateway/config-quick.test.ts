import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { quickFit, unfit } from "@jilian/domain/quick-check.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { gatewaySchema, readGatewayConfig } from "./config.ts";
import { loadProfiles } from "./profile-files.ts";

/** A configuration is checked the short way, and where that finds a fault the long way: both say the same of every configuration. */
const texts = globSync("**/*.yaml", { cwd: join(import.meta.dirname, "cases") })
  .filter((name) => name.endsWith("config.yaml"))
  .sort()
  .map((name) => readFileSync(join(import.meta.dirname, "cases", name), "utf8").replaceAll(/\bPORT\b/g, "502"));
const head = "group: factory-1\nnode: gateway-1\nbroker: { host: h }\noutbox: { path: o }\n";
const profiles = loadProfiles();
const env = { JILIAN__broker__username: "u" };
const read = (text: string) => readGatewayConfig(text, "g.yaml", env, profiles);
/** What may be an alias is checked the long way. */
const readLong = (text: string) => read(`${text}\n# *x`);

type Section = Record<string, unknown>;
type Place = { in: Section; key: string };

function placesIn(value: unknown): Place[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [{ in: value as Section, key }, ...placesIn(inner)]);
}

const values = [
  null,
  "",
  "x",
  "0x7FFF",
  0,
  -1,
  1,
  3,
  9,
  1000,
  1e9,
  1.5,
  true,
  false,
  [],
  {},
  ["x"],
  [1],
  { min: 3, max: 1 },
];
values.push(
  "int16",
  "uint32",
  "string",
  "bool",
  "holding",
  "coil",
  "machine.state",
  "energy.import",
  "kWh",
  "opcua",
  "dlt645",
  "modbus-rtu",
);
const keys = [
  "scale",
  "role",
  "unit",
  "bit",
  "deadband",
  "sentinels",
  "heartbeatMs",
  "group",
  "range",
  "enumeration",
  "tsg",
  "order",
  "profile",
];
const change = fc.record({
  at: fc.nat(10_000),
  how: fc.constantFrom("put", "put", "remove", "add", "double"),
  value: fc.constantFrom<unknown>(...values),
  key: fc.constantFrom(...keys),
});
const drawn = fc
  .record({ text: fc.constantFrom(...texts), changes: fc.array(change, { maxLength: 3 }) })
  .map(({ text, changes }) => {
    const config = parse(`${text.includes("outbox:") ? "" : head}${text}`) as Section;
    for (const { at, how, value, key } of changes) {
      const places = placesIn(config);
      const place = places[at % places.length] as Place;
      const inner = place.in[place.key];
      if (Array.isArray(place.in) ? how === "remove" : how === "double") continue;
      if (how === "remove") delete place.in[place.key];
      else if (how === "double") (place.in as unknown as unknown[]).push(inner);
      else if (how === "put") place.in[place.key] = value;
      else if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) (inner as Section)[key] = value;
    }
    return stringify(config, { aliasDuplicateObjects: false });
  });

describe("both ways of a check", () => {
  it("take nearly every configuration without a fault the short way", () => {
    const whole = texts.map((text) => `${text.includes("outbox:") ? "" : head}${text}`);
    const right = whole.filter((text) => !text.includes("profile:") && read(text).ok);
    const quick = right.filter((text) => quickFit(gatewaySchema, parse(text)) !== unfit);
    expect(right.length).toBeGreaterThan(20);
    expect(quick.length).toBeGreaterThan(0.9 * right.length);
  });

  it("say the same of drawn configurations, right and wrong ones", () => {
    let [right, wrong] = [0, 0];
    const property = fc.property(drawn, (text) => {
      const found = read(text);
      expect(found).toStrictEqual(readLong(text));
      if (found.ok) right += 1;
      else wrong += 1;
    });
    fc.assert(property, { numRuns: 50 });
    expect(right).toBeGreaterThan(5);
    expect(wrong).toBeGreaterThan(8);
  });
});
