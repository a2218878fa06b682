import { messageOf } from "@jilian/domain/errors.ts";
import { bounds, columnName, type LineFault, type Sheet, type SheetRow, tooLarge, unreadable } from "./sheet.ts";
import { attribute, xmlPieces } from "./xml.ts";
import { openZip, type ZipParts } from "./zip.ts";

/** Formats of dates and times that have a number of their own (ECMA-376 Part 1, 18.8.30). */
const dateFormats: readonly (readonly [from: number, to: number])[] = [
  [14, 22],
  [27, 36],
  [45, 47],
  [50, 58],
];

/** Characters of a format that are looked at; spreadsheets write 255 at most. */
const mostFormat = 1000;

/** Whether a format shows a date or a time: one of its letters outside of texts, colours and escapes. */
function isDateCode(code: string): boolean {
  return /[ymdhs]/i.test(
    code
      .slice(0, mostFormat)
      .replaceAll(/"[^"]*"|\[[^\]]*\]|\\.|_./g, "")
      .replaceAll(/general/gi, ""),
  );
}

/** Every open tag of some name. */
function openTags(text: string, wanted: string): string[] {
  const found: string[] = [];
  for (const piece of xmlPieces(text)) if (piece.kind === "open" && piece.name === wanted) found.push(piece.attributes);
  return found;
}

/** Which of the styles of cells are dates, by their position. */
function dateStyles(text: string): boolean[] {
  const codes = new Map(
    openTags(text, "numFmt").map((of) => [Number(attribute(of, "numFmtId")), attribute(of, "formatCode") ?? ""]),
  );
  const styles: boolean[] = [];
  let inCells = false;
  for (const piece of xmlPieces(text)) {
    if (piece.kind === "text") continue;
    if (piece.name === "cellXfs") inCells = piece.kind === "open" && !piece.isEmpty;
    if (!inCells || piece.kind !== "open" || piece.name !== "xf") continue;
    const id = Number(attribute(piece.attributes, "numFmtId") ?? 0);
    const code = codes.get(id);
    styles.push(code === undefined ? dateFormats.some(([from, to]) => id >= from && id <= to) : isDateCode(code));
  }
  return styles;
}

/** Texts that cells share, without the readings of Asian characters (`rPh`). */
function sharedTexts(text: string): string[] {
  const texts: string[] = [];
  let current = "";
  let takes = false;
  let inReading = false;
  for (const piece of xmlPieces(text)) {
    if (piece.kind === "text") {
      if (takes && !inReading && current.length <= bounds.cellCharacters) current += piece.text;
      continue;
    }
    const opens = piece.kind === "open" && !piece.isEmpty;
    if (piece.name === "t") takes = opens;
    else if (piece.name === "rPh") inReading = opens;
    else if (piece.name === "si" && opens) current = "";
    else if (piece.name === "si") {
      texts.push(current);
      current = "";
    }
  }
  return texts;
}

function textOf(parts: ZipParts, name: string): string {
  const bytes = parts.read(name);
  return bytes === undefined ? "" : new TextDecoder(bytes[0] === 0xff ? "utf-16le" : "utf-8").decode(bytes);
}

/** The part that holds a sheet: the one of that name, or the first. */
function sheetPart(parts: ZipParts, wanted: string | undefined): { part: string } | { names: string[] } {
  const sheets = openTags(textOf(parts, "xl/workbook.xml"), "sheet").map((of) => ({
    name: attribute(of, "name") ?? "",
    // `r:id`; `sheetId` is another attribute.
    id: attribute(of, "id"),
  }));
  const sheet = wanted === undefined ? sheets[0] : sheets.find(({ name }) => name === wanted);
  const relations = openTags(textOf(parts, "xl/_rels/workbook.xml.rels"), "Relationship");
  const relation = relations.find((of) => sheet !== undefined && attribute(of, "Id") === sheet.id);
  const target = relation === undefined ? undefined : attribute(relation, "Target");
  if (target === undefined) return { names: sheets.map(({ name }) => name) };
  return { part: target.startsWith("/") ? target.slice(1) : `xl/${target}` };
}

/** Column of `AB12`, from 0. */
function columnOf(reference: string): number {
  let column = 0;
  for (const letter of /^[A-Z]{1,3}/.exec(reference)?.[0] ?? "") column = 26 * column + letter.charCodeAt(0) - 64;
  return column - 1;
}

type Cell = { column: number; kind: string; style: number; value: string; hasFormula: boolean };

