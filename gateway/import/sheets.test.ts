import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { readCsv } from "./csv.ts";
import { bounds, columnName } from "./sheet.ts";
import { textRow, workbook, workbookParts, zipOf } from "./test-xlsx.ts";
import { readXlsx } from "./xlsx.ts";

const cellsOf = ({ rows }: ReturnType<typeof readCsv>) => rows.map(({ line, cells }) => [line, ...cells]);
/** 名称,单位 / 电压,V in GBK, written out by hand. */
const gbk = Buffer.from("c3fbb3c62cb5a5cebb0ab5e7d1b92c560a", "hex");

describe("a table of text", () => {
  test.each([
    ["UTF-8", Buffer.from("名称,单位\n电压,V\n")],
    ["UTF-8 with its mark, CR LF", Buffer.from("\ufeff名称,单位\r\n电压,V\r\n")],
    ["UTF-16 of Excel's Unicode text, tabs", Buffer.from("\ufeff名称\t单位\n电压\tV", "utf16le")],
    ["GBK", gbk],
    ["semicolons, a comma in a text", Buffer.from('名称;单位\n"电压";V\n')],
    ["blank lines and blanks around", Buffer.from("名称 , 单位\n 电压,V ")],
  ])("in %s", (_what, bytes) => {
    expect(cellsOf(readCsv(bytes))).toEqual([
      [1, "名称", "单位"],
      [2, "电压", "V"],
    ]);
  });

  test("quotes hold separators, line ends and quotes; lines are those of the file; empty rows are left out", () => {
    const text = 'a,b\n"x, ""y""\nz",1\n\n,\nlast,2';
    expect(cellsOf(readCsv(Buffer.from(text)))).toEqual([
      [1, "a", "b"],
      [2, 'x, "y"\nz', "1"],
      [6, "last", "2"],
    ]);
  });

  test.each([
    ["a picture", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0, 0, 0xff, 0xff]), "neither UTF-8 nor GBK"],
    ["a quote without end", Buffer.from('a,b\n"x,1\n'), 'a " without its end'],
    ["too many columns", Buffer.from(",".repeat(300)), "more than 256 columns"],
    ["too long a cell", Buffer.from(`a\n${"x".repeat(5000)}`), "more than 4096 characters"],
    ["too many rows", Buffer.from("a\n".repeat(bounds.rows + 3)), "more than 100000 rows"],
  ])("%s is refused", (_what, bytes, found) => {
    const { rows, faults } = readCsv(bytes);
    expect([rows, faults]).toEqual([[], [expect.objectContaining({ found: expect.stringContaining(found) })]]);
  });
});

describe("a workbook", () => {
  test("texts shared and inline, rich and escaped, numbers in their shortest form, results of formulas, gaps", () => {
    const shared =
      '<si><t>名称</t></si><si><r><t>A&amp;B </t></r><r><t>C&#x4e2d;</t></r><rPh sb="0"><t>no</t></rPh></si>';
    const sheet = `
      <row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="inlineStr"><is><t>地址</t></is></c></row>
      <row r="3"><c r="A3" t="s"><v>1</v></c><c r="B3"><v>0.10000000000000001</v></c><c r="C3"><f>1+1</f><v>2</v></c>
        <c r="D3" t="str"><f>"x"</f><v>x</v></c><c r="E3" t="b"><v>1</v></c><c r="F3" s="1"/></row>
      <row r="4"/><x:row xmlns:x="y" r="5"><x:c r="AA5"><x:v>1E-3</x:v></x:c></x:row>`;
    const { rows, faults } = readXlsx(workbook({ sheet, shared }));
    expect(faults).toEqual([]);
    expect(rows).toEqual([
      { line: 1, cells: ["名称", "", "地址"] },
      { line: 3, cells: ["A&B C中", "0.1", "2", "x", "true", ""] },
      { line: 5, cells: [...Array.from({ length: 26 }, () => ""), "0.001"] },
    ]);
  });

  test("dates, errors and formulas without a result are faults with their cells; other formats are not dates", () => {
    const styles = `<numFmts><numFmt numFmtId="164" formatCode="yyyy&quot;年&quot;m"/><numFmt numFmtId="165" formatCode="0.0 &quot;days&quot;[Red]"/></numFmts>
      <cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
      <cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="49"/></cellXfs>`;
    const sheet = `<row r="2"><c r="A2" s="1"><v>45000</v></c><c r="B2" s="2"><v>45000</v></c><c r="C2" s="3"><v>4.5</v></c>
      <c r="D2" t="e"><v>#REF!</v></c><c r="E2"><f>A1</f></c><c r="F2" t="d"><v>2026-01-05</v></c><c r="G2" s="4"><v>7</v></c></row>`;
    const { rows, faults } = readXlsx(workbook({ sheet, styles }));
    expect(faults.map(({ line, path, found }) => [line, path, found])).toEqual([
      [2, "column A", "a date"],
      [2, "column B", "a date"],
      [2, "column D", "error #REF!"],
      [2, "column E", "a formula without its result"],
      [2, "column F", "a date"],
    ]);
    expect(rows[0]?.cells).toEqual(["", "", "4.5", "", "", "", "7"]);
  });

  test("the sheet that is named, and which there are where there is none of that name", () => {
    const file = workbook({ sheet: textRow(1, ["a"]) });
    expect(readXlsx(file, "点表").rows).toHaveLength(1);
    expect(readXlsx(file, "other").faults).toEqual([
      expect.objectContaining({ found: 'no sheet "other"', expected: "one of 点表" }),
    ]);
  });
});

