import { Status } from "@jilian/domain/quality.ts";
import { afterEach, describe, expect, test } from "vitest";
import { startScriptedServer } from "./cases/scripted-server.ts";
import { readGatewayConfig } from "./config.ts";
import type { ModbusDevice } from "./drivers/modbus-config.ts";
import { type BinaryType, decodeRegisters } from "./drivers/modbus-decode.ts";
import { planReads } from "./drivers/modbus-plan.ts";
import { createPorts } from "./drivers/modbus-port.ts";
import { profileCommand } from "./profile-command.ts";
import { loadProfiles, readProfile } from "./profile-files.ts";
import type { Profile } from "./profile-schema.ts";
import { createShaper } from "./shape.ts";
import { programs } from "./test-program.ts";

const profiles = loadProfiles();
const all = [...profiles];

/** The configuration of one device, by what is written of it beside id, driver, host and unit. */
const yaml = (device: string) => `group: f
node: g
broker: { host: h }
outbox: { path: p }
devices:
  - { id: meter, driver: modbus-tcp, host: 127.0.0.1, unitId: 1, ${device} }
`;
const read = (device: string, known = profiles) => readGatewayConfig(yaml(device), "g.yaml", {}, known);

function deviceOf(device: string): ModbusDevice {
  const checked = read(device);
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults, undefined, 1));
  return checked.value.devices[0] as ModbusDevice;
}

function faultsOf(device: string, known = profiles): { path: string; expected: string; remedy: string }[] {
  const checked = read(device, known);
  if (checked.ok) throw new Error("no fault");
  return checked.faults.map(({ path, expected, remedy }) => ({ path, expected, remedy }));
}

const ratiosOf = ({ tags }: Profile): string =>
  ["ct", "pt"].map((which) => (tags.some(({ ratio }) => ratio?.includes(which)) ? `, ${which}Ratio: 1` : "")).join("");
const scaleOf = (device: ModbusDevice, name: string) => device.tags.find((tag) => tag.name === name)?.scale;

describe.each(all)("the profile %s", (name, profile) => {
  const device = deviceOf(`profile: ${name}${ratiosOf(profile)}`);

  test("is a device without faults, with an energy that the platform counts", () => {
    expect(device.tags).toHaveLength(profile.tags.length);
    expect(device).toMatchObject({ order: profile.order, maxRegistersPerRead: profile.maxRegistersPerRead });
    expect(device.tags.filter(({ role }) => role === "energy.import")).toMatchObject([
      { unit: "kWh", carrier: "electricity" },
    ]);
    expect(device.tags.filter(({ role }) => role === "power.active").length).toBeLessThanOrEqual(1);
    // Two tags on the same registers, or halves of them, are a slip of the pen.
    const taken = device.tags.flatMap(({ address, type }) =>
      Array.from(
        { length: { int16: 1, uint16: 1, int64: 4, uint64: 4, float64: 4 }[type as string] ?? 2 },
        (_, i) => address + i,
      ),
    );
    expect(new Set(taken).size).toBe(taken.length);
  });

  test("is read in few requests, none larger than the meter allows", () => {
    const blocks = planReads(device.tags, device);
    expect(blocks.length).toBeLessThanOrEqual(6);
    for (const { quantity } of blocks) expect(quantity).toBeLessThanOrEqual(profile.maxRegistersPerRead);
  });

  test("says where each of its addresses is from", () => {
    for (const { document, section, url } of profile.sources) {
      expect(`${document} ${section}`).toMatch(/page|register/i);
      expect(URL.canParse(url)).toBe(true);
    }
  });

  test.each(profile.examples)(
    "reads $registers as $value for $tag, as the manual does",
    ({ tag: of, registers, value }) => {
      const at = device.tags.findIndex((tag) => tag.name === of);
      const tag = device.tags[at];
      if (!tag) throw new Error(`no tag ${of}`);
      const raw = decodeRegisters(
        Buffer.from(registers.replaceAll(" ", ""), "hex"),
        0,
        tag.type as BinaryType,
        tag.order ?? device.order,
      );
      const shaper = createShaper(device, { lastSourceTimeMs: 0 });
      expect(shaper.shape([{ tag: at, value: raw, status: Status.Good }], 1)).toMatchObject([
        { metric: of, value, status: Status.Good },
      ]);
    },
  );
});

test("there are four meters at least, and the registers of one manual at least are decoded", () => {
  expect(all.length).toBeGreaterThanOrEqual(4);
  expect(all.flatMap(([, { examples }]) => examples).length).toBeGreaterThanOrEqual(5);
});

