import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DataType } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { exportCommand } from "./history-export.ts";
import { zoneTimes } from "./history-zone.ts";
import { at, energy, firstMs, type HistoryBench, historyBench, power, state } from "./test-history.ts";

let bench: HistoryBench;
beforeEach(() => {
  bench = historyBench();
});
afterEach(() => bench.close());

const yaml = (history = "{}") => `group: factory-1
node: gateway-1
broker: { host: h }
outbox: { path: ${join(bench.folder, "outbox.db")} }
history: ${history}
devices:
  - { id: meter, driver: modbus-tcp, host: h, unitId: 1, tags: [{ name: a, table: holding, address: 0, type: int16 }] }
`;

async function run(args: string, history?: string) {
  const told = { out: "", err: "", chunks: 0 };
  const code = await exportCommand(args === "" ? [] : args.split(" "), {
    configOf: async () => {
      const checked = readGatewayConfig(yaml(history), "gateway.yaml");
      if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
      return checked.value;
    },
    write: async (text) => {
      told.out += text;
      told.chunks += 1;
      return true;
    },
    complain: (line) => {
      told.err += `${line}\n`;
    },
  });
  return {
    ...told,
    code,
    lines: told.out
      .replace(/^\ufeff/, "")
      .split("\r\n")
      .slice(1, -1),
  };
}

const day = "--config g.yaml --from 2026-11-01 --to 2026-11-02 --zone Asia/Shanghai";
/** Columns of a line that hold something, by position: register 4, its time 5, consumption 6, remark 7. */
const cells = (line: string | undefined, ...columns: number[]) => columns.map((column) => line?.split(",")[column]);

