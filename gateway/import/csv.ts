import { bounds, type Sheet, type SheetRow, tooLarge, unreadable } from "./sheet.ts";

const separators = [",", ";", "\t"] as const;

/** The text of a file: UTF-8 or UTF-16 with their marks, UTF-8 without, else GBK, which Chinese spreadsheets write. */
export function decodeText(bytes: Uint8Array): string | undefined {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  for (const encoding of ["utf-8", "gbk"]) {
    try {
      // Takes the mark of UTF-8 away.
      const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
      return text.includes("\0") ? undefined : text;
    } catch {
      // Not in this encoding.
    }
  }
  return undefined;
}

/** The separator that stands most often in the first line with content, outside of quotes. */
function separatorOf(text: string): string {
  const line =
    text
      .slice(0, 100_000)
      .trimStart()
      .split(/\r?\n|\r/)[0] ?? "";
  const plain = line.replaceAll(/"[^"]*"/g, "");
  const counts = separators.map((separator) => plain.split(separator).length);
  return separators[counts.indexOf(Math.max(...counts))] as string;
}

/**
 * Reads a table of text (RFC 4180): fields in quotes may hold separators, line ends and doubled quotes. The separator `,`, `;` or tab is
 * recognised. Pure.
 * @param bytes UTF-8 with or without mark, UTF-16 with mark, or GBK
 */
export function readCsv(bytes: Uint8Array): Sheet {
  const text = decodeText(bytes);
  if (text === undefined) {
    return unreadable("neither UTF-8 nor GBK", "a text file", "save the table as CSV UTF-8, or give the .xlsx itself");
  }
  return rowsOf(text, separatorOf(text));
}

function rowsOf(text: string, separator: string): Sheet {
  const rows: SheetRow[] = [];
  let cells: string[] = [];
  let line = 1;
  let rowLine = 1;
  let at = 0;

  /** The text in quotes that begins here; undefined where they do not end. */
  function quoted(): string | undefined {
    const parts: string[] = [];
    for (let from = at + 1; ; ) {
      const end = text.indexOf('"', from);
      if (end < 0) return undefined;
      parts.push(text.slice(from, end));
      at = end + 1;
      if (text[at] !== '"') break;
      parts.push('"');
      from = at + 1;
    }
    const whole = parts.join("");
    line += whole.split("\n").length - 1;
    return whole;
  }

  function plainEnd(): number {
    let end = at;
    while (end < text.length && text[end] !== separator && text[end] !== "\n" && text[end] !== "\r") end += 1;
    return end;
  }

  while (at < text.length) {
    let cell = "";
    if (text[at] === '"') {
      const whole = quoted();
      if (whole === undefined) {
        return unreadable('a " without its end', 'quotes in pairs; a " in a text doubled', "close the quotes", rowLine);
      }
      cell = whole;
    }
    const end = plainEnd();
    cell += text.slice(at, end);
    if (cell.length > bounds.cellCharacters) return tooLarge("cellCharacters", line);
    cells.push(cell.trim());
    if (cells.length > bounds.columns) return tooLarge("columns", line);
    at = end + 1;
    if (text[end] === separator && at < text.length) continue;
    if (text[end] === "\r" && text[at] === "\n") at += 1;
    if (cells.some((one) => one !== "")) rows.push({ line: rowLine, cells });
    if (rows.length > bounds.rows + 1) return tooLarge("rows", line);
    cells = [];
    line += 1;
    rowLine = line;
  }
  return { rows, faults: [] };
}