test("what no meter can measure is marked bad: FFFF of a register that is not there, 7FFF of an overflow", () => {
  for (const [name, tag, hex] of [
    ["abb-a43", "voltage.l1", "FFFFFFFF"],
    ["carlo-gavazzi-em21", "power", "FFFF7FFF"],
  ] as const) {
    const device = deviceOf(`profile: ${name}`);
    const at = device.tags.findIndex((one) => one.name === tag);
    const value = decodeRegisters(
      Buffer.from(hex, "hex"),
      0,
      (device.tags[at] as ModbusDevice["tags"][number]).type as BinaryType,
      device.order,
    );
    const shaper = createShaper(device, { lastSourceTimeMs: 0 });
    expect(shaper.shape([{ tag: at, value, status: Status.Good }], 1)).toMatchObject([
      { status: Status.BadOutOfRange },
    ]);
  }
});

describe("a device of a profile", () => {
  test("has keys and tags of its own first, by name whatever its case, leaves tags out and adds others", () => {
    const device = deviceOf(
      `profile: eastron-sdm630, order: CDAB, without: [frequency, Voltage.L3],
      tags: [{ name: POWER, table: holding, address: 7, type: int16 }, { name: relay, table: coil, address: 0, type: bool }]`,
    );
    expect(device).toMatchObject({ order: "CDAB", maxRegistersPerRead: 80, maxGapRegisters: 20, pollIntervalMs: 1000 });
    const names = device.tags.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["voltage.l1", "POWER", "relay", "energy.import"]));
    for (const gone of ["frequency", "voltage.l3", "power"]) expect(names).not.toContain(gone);
    expect(device.tags.find(({ name }) => name === "POWER")).toMatchObject({ table: "holding", address: 7 });
  });

  test("has the ratios of its transformers in its factors, exactly", () => {
    const of = (ratios: string) => scaleOf(deviceOf(`profile: acrel-adl3000-e, ${ratios}`), "energy.import");
    expect(of("ctRatio: 400/5, ptRatio: 1")).toEqual({ numerator: 4, denominator: 5 });
    expect(of("ctRatio: 80, ptRatio: 10000/100")).toEqual({ numerator: 80, denominator: 1 });
    expect(of("ctRatio: 1, ptRatio: 1")).toEqual({ numerator: 1, denominator: 100 });
    expect(of('ctRatio: "12.5", ptRatio: "1"')).toEqual({ numerator: 1, denominator: 8 });
  });

  test("may be on a line", () => {
    const rtu = yaml("profile: eastron-sdm630").replace(
      "driver: modbus-tcp, host: 127.0.0.1",
      "driver: modbus-rtu, line: l1",
    );
    const text = `${rtu}lines:\n  - { id: l1, kind: serial, path: /dev/ttyS1, baudRate: 9600 }\n`;
    const checked = readGatewayConfig(text, "g.yaml", {}, profiles);
    expect(checked.ok ? checked.value.devices[0] : checked.faults).toMatchObject({
      driver: "modbus-rtu",
      maxRegistersPerRead: 80,
    });
  });

  test("is read as one that is written out", async () => {
    const server = await startScriptedServer({
      rules: [
        { when: "03", send: ["addresses"] },
        { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
      ],
    });
    closers.push(server.close);
    const { createModbusDriver } = await import("./drivers/modbus-tcp.ts");
    const { pino } = await import("pino");
    const device = { ...deviceOf("profile: acrel-adl3000-e, ctRatio: 400/5, ptRatio: 1"), port: server.port };
    const driver = createModbusDriver(device, {
      ports: createPorts(pino({ level: "silent" })),
      log: pino({ level: "silent" }),
    });
    await driver.connect(AbortSignal.timeout(5000));
    const readings = await driver.read(AbortSignal.timeout(5000));
    await driver.close();
    // Each register holds its address.
    expect(readings.map(({ value }) => value)).toEqual([1, 10 * 65_536 + 11, 20 * 65_536 + 21]);
  });
});

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