describe("the export", () => {
  test("is a CSV that spreadsheets take for UTF-8, with a line for each quarter hour and tag", async () => {
    const one = bench.start({}, [energy, { ...power, unit: 'k"W,' }, state]);
    bench.put(one, at(0, 0), { energy: 100.1, power: 0.1, state: 3 });
    bench.put(one, at(0, 899_000), { energy: 100.4, power: 0.3, state: 4 });
    bench.put(one, at(1, 840_000), { energy: 101.7 });
    bench.time.nowMs = at(2);
    await bench.stop(one);
    const { code, out, lines } = await run(day);
    expect(code).toBe(0);
    expect(out.startsWith("\ufeff开始时间 start,设备 device,标签 tag,单位 unit,期末读数 register at end,")).toBe(true);
    expect(lines).toEqual([
      "2026-11-01T00:00:00+08:00,meter,energy,kWh,100.4,2026-11-01T00:14:59+08:00,,无期初读数 no register before,,,,,,181,2,0",
      '2026-11-01T00:00:00+08:00,meter,power,"k""W,",,,,,0.2,0.101105,0.1,0.3,,181,2,0'.replace("0.101105", "0.101105"),
      "2026-11-01T00:00:00+08:00,meter,state,1,,,,,,,,,3:180 4:1,181,2,0",
      "2026-11-01T00:15:00+08:00,meter,energy,kWh,101.7,2026-11-01T00:29:00+08:00,1.3,,,,,,,239,1,0",
      '2026-11-01T00:15:00+08:00,meter,power,"k""W,",,,,,,0.3,0.3,0.3,,179,0,0',
      "2026-11-01T00:15:00+08:00,meter,state,1,,,,,,,,,4:179,179,0,0",
    ]);
  });

  test("takes the difference of registers exactly: decimals, 32-bit floats, whole numbers of 64 bits, rollovers", async () => {
    const counters = [
      energy,
      { ...energy, name: "float", datatype: DataType.Float },
      { ...energy, name: "whole", datatype: DataType.Int64, modulus: "" },
    ];
    const one = bench.start({}, counters);
    bench.put(one, at(0, 890_000), { energy: 0.1, float: Math.fround(16_777.2), whole: 2n ** 62n });
    bench.put(one, at(1, 890_000), { energy: 0.3, float: Math.fround(16_777.3), whole: 2n ** 62n + 7n });
    bench.put(one, at(2, 100_000), { energy: 999.9 });
    bench.put(one, at(2, 200_000), { energy: 0.3 });
    bench.put(one, at(2, 890_000), { energy: 0.4 });
    await bench.stop(one);
    const { lines } = await run(day);
    const of = (name: string) => lines.filter((line) => line.includes(`,${name},`)).map((line) => cells(line, 4, 6));
    expect(of("energy")).toEqual([
      ["0.1", ""],
      ["0.3", "0.2"],
      ["0.4", "1000.1"],
    ]);
    // The last value holds into the third quarter hour.
    expect(of("float")).toEqual([
      ["16777.2", ""],
      ["16777.3", "0.1"],
      ["16777.3", "0"],
    ]);
    expect(of("whole")).toEqual([
      ["4611686018427387904", ""],
      ["4611686018427387911", "7"],
      ["4611686018427387911", "0"],
    ]);
  });

  test("counts rollovers within a quarter hour, between two and across a restart", async () => {
    const first = bench.start({}, [energy]);
    bench.put(first, at(0, 890_000), { energy: 900 });
    for (const [ms, value] of [
      [100_000, 300],
      [200_000, 700],
      [300_000, 100],
    ] as const)
      bench.put(first, at(1, ms), { energy: value });
    bench.put(first, at(2, 890_000), { energy: 999 });
    await bench.stop(first);
    const second = bench.start({}, [energy]);
    bench.put(second, at(3, 10_000), { energy: 4.5 });
    await bench.stop(second);
    const { lines } = await run(day);
    expect(lines.map((line) => cells(line, 6))).toEqual([[""], ["1200"], ["899"], ["5.5"]]);
  });

  test("leaves the amount empty where a side is missing, and says why and what went through since", async () => {
    const one = bench.start({}, [energy]);
    bench.put(one, at(0, 890_000), { energy: 10 });
    bench.put(one, at(0, 895_000), { energy: null }, Status.BadTimeout);
    bench.put(one, at(4, 880_000), { energy: 17.25 });
    bench.put(one, at(5, 100_000), { energy: 18 });
    bench.put(one, at(5, 101_000), { energy: null }, Status.BadTimeout);
    bench.put(one, at(6, 890_000), { energy: 3 });
    await bench.stop(one);
    const { lines } = await run(day);
    expect(lines.map((line) => cells(line, 6, 7))).toEqual([
      ["", "无期初读数 no register before"],
      ["", "期初缺数 no register before; since 2026-11-01T00:15:00+08:00: 7.25"],
      ["0.75", "读数早于期末 register read before the end"],
      ["", "读数回退 the register fell: reset or exchanged"],
    ]);
  });

  test("finds the register before its first quarter hour, and keeps to the device, the tag and the times asked for", async () => {
    const one = bench.start({}, [energy, power]);
    one.events.onDefinitions("other", [power]);
    for (let i = 0; i < 4; i += 1) {
      bench.put(one, at(i, 890_000), { energy: 10 + i, power: i });
      one.events.onSamples("other", [
        { metric: "power", value: 1, status: 0, sourceTimeMs: at(i, 890_000), gatewayTimeMs: at(i) },
      ]);
    }
    await bench.stop(one);
    const range = "--config g --from 2026-11-01T00:30 --to 2026-10-31T17:00Z --zone Asia/Shanghai";
    const { lines } = await run(`${range} --device meter --tag energy`);
    expect(lines.map((line) => cells(line, 0, 6))).toEqual([
      ["2026-11-01T00:30:00+08:00", "1"],
      ["2026-11-01T00:45:00+08:00", "1"],
    ]);
    expect((await run(range)).lines).toHaveLength(6);
    expect((await run(`${range} --device other`)).lines).toHaveLength(2);
  });

  test("reads a file page by page while it is written, in parts", async () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ ...power, name: `p${i}` }));
    const one = bench.start({}, many);
    const values = Object.fromEntries(many.map(({ name }, i) => [name, i]));
    for (let i = 0; i < 12; i += 1) bench.put(one, at(i, 1000), values);
    bench.time.nowMs = at(12, 61_000);
    await vi.waitFor(() => expect(bench.read().rows).toHaveLength(3600), { timeout: 10_000 });
    const { lines, chunks, code } = await run(day);
    expect([code, lines.length, new Set(lines).size]).toEqual([0, 3600, 3600]);
    expect(chunks).toBeGreaterThan(10);
    expect(one.history.stats().isWritable).toBe(true);
  });
});

