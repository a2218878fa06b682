import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readGatewayConfig } from "../config.ts";
import { textRow, workbook } from "../import/test-xlsx.ts";
import { readFactor, readOrder, readPlace, readTable, readType } from "../import/values.ts";
import { temporaryFolder } from "../test-opcua.ts";
import { programs } from "../test-program.ts";
import { importCommand } from "./import.ts";
import { call } from "./test-io.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

async function imported(content: string | Buffer, ...args: string[]) {
  const file = join(folder.path, Buffer.isBuffer(content) ? "tags.xlsx" : "tags.csv");
  writeFileSync(file, content);
  const { code, out, err } = await call(importCommand, [file, ...args]);
  return { code, out, err: err.replaceAll(`${folder.path}/`, "") };
}

/** What is printed, in a configuration as a person would put it there. */
function asConfig(out: string): ReturnType<typeof readGatewayConfig> {
  const head = "group: g\nnode: n\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const isDevice = out.startsWith("- id:");
  const own = isDevice
    ? out
    : `- id: d\n  driver: modbus-tcp\n  host: h\n  unitId: 1\n  tags:\n${out.replaceAll(/^/gm, "    ")}`;
  return readGatewayConfig(head + own.replaceAll(/^/gm, "  "), "printed.yaml");
}

describe("tags", () => {
  const chinese = `名称,功能码,地址,数据类型,字节序,系数,单位,角色,位,说明
voltage-l1,03,40001,REAL,CDAB,,V,,,A相电压
energy,3,40101,无符号32位,小端,0.01,KWh,用电量,,正向有功 # 总
running,1,00001,,,,,,,运行
fault,03 保持寄存器,40200.3,BOOL,,,,,,
temperature,4,30011,int16,,×0.1,℃,temperature,,"上,下"`;

  test("of a Chinese list with a manual's addresses: what was converted is said, what is printed passes check", async () => {
    const { code, out, err } = await imported(chinese);
    expect(err).toBe(
      [
        "note: addresses counted from 1, as manuals do (--addresses wire takes them as they are): 40001 is holding 0, 40101 is holding 100, 00001 is coil 0, 40200.3 is holding 199, 30011 is input 10",
        "note: units in the spelling of roles: KWh is kWh, ℃ is °C",
      ].join("\n"),
    );
    expect(code).toBe(0);
    expect(parse(out)).toEqual([
      { name: "voltage-l1", table: "holding", address: 0, type: "float32", order: "CDAB", unit: "V" },
      {
        name: "energy",
        table: "holding",
        address: 100,
        type: "uint32",
        order: "DCBA",
        scale: { numerator: 1, denominator: 100 },
        unit: "kWh",
        role: "energy.import",
      },
      { name: "running", table: "coil", address: 0, type: "bool" },
      { name: "fault", table: "holding", address: 199, type: "bool", bit: 3 },
      {
        name: "temperature",
        table: "input",
        address: 10,
        type: "int16",
        scale: { numerator: 1, denominator: 10 },
        unit: "°C",
        role: "temperature",
      },
    ]);
    expect(out).toContain("# 正向有功 # 总");
    expect(asConfig(out).ok).toBe(true);
  });

  test("of a workbook, the same", async () => {
    const rows = chinese.split("\n").map((line, i) => textRow(i + 1, line.replace('"上,下"', "上下").split(",")));
    const { code, out } = await imported(workbook({ sheet: rows.join("") }));
    expect([code, out]).toEqual([0, (await imported(chinese.replace('"上,下"', "上下"))).out]);
  });

  test("of an English list, addresses as on the wire; columns that are not used, and tables that are assumed, are said", async () => {
    const { code, out, err } = await imported(
      "Name;Address;Data Type;Unit;Colour\na;0x64;float;V;red\nyes;7;word;;\n1e5;12345;uint16;'A;\n",
      "--addresses",
      "wire",
    );
    expect([code, parse(out)]).toEqual([
      0,
      [
        { name: "a", table: "holding", address: 100, type: "float32", unit: "V" },
        { name: "yes", table: "holding", address: 7, type: "uint16" },
        { name: "1e5", table: "holding", address: 12_345, type: "uint16", unit: "'A" },
      ],
    ]);
    expect(err.split("\n")).toEqual([
      "note: hexadecimal addresses: 0x64 is holding 100",
      "note: no table given, holding assumed, in lines: 2, 3, 4",
      "note: columns that are not used: Colour",
    ]);
    expect(asConfig(out).ok).toBe(true);
  });

  test("addresses of rows with a table, and without, are a manual's only where all are written so", async () => {
    const list = (second: string) => `name,table,address,type\na,holding,40001,int16\nb,holding,${second},int16`;
    const addresses = async (...given: Parameters<typeof imported>) =>
      (parse((await imported(...given)).out) as { address: number }[]).map(({ address }) => address);
    expect(await addresses(list("40002"))).toEqual([0, 1]);
    expect(await addresses(list("7"))).toEqual([40_001, 7]);
    expect(await addresses(list("40002"), "--addresses", "wire")).toEqual([40_001, 40_002]);
    expect(await addresses(list("7"), "--addresses", "manual")).toEqual([0, 7]);
    const plain = (second: string) => `name,address,type\na,40001,int16\nb,${second},int16`;
    expect(await addresses(plain("30002"))).toEqual([0, 1]);
    expect(await addresses(plain("39"))).toEqual([40_001, 39]);
  });

  test("in a device, by option", async () => {
    const { out } = await imported(
      "name,address,type\na,1,int16",
      "--device",
      "press",
      "--host",
      "10.0.0.7",
      "--unit-id",
      "3",
    );
    expect(out).toBe(
      "- id: press\n  driver: modbus-tcp\n  host: 10.0.0.7\n  port: 502\n  unitId: 3\n  tags:\n    - { name: a, table: holding, address: 1, type: int16 }".replace(
        "host: 10.0.0.7",
        'host: "10.0.0.7"',
      ),
    );
    expect(asConfig(out).ok).toBe(true);
  });

  test("of several devices: empty cells go on from above, as merged cells do", async () => {
    const list = `设备,IP地址,站号,名称,功能码,地址,类型
meter-1,10.0.0.1,1,a,3,0,int16
,,,b,3,1,int16
meter-2,10.0.0.1,2,a,4,0,float
meter-1,,,c,3,2,int16`;
    const { code, out } = await imported(list);
    expect(code).toBe(0);
    const read = asConfig(out);
    if (!read.ok) throw new Error(JSON.stringify(read.faults));
    const shown = read.value.devices.map((device) => [
      device.id,
      "unitId" in device && device.unitId,
      device.tags.map((tag) => tag.name),
    ]);
    expect(shown).toEqual([
      ["meter-1", 1, ["a", "b", "c"]],
      ["meter-2", 2, ["a"]],
    ]);
  });
});