/** The content of a cell as text, or what is wrong with it. */
function contentOf(
  cell: Cell,
  texts: readonly string[],
  dates: readonly boolean[],
): string | Omit<LineFault, "line" | "path"> {
  const { kind, value, style, hasFormula } = cell;
  // A result that is an empty text is one.
  if (hasFormula && value === "" && kind !== "str") {
    const remedy = "open the file in a spreadsheet program and save it, or write the value in place of the formula";
    return { found: "a formula without its result", expected: "a value", remedy };
  }
  if (kind === "e") return { found: `error ${value}`, expected: "a value", remedy: "correct the formula" };
  if (kind === "d" || ((kind === "n" || kind === "") && value !== "" && dates[style])) {
    const remedy =
      "format the cell as text and write it again: the spreadsheet made a date of what was typed, such as 1-2";
    return { found: "a date", expected: "a text or a number", remedy };
  }
  if (kind === "s") return (texts[Number(value)] ?? "").trim();
  if (kind === "b") return value === "1" ? "true" : "false";
  if (kind === "str" || kind === "inlineStr") return value.trim();
  // 0.1 is stored as 0.10000000000000001: its shortest form is what was typed.
  return value === "" || Number.isNaN(Number(value)) ? value.trim() : String(Number(value));
}

function readRows(text: string, texts: readonly string[], dates: readonly boolean[]): Sheet {
  const rows: SheetRow[] = [];
  const faults: LineFault[] = [];
  let line = 0;
  let cells: string[] = [];
  let cell: Cell | undefined;
  let takes = false;
  for (const piece of xmlPieces(text)) {
    if (piece.kind === "text") {
      if (takes && cell && cell.value.length <= bounds.cellCharacters) cell.value += piece.text;
      continue;
    }
    const { name } = piece;
    const opens = piece.kind === "open";
    if (name === "row" && opens) {
      line = Number(attribute(piece.attributes, "r") ?? line + 1);
      cells = [];
    } else if (name === "c" && opens) {
      const reference = attribute(piece.attributes, "r");
      const column = reference === undefined ? cells.length : columnOf(reference);
      const kind = attribute(piece.attributes, "t") ?? "";
      const style = Number(attribute(piece.attributes, "s") ?? 0);
      cell = { column, kind, style, value: "", hasFormula: false };
    } else if (cell && name === "f" && opens) cell.hasFormula = true;
    else if (cell && (name === "v" || name === "t")) takes = opens && !piece.isEmpty;
    if (name === "c" && cell && (!opens || piece.isEmpty)) {
      if (cell.column < 0 || cell.column >= bounds.columns) return tooLarge("columns", line);
      if (cell.value.length > bounds.cellCharacters) return tooLarge("cellCharacters", line);
      while (cells.length < cell.column) cells.push("");
      const content = contentOf(cell, texts, dates);
      cells[cell.column] = typeof content === "string" ? content : "";
      if (typeof content !== "string") faults.push({ line, path: `column ${columnName(cell.column)}`, ...content });
      cell = undefined;
    }
    if (name === "row" && (!opens || piece.isEmpty)) {
      if (cells.some((one) => one !== "")) rows.push({ line, cells });
      if (rows.length > bounds.rows + 1) return tooLarge("rows", line);
    }
  }
  return { rows, faults };
}

/**
 * Reads a sheet of a workbook (.xlsx, ECMA-376): texts, numbers in their shortest form, results of formulas as they were saved. Dates and
 * errors are faults. Bounded whatever the file is.
 * @param wanted name of the sheet; the first when left out
 */
export function readXlsx(file: Buffer, wanted?: string): Sheet {
  const remedy = "save it as .xlsx (Excel workbook) without a password, or as CSV UTF-8";
  try {
    // The head of the old .xls, and of a workbook with a password.
    if (file.length >= 4 && file.readUInt32BE(0) === 0xd0cf11e0) throw new Error("an old .xls, or one with a password");
    const parts = openZip(file);
    const found = sheetPart(parts, wanted);
    if ("names" in found) {
      const which = wanted === undefined ? "no sheet" : `no sheet "${wanted}"`;
      return unreadable(
        which,
        `one of ${found.names.join(", ")}`,
        "give the sheet's name with --sheet, or save it anew",
      );
    }
    const dates = dateStyles(textOf(parts, "xl/styles.xml"));
    const texts = sharedTexts(textOf(parts, "xl/sharedStrings.xml"));
    return readRows(textOf(parts, found.part), texts, dates);
  } catch (thrown) {
    const why = thrown instanceof RangeError ? "a zip file that is cut off or damaged" : messageOf(thrown);
    return unreadable(why, "a workbook as spreadsheet programs save it", remedy);
  }
}
