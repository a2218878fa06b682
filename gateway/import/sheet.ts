import type { Fault } from "@jilian/domain/check-config.ts";

/** A row of a table as it was found: cells as text, blanks around them removed. */
export type SheetRow = { readonly line: number; readonly cells: readonly string[] };

/** What is wrong at a line; the caller knows the file. */
export type LineFault = Omit<Fault, "file" | "variable">;

/** A table: its rows without the empty ones, and the cells that hold what cannot be taken. */
export type Sheet = { readonly rows: readonly SheetRow[]; readonly faults: readonly LineFault[] };

export const bounds = {
  fileBytes: 32 * 1024 * 1024,
  rows: 100_000,
  columns: 256,
  cellCharacters: 4096,
} as const;

/** A file that cannot be read at all, in the form of a fault. */
export function unreadable(found: string, expected: string, remedy: string, line = 0): Sheet {
  return { rows: [], faults: [{ line, path: "", found, expected, remedy }] };
}

export function tooLarge(what: keyof typeof bounds, line: number): Sheet {
  const words = { fileBytes: "bytes", rows: "rows", columns: "columns", cellCharacters: "characters in a cell" }[what];
  return unreadable(`more than ${bounds[what]} ${words}`, `at most ${bounds[what]}`, "divide the table", line);
}

/** `A`, `B`, ... `AA`: how spreadsheets call a column. @param index from 0 */
export function columnName(index: number): string {
  const last = String.fromCharCode(65 + (index % 26));
  return index < 26 ? last : columnName(Math.floor(index / 26) - 1) + last;
}