describe("faults, with code 2 and nothing printed", () => {
  test("each by line with what is expected and what to do, all at once", async () => {
    const { code, out, err } = await imported(`name,table,address,type,order,scale,unit,role,bit
good,3,0,int16,,,,,
电压,3,1,int16,,,,,
a,5,1,int16,,,,,
b,3,D100,int16,,,,,
c,3,2,,,,,,
d,3,3,float16,,,,,
e,3,4,int32,ABDC,,,,
f,3,6,int16,,zero,,,
g,3,7,int16,,,V,energy,
h,3,8,bool,,,,,16
i,3,9,uint32,,,V,energy.import,
j,3,65535,int32,,,,,
good,3,0,int16,,,,,
k,4x,30001,int16,,,,,
l,3,12,bool,,,,,`);
    expect([code, out]).toEqual([2, ""]);
    const told = [
      ...err.matchAll(/^tags\.csv:(\d+) (.*)\n {2}found: {4}(.*)\n {2}expected: (.*)\n {2}remedy: {3}(.+)$/gm),
    ];
    expect(told.map(([, line, path]) => `${line} ${path}`)).toEqual([
      "3 name",
      "4 table",
      "5 address",
      "6 type",
      "7 type",
      "8 order",
      "9 scale",
      "10 role",
      "11 bit",
      "12 unit",
      "13 address",
      "14 name",
      "16 bit",
    ]);
    expect(told[2]?.slice(3)).toEqual([
      '"D100"',
      "a number from 0, 40001, 4x0001, 0x64 or 64H; with a bit 40001.5",
      "write the Modbus address; names such as D100 are those of the PLC's program",
    ]);
    expect(err).toContain("13 faults; nothing was printed.");
  });

  test.each([
    ["no headings", "a,1,int16\n", /:1 name\n.*no such column[\s\S]*:1 address/],
    ["two columns for one thing", "name,address,type,地址\na,1,int16,2\n", /"address" and "地址"/],
    ["headings alone", "name,address,type\n", /headings alone/],
    ["nothing", "\n\n", /found: {4}nothing/],
    ["an address of another table", "name,table,address,type\na,input,4x0001,int16\n", /4x0001 is of holding/],
    [
      "a device with two addresses",
      "device,host,name,address,type\nm,h1,a,1,int16\nm,h2,b,2,int16\n",
      /:3 host\n.*"h2"/,
    ],
    [
      "two devices at one unit",
      "device,host,unitid,name,address,type\nm,h,1,a,1,int16\nn,h,1,b,2,int16\n",
      /:3 device unitId/,
    ],
    ["a device without a host", "device,host,name,address,type\nm,,a,1,int16\n", /:2 device host/],
    ["an id that is none", "device,host,name,address,type\n电表,h,a,1,int16\n", /:2 device id/],
  ])("%s", async (_what, text, expected) => {
    const { code, out, err } = await imported(text);
    expect([code, out, err]).toEqual([2, "", expect.stringMatching(expected)]);
  });

  test("hundreds of them: the first hundred, and their number", async () => {
    const rows = Array.from({ length: 250 }, (_, i) => `t${i},x,int16`);
    const { err } = await imported(`name,address,type\n${rows.join("\n")}`);
    expect(err.match(/^tags\.csv:/gm)).toHaveLength(100);
    expect(err).toContain("150 more faults are not shown.");
  });

  test("names used twice are found beyond the parts that are checked together", async () => {
    const rows = Array.from({ length: 1200 }, (_, i) => `t${i === 1100 ? 3 : i},${i},int16`);
    const { code, err } = await imported(`name,address,type\n${rows.join("\n")}`);
    expect([code, err]).toEqual([2, expect.stringMatching(/^tags\.csv:1102 name\n.*\n.*already in line 5/)]);
  });

  test("a list and --device; a file that is not there; wrong options", async () => {
    const list = "device,host,name,address,type\nm,h,a,1,int16";
    expect(await imported(list, "--device", "x", "--host", "y")).toMatchObject({ code: 2, out: "" });
    expect(await call(importCommand, [join(folder.path, "none.csv")])).toMatchObject({
      code: 2,
      err: expect.stringContaining("cannot be read"),
    });
    for (const args of [
      ["--device", "x"],
      ["--addresses", "both"],
      ["--port", "0", "--device", "x", "--host", "h"],
    ])
      expect(await imported(list, ...args)).toMatchObject({ code: 2, out: "" });
    expect(await call(importCommand, [])).toMatchObject({
      code: 2,
      err: expect.stringContaining("the file is missing"),
    });
  });
});

