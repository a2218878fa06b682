import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { readGatewayConfig } from "../config.ts";
import { schemaCommand } from "./schema.ts";
import { call } from "./test-io.ts";

/** Ajv shares nothing with TypeBox's own validator. */
async function validator() {
  const { code, out } = await call(schemaCommand, []);
  expect(code).toBe(0);
  return new Ajv({ allErrors: true, strict: true, allowUnionTypes: true }).compile(JSON.parse(out));
}

const demo = join(import.meta.dirname, "../../deploy/demo/gateways");
const demos = readdirSync(demo).filter((name) => name.endsWith(".yaml"));
const text = (name: string) => readFileSync(join(demo, name), "utf8");

test.each(demos)("takes %s as the gateway does", async (name) => {
  const validate = await validator();
  expect(validate(parse(text(name))), JSON.stringify(validate.errors)).toBe(true);
  expect(readGatewayConfig(text(name), name).ok).toBe(true);
});

test.each([
  ["a key that does not exist", (from: string) => from.replace("unitId:", "unit:")],
  ["a missing key", (from: string) => from.replace(/^group:.*$/m, "")],
  [
    "a driver that does not exist",
    (from: string) => from.replace("driver: modbus-tcp", "driver: modbus-rtu-over-pigeon"),
  ],
  ["a table that does not exist", (from: string) => from.replace("table: holding", "table: register")],
  ["an address beyond the last", (from: string) => from.replace("address: 100", "address: 65536")],
  ["a role that does not exist", (from: string) => from.replace("role: energy.import", "role: energy")],
])("refuses %s as the gateway does", async (_what, change) => {
  const wrong = change(text("gw-casting.yaml"));
  expect(wrong).not.toBe(text("gw-casting.yaml"));
  const validate = await validator();
  expect(validate(parse(wrong))).toBe(false);
  expect(readGatewayConfig(wrong, "wrong.yaml").ok).toBe(false);
});

type Part = {
  description?: string;
  properties?: Record<string, Part>;
  items?: Part;
  anyOf?: Part[];
  required?: string[];
};

/** Paths of the keys below that say nothing of themselves. */
function unexplained(part: Part, path = ""): string[] {
  const own = Object.entries(part.properties ?? {}).flatMap(([key, one]) => [
    ...(one.description ? [] : [`${path}/${key}`]),
    ...unexplained(one, `${path}/${key}`),
  ]);
  return [...own, ...[part.items, ...(part.anyOf ?? [])].flatMap((one) => (one ? unexplained(one, path) : []))];
}

test("names itself, explains every key, and asks for none that has a default", async () => {
  const { out } = await call(schemaCommand, []);
  const schema = JSON.parse(out) as Part & { $schema: string; title: string };
  expect(schema).toMatchObject({ $schema: "http://json-schema.org/draft-07/schema#", title: "jilian-gateway" });
  expect(unexplained(schema)).toEqual([]);
  expect(schema.required).toEqual(["group", "node", "broker", "outbox", "devices"]);
  expect(schema.properties?.broker?.required).toEqual(["host"]);
});

test("wrong arguments", async () => {
  expect(await call(schemaCommand, ["gateway.yaml"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("unknown"),
  });
  expect(await call(schemaCommand, ["--help"])).toMatchObject({ code: 0, out: expect.stringContaining("$schema=") });
});
