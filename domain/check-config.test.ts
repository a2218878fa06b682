import { Type } from "typebox";
import { describe, expect, it } from "vitest";
import { checkConfig, configError, duplicates, formatFaults } from "./check-config.ts";
import { idPattern } from "./identity.ts";

const strict = { additionalProperties: false } as const;
const schema = Type.Object(
  {
    broker: Type.Object({ host: Type.String(), password: Type.String({ minLength: 8 }) }, strict),
    pollMs: Type.Integer({ default: 1000, minimum: 100, maximum: 60_000, description: "time between reads" }),
    mode: Type.Optional(Type.Union([Type.Literal("rtu"), Type.Literal("tcp")])),
    devices: Type.Array(
      Type.Object(
        { id: Type.String({ pattern: "^[a-z]+$" }), scale: Type.Optional(Type.Number({ exclusiveMinimum: 0 })) },
        strict,
      ),
      { minItems: 1 },
    ),
  },
  strict,
);
const good = "broker: { host: h, password: longenough }\ndevices:\n  - id: a\n";

function faultsOf(text: string) {
  const checked = checkConfig(schema, text, "g.yaml", (value) =>
    duplicates(
      "/devices",
      value.devices.map((d) => d.id),
      "device id",
    ),
  );
  return checked.ok ? [] : checked.faults;
}

describe("a good file", () => {
  it("is given back with its defaults", () => {
    const checked = checkConfig(schema, good, "g.yaml");
    expect(checked).toEqual({
      ok: true,
      value: { broker: { host: "h", password: "longenough" }, pollMs: 1000, devices: [{ id: "a" }] },
    });
  });
});

describe("a bad file", () => {
  it("has all of its faults told at once, each at its line, in the order of the file", () => {
    const text = `broker:
  host: 5
  passwrd: x
pollMs: 99
mode: ascii
devices:
  - id: A
    scale: 0
  - scale: 1
    unit: kW
`;
    const found = faultsOf(text).map((f) => `${f.line} ${f.path} ${f.found} | ${f.expected} | ${f.remedy}`);
    expect(found).toEqual([
      '1 /broker/password (not shown) | string length >= 8 | add "password"',
      "2 /broker/host 5 | string | change the value to what is allowed",
      '3 /broker/passwrd (not shown) | one of the keys host, password | write "password" instead of "passwrd"',
      "4 /pollMs 99 | integer >= 100 <= 60000 (time between reads) | change the value to what is allowed",
      '5 /mode "ascii" | one of "rtu", "tcp" | change the value to what is allowed',
      '7 /devices/0/id "A" | string matching ^[a-z]+$ | change the value to what is allowed',
      "8 /devices/0/scale 0 | number > 0 | change the value to what is allowed",
      '9 /devices/1/id nothing | string matching ^[a-z]+$ | add "id"',
      '10 /devices/1/unit "kW" | one of the keys id, scale | remove "unit"',
    ]);
  });

  it("has more faults than the schema library's own limit of 8", () => {
    const devices = Array.from({ length: 40 }, () => "  - id: 7\n").join("");
    expect(faultsOf(`broker: { host: h, password: longenough }\ndevices:\n${devices}`)).toHaveLength(40);
  });

  it("has what a schema cannot express told beside the schema's faults", () => {
    const twice = "broker: { host: h, password: longenough }\ndevices:\n  - id: a\n  - id: b\n  - id: a\n";
    expect(faultsOf(twice)).toEqual([
      {
        file: "g.yaml",
        line: 5,
        path: "/devices/2/id",
        found: '"a"',
        expected: "a device id used once (already at /devices/0)",
        remedy: "give each its own",
      },
    ]);
    expect(faultsOf(`${twice}pollMs: 1\n`).map((f) => f.path)).toEqual(["/devices/2/id", "/pollMs"]);
  });

  it.each([
    ["", [0, 0], "nothing"],
    ["- a\n", [1], '["a"]'],
    ["just text", [1], '"just text"'],
    ["broker:\n\thost: x\n", [2], "Tabs are not allowed as indentation"],
    [`${good}pollMs: 200\npollMs: 300\n`, [5], "Map keys must be unique"],
    ["broker: { host: x\n", [2], "}"],
    ["broker: *nowhere\n", [0], "Unresolved alias (the anchor must be set before the alias): nowhere"],
    [`${good}pollMs: .nan\n`, [4], "NaN"],
  ])("%j is told, never thrown", (text, lines, found) => {
    const faults = faultsOf(text);
    expect(faults.map((f) => f.line)).toEqual(lines);
    expect(faults[0]?.found).toContain(found);
    for (const fault of faults)
      expect(Math.min(fault.expected.length, fault.remedy.length), fault.path).toBeGreaterThan(0);
  });

  it("cannot blow up by aliases of aliases", () => {
    const levels = ["x", ..."abcdefgh"].map((name, i, names) =>
      i === 0
        ? "x: &x [0,0,0,0,0,0,0,0,0]"
        : `${name}: &${name} [${Array(9)
            .fill(`*${names[i - 1]}`)
            .join(",")}]`,
    );
    const faults = faultsOf(levels.join("\n"));
    expect(faults.map((f) => f.found)).toEqual(["Excessive alias count indicates a resource exhaustion attack"]);
  });

  it("never shows a secret, neither its own fault nor one above it", () => {
    for (const text of [
      "broker: { host: h, password: hunter2 }",
      "broker: [{ host: h, password: hunter2 }]",
      "x: { token: hunter2 }",
      "broker: { host: h, pasword: hunter2 }",
      "broker: { host: h, Pass: hunter2 }",
    ]) {
      const faults = faultsOf(text);
      expect(faults.length).toBeGreaterThan(0);
      expect(formatFaults(faults)).not.toContain("hunter2");
    }
  });

  it("suggests no key where nothing is near", () => {
    expect(faultsOf(`${good}<<: 1\n`)[0]?.remedy).toBe('remove "<<"');
    expect(faultsOf(`${good}轮询: 1\n`)[0]?.remedy).toBe('remove "轮询"');
    expect(faultsOf(`${good}poll_ms: 200\n`)[0]?.remedy).toBe('write "pollMs" instead of "poll_ms"');
  });
});