test("words: tables, types, orders, factors, places", () => {
  expect(["3", "fc04", "线圈", "4x", "3区", "03保持寄存器", "03 输入寄存器", "5", ""].map(readTable)).toEqual([
    "holding",
    "input",
    "coil",
    "holding",
    "input",
    "holding",
    undefined,
    undefined,
    undefined,
  ]);
  expect(["INT", "有符号16位整数", "浮点数", "LREAL", "u32", "布尔型", "string", "整型"].map(readType)).toEqual([
    "int16",
    "int16",
    "float32",
    "float64",
    "uint32",
    "bool",
    "string",
    undefined,
  ]);
  expect(["abcd", "3412", "GHEFCDAB", "Little-endian", "ACBD"].map(readOrder)).toEqual([
    "ABCD",
    "CDAB",
    "CDAB",
    "DCBA",
    undefined,
  ]);
  const factors = ["0.1", "10", "1/3", "-0.025", "1e-3", "×1.5", "0.5/2", "100.0", "0", "1/0", "a", "1e99", "5%"];
  expect(factors.map((text) => readFactor(text)).map((f) => f && [f.numerator, f.denominator])).toEqual([
    [1, 10],
    [10, 1],
    [1, 3],
    [-1, 40],
    [1, 1000],
    [3, 2],
    [1, 4],
    [100, 1],
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  const places = ["40001", "400001", "4x1", "40000", "65535", "1000H", "0x10", "100.7", "-1", "1.5.2", "100000"];
  expect(places.map((text) => readPlace(text, undefined, false)).map((p) => p && [p.table, p.address, p.bit])).toEqual([
    ["holding", 0, undefined],
    ["holding", 0, undefined],
    ["holding", 0, undefined],
    [undefined, 40_000, undefined],
    [undefined, 65_535, undefined],
    [undefined, 4096, undefined],
    [undefined, 16, undefined],
    [undefined, 100, 7],
    undefined,
    undefined,
    undefined,
  ]);
});

test("the program itself: the template it prints is a list that it takes", async () => {
  const bench = programs();
  try {
    const template = bench.start(["import", "--template"]);
    expect(await template.ended).toBe(0);
    const file = join(bench.folder, "list.csv");
    writeFileSync(file, template.output.out);
    const { ended, output } = bench.start(["import", file]);
    expect([await ended, output.err]).toEqual([0, ""]);
    expect(asConfig(output.out.trimEnd()).ok).toBe(true);
  } finally {
    await bench.end();
  }
});