describe("what is wrong is told with a remedy", () => {
  test.each([
    ["", /--config is missing/],
    ["--config g", /--from is missing[\s\S]*--to is missing/],
    ["--config g --from 2026-11-31 --to 2026-12-01", /--from "2026-11-31" is no time\n {2}remedy/],
    ["--config g --from 2026-11-01T00:07 --to 2026-12-01 --zone UTC", /not on a quarter hour\n {2}remedy/],
    ["--config g --from 2026-12-01 --to 2026-11-01", /--to is not after --from\n {2}remedy/],
    [
      "--config g --from 2026-11-01 --to 2026-12-01 --zone Mars/Olympus",
      /--zone "Mars\/Olympus" is unknown\n {2}remedy/,
    ],
    ["--config g --from 2026-11-01 --to 2026-12-01 --divice x", /Unknown option '--divice'/],
    ["--config g --from 2026-11-01 --to 2026-12-01 x", /Unexpected argument 'x'/],
  ])("exit code 2: %s", async (args, expected) => {
    const { code, err, out } = await run(args);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(expected);
  });

  test("exit code 2: a device or a tag that the history does not have, with those it has", async () => {
    const one = bench.start({}, [power]);
    bench.put(one, at(0), { power: 1 });
    await bench.stop(one);
    expect(await run(`${day} --device x`)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringMatching(/no device "x"[\s\S]*one of meter/),
    });
    expect(await run(`${day} --tag x`)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringMatching(/no tag "x"[\s\S]*one of power/),
    });
  });

  test("exit code 1: no history there, none kept, or a file of something else", async () => {
    expect(await run(day)).toMatchObject({
      code: 1,
      out: "",
      err: expect.stringMatching(/there is no history .*\n {2}remedy: check history.path/),
    });
    expect(await run(day, "false")).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no history is kept\n {2}remedy/),
    });
    writeFileSync(bench.path, "text of another kind".repeat(100));
    expect(await run(day)).toMatchObject({ code: 1, err: expect.stringMatching(/is no history\n {2}remedy/) });
    mkdirSync(`${bench.path}-folder`);
    expect(await run(day, `{ path: ${bench.path}-folder }`)).toMatchObject({
      code: 1,
      err: expect.stringContaining("remedy"),
    });
  });

  test("a reader that ends early ends it", async () => {
    const one = bench.start({}, [power]);
    bench.put(one, at(0), { power: 1 });
    await bench.stop(one);
    let writes = 0;
    const code = await exportCommand(day.split(" "), {
      configOf: async () => {
        const checked = readGatewayConfig(yaml(), "g");
        return checked.ok ? checked.value : expect.fail();
      },
      write: async () => {
        writes += 1;
        return false;
      },
      complain: () => undefined,
    });
    expect([code, writes]).toEqual([0, 1]);
  });
});

describe("times of a zone", () => {
  test("carry their offset, which tells apart what the end of summer time repeats", () => {
    const berlin = zoneTimes("Europe/Berlin");
    const end = Date.UTC(2026, 9, 25, 0, 30);
    expect([berlin.format(end), berlin.format(end + 3_600_000)]).toEqual([
      "2026-10-25T02:30:00+02:00",
      "2026-10-25T02:30:00+01:00",
    ]);
    expect(zoneTimes("Asia/Kathmandu").format(0)).toBe("1970-01-01T05:30:00+05:30");
    expect(zoneTimes("America/St_Johns").format(firstMs)).toBe("2026-10-31T13:30:00-02:30");
    expect(zoneTimes("UTC").format(firstMs)).toBe("2026-10-31T16:00:00+00:00");
  });

  test("are read as days, as times in the zone and with an offset of their own", () => {
    const { parse } = zoneTimes("Asia/Shanghai");
    expect(parse("2026-11-01")).toBe(firstMs);
    expect(parse("2026-11-01T00:15")).toBe(firstMs + 900_000);
    expect(parse("2026-10-31T16:00Z")).toBe(firstMs);
    expect(parse("2026-10-31T17:00+01:00")).toBe(firstMs);
    expect(zoneTimes("Europe/Berlin").parse("2026-03-29")).toBe(Date.UTC(2026, 2, 28, 23));
    for (const wrong of ["2026-02-30", "2026-13-01", "2026-11-01T25:00", "yesterday", "2026-11-1", ""])
      expect(parse(wrong)).toBeUndefined();
  });
});