/** An independent writer of workbooks. */
const python = `
import sys, io, datetime, openpyxl
book = openpyxl.Workbook()
sheet = book.active
sheet.append(["名称", "地址", "系数", "日期"])
sheet.append(["voltage-l1", 40001, 0.1, datetime.date(2026, 1, 5)])
sheet["C3"] = "=C2*1"
out = io.BytesIO()
book.save(out)
sys.stdout.buffer.write(out.getvalue())
`;
const written = spawnSync("python3", ["-c", python]);

test.skipIf(written.status !== 0)("a workbook of openpyxl (needs Python with openpyxl)", () => {
  const { rows, faults } = readXlsx(written.stdout);
  expect(cellsOf({ rows, faults })).toEqual([
    [1, "名称", "地址", "系数", "日期"],
    [2, "voltage-l1", "40001", "0.1", ""],
  ]);
  expect(faults.map(({ path, found }) => [path, found])).toEqual([
    ["column D", "a date"],
    ["column C", "a formula without its result"],
  ]);
});

describe("a hostile workbook", () => {
  const big = "x".repeat(64 * 1024 * 1024);
  const sheet = textRow(1, ["a"]);
  test.each([
    [
      "a bomb, whatever it says of its size",
      zipOf([
        ...workbookParts({ sheet }).slice(0, 2),
        { name: "xl/sharedStrings.xml", content: `<sst>${big}</sst>`, saysBytes: 10 },
        { name: "xl/styles.xml", content: `<styleSheet>${big}</styleSheet>`, saysBytes: 10 },
        { name: "xl/worksheets/sheet1.xml", content: `<sheetData>${big}`, saysBytes: 10 },
      ]),
      /more than \d+ bytes when unpacked/,
    ],
    [
      "entities that would grow",
      workbook({ sheet, extra: [], shared: "<!DOCTYPE x [<!ENTITY a 'b'>]>" }),
      /declaration of its own/,
    ],
    ["an encrypted part", zipOf(workbookParts({ sheet }).map((part) => ({ ...part, flags: 1 }))), /encrypted/],
    ["an old .xls, or one with a password", Buffer.from("d0cf11e0a1b11ae1", "hex"), /old \.xls/],
    ["no zip file", Buffer.from("PK but not one"), /no zip file/],
    ["one that is cut off", workbook({ sheet }).subarray(60), /damaged|cut off/],
    ["a tag without end", workbook({ sheet: "<row r='1'><c r='A1" }), /middle of a tag/],
    [
      "a cell far to the right",
      workbook({ sheet: '<row r="1"><c r="XFD1"><v>1</v></c></row>' }),
      /more than 256 columns/,
    ],
    [
      "a row of a cell without a column",
      workbook({ sheet: '<row r="1"><c r="1"><v>1</v></c></row>' }),
      /more than 256 columns/,
    ],
    [
      "more rows than are taken",
      workbook({ sheet: "<row><c><v>1</v></c></row>".repeat(bounds.rows + 3) }),
      /more than 100000 rows/,
    ],
    [
      "names and formats of a million characters",
      workbook({
        sheet: `<row r="1"><c ${"a".repeat(1_000_000)}><v>1</v></c></row><c r="XFD1"/>`,
        styles: `<numFmt numFmtId="1" formatCode="${"[".repeat(1_000_000)}"/><cellXfs><xf numFmtId="1"/></cellXfs>`,
      }),
      /more than 256 columns/,
    ],
  ])("%s is refused", (_what, file, found) => {
    const { rows, faults } = readXlsx(file);
    expect([rows, faults]).toEqual([[], [expect.objectContaining({ found: expect.stringMatching(found) })]]);
    expect(faults[0]?.remedy).not.toBe("");
  });

  test("whatever is cut or changed in a file, it ends in rows or faults, never in an error", () => {
    const file = workbook({ sheet: textRow(1, ["name", "address"]) + textRow(2, ["a", "1"]) });
    for (let at = 0; at < file.length; at += 1) {
      const broken = Buffer.from(file);
      broken[at] = (broken[at] ?? 0) ^ 0xff;
      for (const one of [broken, file.subarray(0, at)]) expect(() => readXlsx(one), `byte ${at}`).not.toThrow();
    }
  });
});

test("columns are called as spreadsheets call them", () => {
  expect([0, 25, 26, 701, 702].map(columnName)).toEqual(["A", "Z", "AA", "ZZ", "AAA"]);
});
