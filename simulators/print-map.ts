/** Register maps for people: Markdown for the README, columns for a terminal. */
import { readFile, writeFile } from "node:fs/promises";
import { type OpcuaPoint, opcuaMapOf } from "./opcua-map.ts";
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

const OPCUA_HEADER = ["point", "node id", "type", "served in", "scale", "unit", "role", "modulus"] as const;

function opcuaCells(point: OpcuaPoint): readonly string[] {
  return [
    point.name,
    `s=${point.identifier}`,
    point.dataType,
    point.engineeringUnit?.symbol ?? "",
    `${point.scale.numerator}/${point.scale.denominator}`,
    point.unit,
    point.role,
    point.modulus?.toString() ?? "",
  ];
}

function columnWidths(rows: readonly (readonly string[])[]): readonly number[] {
  return (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
}

function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = columnWidths(rows);
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd());
}

/** Aligned as the formatter aligns Markdown, so that the two never disagree. */
function alignedTable(header: readonly string[], body: readonly (readonly string[])[]): readonly string[] {
  const widths = columnWidths([header, ...body]);
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(header), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(line)];
}

/** The tables of one profile in Markdown. */
export function printMarkdown(profile: ProfileName): string {
  const map = registerMapOf(profile);
  const lines = [`### ${profile}: ${map.label.en} (${map.label.zh}), product ${map.product}`, ""];
  for (const device of map.devices) {
    lines.push(`#### ${heading(device)}`, "");
    lines.push(...alignedTable(HEADER, device.points.map(cells)), "");
    const note = reservedNote(device);
    if (note !== undefined) lines.push(note, "");
  }
  return lines.join("\n");
}

/** The tables of one profile in columns. */
export function printColumns(profile: ProfileName): string {
  const map = registerMapOf(profile);
  const [head = "", ...lines] = columns([HEADER, ...map.points.map(cells)]);
  const blocks = map.devices.flatMap((device) => {
    const note = reservedNote(device);
    const own = lines.splice(0, device.points.length);
    return [heading(device), head, ...own, ...(note === undefined ? [] : [`  ${note}`]), ""];
  });
  return blocks.map((text) => text.trimEnd()).join("\n");
}

/** The OPC UA variables of one profile in columns. */
export function printOpcuaColumns(profile: ProfileName): string {
  const { namespaceUri, points } = opcuaMapOf(profile);
  return [`nodes of the namespace ${namespaceUri}`, ...columns([OPCUA_HEADER, ...points.map(opcuaCells)])].join("\n");
}

/** The OPC UA variables in Markdown; all profiles have the same. */
function printOpcuaMarkdown(): string {
  const { namespaceUri, points } = opcuaMapOf(PROFILE_NAMES[0]);
  const table = alignedTable(OPCUA_HEADER, points.map(opcuaCells));
  return [`### OPC UA, all profiles: namespace ${namespaceUri}`, "", ...table, ""].join("\n");
}

const BEGIN = "<!-- register-map: begin; made by `npm run simulate -- --print-map readme` -->";
const END = "<!-- register-map: end -->";

/** All profiles between the marks that the README has. */
export function printReadmeSection(): string {
  return `${BEGIN}\n\n${[...PROFILE_NAMES.map(printMarkdown), printOpcuaMarkdown()].join("\n")}\n${END}`;
}

/** Puts the tables into a README between its marks. Throws if the marks are not there. */
export async function updateReadme(path: URL): Promise<void> {
  const text = await readFile(path, "utf8");
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${path.pathname} lacks the marks "${BEGIN}" and "${END}"`);
  await writeFile(path, text.slice(0, begin) + printReadmeSection() + text.slice(end + END.length));
}