describe("sections of several kinds, told apart by one key", () => {
  const port = Type.Integer({ default: 502, minimum: 1 });
  const tag = (key: string) => Type.Object({ [key]: Type.Integer(), deadband: Type.Number({ default: 0 }) }, strict);
  const modbus = Type.Object({ driver: Type.Literal("modbus"), port, tags: Type.Array(tag("address")) }, strict);
  const size = Type.Union([Type.Integer(), Type.Literal("auto")], { default: "auto" });
  const opcua = Type.Object(
    { driver: Type.Literal("opcua"), url: Type.String(), size, tags: Type.Array(tag("node")) },
    strict,
  );
  const kinds = Type.Object({ devices: Type.Array(Type.Union([modbus, opcua])) }, strict);
  const check = (text: string) => checkConfig(kinds, text, "g.yaml");

  it("get the defaults of their kind", () => {
    const text = "devices:\n- { driver: opcua, url: u, tags: [{ node: 1 }] }\n- { driver: modbus, tags: [] }\n";
    expect(check(text)).toEqual({
      ok: true,
      value: {
        devices: [
          { driver: "opcua", url: "u", size: "auto", tags: [{ node: 1, deadband: 0 }] },
          { driver: "modbus", port: 502, tags: [] },
        ],
      },
    });
  });

  it("have the faults of their kind told, and no default missed because of another fault", () => {
    const text = `devices:
- { driver: opcua, ur: u, tags: [{ node: x }, { address: 1 }] }
- { driver: modbus, port: 0, tags: [{ address: 1.5 }] }
- { driver: opcua, url: 7, size: big, tags: [] }
- { driver: profinet, url: 7 }
- { url: u }
- opcua
`;
    const checked = check(text);
    expect(checked.ok ? [] : checked.faults.map((f) => `${f.line} ${f.path} | ${f.expected} | ${f.remedy}`)).toEqual([
      '2 /devices/0/url | string | add "url"',
      '2 /devices/0/ur | one of the keys driver, url, size, tags | write "url" instead of "ur"',
      "2 /devices/0/tags/0/node | integer | change the value to what is allowed",
      '2 /devices/0/tags/1/node | integer | add "node"',
      '2 /devices/0/tags/1/address | one of the keys node, deadband | remove "address"',
      "3 /devices/1/port | integer >= 1 | change the value to what is allowed",
      "3 /devices/1/tags/0/address | integer | change the value to what is allowed",
      "4 /devices/2/url | string | change the value to what is allowed",
      '4 /devices/2/size | integer or "auto" | change the value to what is allowed',
      '5 /devices/3/driver | one of "modbus", "opcua" | change the value to what is allowed',
      '6 /devices/4/driver | one of "modbus", "opcua" | add "driver"',
      "7 /devices/5 | object or object | change the value to what is allowed",
    ]);
  });
});

it("faults become one readable error", () => {
  const faults = faultsOf(`${good}pollMs: 1\n`);
  expect(formatFaults(faults)).toBe(
    "g.yaml:4 /pollMs\n  found:    1\n  expected: integer >= 100 <= 60000 (time between reads)\n" +
      "  remedy:   change the value to what is allowed\n1 fault; nothing was started.",
  );
  expect(configError(faults)).toMatchObject({ code: "CONFIG_INVALID", message: formatFaults(faults) });
});

it("signs of a Chinese keyboard are named where the syntax is wrong, and what an id may hold is told in words", () => {
  const remedies = (text: string) => faultsOf(text).map(({ line, remedy }) => `${line} ${remedy}`);
  expect(remedies("host：h\nport: 502\n")).toEqual(['1 write ":" instead of the full-width "：" at this line']);
  expect(remedies("devices: [}　# ：\n")[0]).toBe('1 write " " instead of the full-width "　" at this line');
  expect(remedies("devices: [} # ：\n")[0]).toMatch(/^1 correct the syntax/);
  // In quotes they are right, and not what is wrong.
  expect(remedies('devices: { label: "温度（1#：进口），℃" ]\n')[0]).toMatch(/^1 correct the syntax/);
  expect(remedies("devices: { label: 'a # “b”' ]，\n")[0]).toMatch(/^1 write ","/);
  const ids = Type.Object({ id: Type.String({ pattern: idPattern, description: "of a plant" }) });
  const checked = checkConfig(ids, "id: Plant 1\n", "g.yaml");
  const expected =
    "string of small letters, digits and . _ - (these three not at its ends), at most 64 characters (of a plant)";
  expect(checked).toMatchObject({ ok: false, faults: [{ expected }] });
});

it("a wrong sign in each line takes as long again where there are as many lines again", () => {
  const usedMs = (lines: number) => {
    const text = Array.from({ length: lines }, (_, i) => `  - { name: t${i}, table: holding, type: int16 }，\n`).join(
      "",
    );
    const begun = process.threadCpuUsage().user;
    expect(faultsOf(`devices:\n${text}`)).toHaveLength(lines);
    return (process.threadCpuUsage().user - begun) / 1000;
  };
  usedMs(2000);
  const fewMs = usedMs(2000);
  expect(usedMs(8000)).toBeLessThan(7 * fewMs);
});