describe("what is wrong with it is told with profile and device", () => {
  test.each([
    ["profile: no-such", "/devices/0/profile", /one of abb-a43, acrel.*device meter/],
    [
      "profile: acrel-adl3000-e, ptRatio: 1",
      "/devices/0/ctRatio",
      /ratio of the transformers.*profile acrel-adl3000-e, device meter/,
    ],
    ["profile: acrel-adl3000-e, ptRatio: 1, ctRatio: 400-5", "/devices/0/ctRatio", /400\/5 or 80.*device meter/],
    ["profile: acrel-adl3000-e, ptRatio: 1, ctRatio: 0/5", "/devices/0/ctRatio", /device meter/],
    [
      "profile: acrel-adl3000-e, ptRatio: 1, ctRatio: '9007199254740993000'",
      "/devices/0/ctRatio",
      /whole numbers.*device meter/,
    ],
    ["profile: eastron-sdm630, ctRatio: 80", "/devices/0/ctRatio", /no ratio.*profile eastron-sdm630, device meter/],
    ["profile: eastron-sdm630, without: [nothing]", "/devices/0/without/0", /voltage.l1.*device meter/],
    [
      "profile: eastron-sdm630, maxRegistersPerRead: 1",
      "/devices/0/tags/0/type",
      /tag "voltage.l1", profile eastron-sdm630, device meter/,
    ],
    [
      "profile: siemens-sentron-pac4200, tags: [{ name: a, table: holding, address: 65535, type: int32 }]",
      "/devices/0/tags/14/address",
      /tag "a"/,
    ],
    [
      "ctRatio: 80, tags: [{ name: a, table: coil, address: 0, type: bool }]",
      "/devices/0/ctRatio",
      /only beside "profile"/,
    ],
  ])("%s", (device, path, expected) => {
    const found = faultsOf(device).find((fault) => fault.path === path);
    expect(found).toMatchObject({ expected: expect.stringMatching(expected), remedy: expect.stringMatching(/\w/) });
  });

  test("a ratio without a finite decimal on a counter, by the check of counters", () => {
    expect(faultsOf("profile: acrel-adl3000-e, ptRatio: 1, ctRatio: 100/3").map(({ path }) => path)).toContain(
      "/devices/0/tags/1/scale",
    );
  });

  test("another driver, a profile of the wrong type, and none known", () => {
    const opcua = yaml("profile: eastron-sdm630").replace("driver: modbus-tcp", "driver: opcua");
    const checked = readGatewayConfig(opcua, "g.yaml", {}, profiles);
    const faults = checked.ok ? [] : checked.faults;
    expect(faults.find(({ path }) => path === "/devices/0/driver")).toMatchObject({
      expected: expect.stringMatching(/modbus-tcp, modbus-rtu \(profile eastron-sdm630, device meter\)/),
    });
    expect(faultsOf("profile: 7").map(({ path }) => path)).toContain("/devices/0/profile");
    expect(faultsOf("profile: eastron-sdm630", new Map()).map(({ path }) => path)).toContain("/devices/0/profile");
  });

  test("in a profile's file itself, at its line", () => {
    const checked = readProfile("title: x\nmodels: []\nprotocol: opcua\ntags: [{ name: a, adress: 1 }]\n", "x.yaml");
    expect(checked.ok).toBe(false);
    if (checked.ok) return;
    const paths = checked.faults.map(({ path }) => path);
    for (const path of ["/models", "/protocol", "/sources", "/tags/0/adress"]) expect(paths).toContain(path);
  });
});

describe("the command", () => {
  function run(...args: string[]) {
    const told = { out: "", err: "" };
    const code = profileCommand(args, {
      print: (line) => {
        told.out += `${line}\n`;
      },
      complain: (line) => {
        told.err += `${line}\n`;
      },
    });
    return { code, ...told };
  }

  test("lists and shows, in a form that is taken as a device and as a profile again", () => {
    const { code, out } = run("list");
    expect(code).toBe(0);
    for (const [name] of all) expect(out).toContain(name);
    for (const [name] of all) {
      const shown = run("show", name);
      expect(shown.code).toBe(0);
      expect(readProfile(shown.out, "shown")).toEqual({ ok: true, value: profiles.get(name) });
      const [, line = ""] = shown.out.split("\n");
      const device = line.replace(
        /^# {2}- \{ id: meter-1, driver: modbus-tcp, host: 192.168.1.50, unitId: 1, (.*) \}$/,
        "$1",
      );
      expect(deviceOf(device).tags.length).toBeGreaterThan(0);
    }
  });

  test.each([[[]], [["show"]], [["show", "no-such"]], [["list", "x"]], [["lst"]], [["show", "abb-a43", "x"]]])(
    "refuses %j with a remedy",
    (args) => {
      expect(run(...args)).toMatchObject({
        code: 2,
        out: "",
        err: expect.stringMatching(/remedy: give one of abb-a43/),
      });
    },
  );

  test("is one of the program's, and checks of the program know profiles", async () => {
    const bench = programs();
    closers.push(bench.end);
    const { writeFileSync } = await import("node:fs");
    writeFileSync(`${bench.folder}/g.yaml`, yaml("profile: eastron-sdm630"));
    const [list, check] = [
      bench.start(["profile", "list"]),
      bench.start(["check", "--config", `${bench.folder}/g.yaml`]),
    ];
    expect([await list.ended, await check.ended]).toEqual([0, 0]);
    expect(list.output.out).toContain("eastron-sdm630");
    expect(check.output.out).toContain("no fault. 1 devices.");
  });
});
