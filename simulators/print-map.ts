/** Register maps for people: Markdown for the README, columns for a terminal. */
import { readFile, writeFile } from "node:fs/promises";
import { PROFILE_NAMES, type ProfileName } from "./profiles.ts";
import { type DeviceMap, type Point, registerMapOf } from "./register-map.ts";

const HEADER = ["point", "table", "address", "type", "order", "scale", "unit", "role", "modulus"] as const;

function cells(point: Point): readonly string[] {
  return [
    point.name,
    point.table,
    String(point.address),
    point.type,
    point.order,
    `${point.scale.numerator}/${point.scale.denominator}`,
    point.unit,
    point.role,
    point.modulus?.toString() ?? "",
  ];
}

function heading({ unitId, device, label, order }: DeviceMap): string {
  return `unit ${unitId}: ${device}, ${label.en} (${label.zh}), ${order}`;
}

function reservedNote({ reserved }: DeviceMap): string | undefined {
  if (reserved.length === 0) return undefined;
  const ranges = reserved.map(({ table, address, quantity }) => `${table} ${address} to ${address + quantity - 1}`);
  return `Reserved, reads as 0: ${ranges.join(", ")}.`;
}

function columnWidths(rows: readonly (readonly string[])[]): readonly number[] {
  return HEADER.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
}

/** Aligned as the formatter aligns Markdown, so that the two never disagree. */
function alignedTable(body: readonly (readonly string[])[]): readonly string[] {
  const widths = columnWidths([HEADER, ...body]);
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(HEADER), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(line)];
}

/** The tables of one profile in Markdown. */
export function printMarkdown(profile: ProfileName): string {
  const map = registerMapOf(profile);
  const lines = [`### ${profile}: ${map.label.en} (${map.label.zh}), product ${map.product}`, ""];
  for (const device of map.devices) {
    lines.push(`#### ${heading(device)}`, "");
    lines.push(...alignedTable(device.points.map(cells)), "");
    const note = reservedNote(device);
    if (note !== undefined) lines.push(note, "");
  }
  return lines.join("\n");
}

/** The tables of one profile in columns. */
export function printColumns(profile: ProfileName): string {
  const map = registerMapOf(profile);
  const rows = [HEADER, ...map.points.map(cells)];
  const widths = columnWidths(rows);
  const line = (row: readonly string[]): string => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`;
  const blocks = map.devices.flatMap((device) => {
    const note = reservedNote(device);
    const table = [heading(device), line(HEADER), ...device.points.map((point) => line(cells(point)))];
    return [...table, ...(note === undefined ? [] : [`  ${note}`]), ""];
  });
  return blocks.map((text) => text.trimEnd()).join("\n");
}

const BEGIN = "<!-- register-map: begin; made by `npm run simulate -- --print-map readme` -->";
const END = "<!-- register-map: end -->";

/** All profiles between the marks that the README has. */
export function printReadmeSection(): string {
  return `${BEGIN}\n\n${PROFILE_NAMES.map(printMarkdown).join("\n")}\n${END}`;
}

/** Puts the tables into a README between its marks. Throws if the marks are not there. */
export async function updateReadme(path: URL): Promise<void> {
  const text = await readFile(path, "utf8");
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${path.pathname} lacks the marks "${BEGIN}" and "${END}"`);
  await writeFile(path, text.slice(0, begin) + printReadmeSection() + text.slice(end + END.length));
}
