import { readFileSync, statSync } from "node:fs";
import { type Fault, formatFaults } from "@jilian/domain/check-config.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { columnNames, columns } from "../import/columns.ts";
import { readCsv } from "../import/csv.ts";
import { bounds, type Sheet } from "../import/sheet.ts";
import { type AddressMode, type ImportedDevice, type ImportedTag, importTags } from "../import/tags.ts";
import { readXlsx } from "../import/xlsx.ts";
import { argumentsOf, type CommandIo, plainText, usage, wholeNumber } from "./io.ts";

const help = `jilian-gateway import tags.csv|tags.xlsx [options] > tags.yaml   makes tags of a list from a spreadsheet

  --template              prints an empty list with headings, to begin with: import --template > tags.csv
  --device ID --host HOST [--port 502] [--unit-id 1]
                          prints the whole device, not its tags alone; not where the list has a column for the device
  --sheet NAME            sheet of a workbook; the first when left out
  --addresses wire|manual numbers such as 40001: as they are, or counted from 1 as manuals do (40001 is holding 0). When left out they are
                          a manual's where all addresses of the rows with a table are written so, and of those without one

Headings are understood in Chinese and English. Needed: 名称/name, 地址/address, and 类型/type but for coils and discrete inputs. Possible:
表/table (also 功能码: 3 holding, 4 input, 1 coil, 2 discrete), 字节序/order, 系数/scale, 单位/unit, 角色/role, 位/bit, 说明/note, ...; with
设备/device, IP地址/host, 端口/port, 站号/unitid whole devices are printed. CSV may be UTF-8 or GBK, parted by comma, semicolon or tab.

What is printed passes check; what was understood otherwise than written is said on standard error. Faults are told by line, all at once,
and nothing is printed then.
Exit codes: 0 done, 2 faults in the list, wrong arguments.
`;

const options = {
  template: { type: "boolean", default: false },
  device: { type: "string" },
  host: { type: "string" },
  port: { type: "string" },
  "unit-id": { type: "string" },
  sheet: { type: "string" },
  addresses: { type: "string" },
} as const;

const mostFaults = 100;

const examples: Partial<Record<(typeof columns)[number], readonly [string, string, string]>> = {
  name: ["voltage-l1", "energy-import", "running"],
  table: ["3", "3", "1"],
  address: ["0", "100", "0"],
  type: ["float32", "uint32", "bool"],
  order: ["ABCD", "CDAB", ""],
  scale: ["", "0.01", ""],
  unit: ["V", "kWh", ""],
  role: ["", "energy.import", ""],
  note: ["A相电压", "正向有功电能", "运行信号"],
};

/** A list to begin with. The mark of UTF-8 in front lets Excel read the Chinese headings. */
function template(): string {
  const used = columns.filter((column) => examples[column] !== undefined || column === "bit");
  const rows = [0, 1, 2].map((i) => used.map((column) => examples[column]?.[i] ?? ""));
  return `\ufeff${[used.map((column) => columnNames[column][0]), ...rows].map((row) => row.join(",")).join("\n")}`;
}

/** A value as YAML in flow style: plain where it can be nothing else. */
function yamlOf(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, one]) => `${key}: ${yamlOf(one)}`);
    return `{ ${entries.join(", ")} }`;
  }
  const isPlain = typeof value === "string" && /^[A-Za-z°][\w./°-]*$/.test(value);
  const isWord = isPlain && /^(true|false|null|yes|no|on|off|y|n)$/i.test(value);
  return isPlain && !isWord ? value : JSON.stringify(value);
}

function tagLine({ keys, note }: ImportedTag): string {
  return `- ${yamlOf(keys)}${note === "" ? "" : ` # ${plainText(note)}`}`;
}

function deviceLines({ keys, tags }: ImportedDevice): string[] {
  const [first = "", ...rest] = Object.entries(keys).map(([key, value]) => `${key}: ${yamlOf(value)}`);
  return [`- ${first}`, ...rest.map((line) => `  ${line}`), "  tags:", ...tags.map((tag) => `    ${tagLine(tag)}`)];
}

function readSheet(file: string, sheet: string | undefined): Sheet | string {
  try {
    const { size } = statSync(file);
    if (size > bounds.fileBytes) return `${file}: ${size} bytes; expected at most ${bounds.fileBytes}`;
    const bytes = readFileSync(file);
    // By what it is, not by its name: both begin in their own way.
    const isWorkbook = /\.xls[xm]?$/i.test(file) || bytes.subarray(0, 2).toString("latin1") === "PK";
    return isWorkbook ? readXlsx(bytes, sheet) : readCsv(bytes);
  } catch (thrown) {
    return `${file}: cannot be read (${messageOf(thrown)})\n  remedy: give the path of the file, or make it readable`;
  }
}

/** Those that are shown, and how many more there are. */
function faultsText(file: string, faults: readonly Omit<Fault, "file">[]): string {
  const shown = faults.slice(0, mostFaults).map((fault) => ({ ...fault, file, found: plainText(fault.found) }));
  const text = formatFaults(shown, "nothing was printed");
  return faults.length > mostFaults ? `${text}\n${faults.length - mostFaults} more faults are not shown.` : text;
}

function print(devices: readonly ImportedDevice[], io: CommandIo): void {
  for (const device of devices) {
    const isWhole = Object.keys(device.keys).length > 0;
    for (const line of isWhole ? deviceLines(device) : device.tags.map(tagLine)) io.print(line);
  }
}

/** `jilian-gateway import`. @returns the exit code */
export async function importCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const parsed = argumentsOf(args, options, help, io);
  if (typeof parsed === "number") return parsed;
  const { template: isTemplate, device, host, sheet: sheetName, addresses = "auto", ...numbers } = parsed.values;
  if (isTemplate) {
    io.print(template());
    return 0;
  }
  const [file, ...rest] = parsed.positionals;
  if (file === undefined) return usage("the file is missing", help, io);
  if (rest.length > 0) return usage(`unknown: ${rest.join(" ")}`, help, io);
  if ((device === undefined) !== (host === undefined)) return usage("--device and --host belong together", help, io);
  const port = wholeNumber(numbers.port, 1, 65_535, 502);
  const unitId = wholeNumber(numbers["unit-id"], 0, 255, 1);
  if (port === undefined) return usage("--port: expected 1-65535", help, io);
  if (unitId === undefined) return usage("--unit-id: expected 0-255", help, io);
  if (!["auto", "wire", "manual"].includes(addresses)) return usage("--addresses: expected wire or manual", help, io);
  const sheet = readSheet(file, sheetName);
  if (typeof sheet === "string") {
    io.complain(sheet);
    return 2;
  }
  const keys = device === undefined ? {} : { device: { id: device, driver: "modbus-tcp", host, port, unitId } };
  const { devices, notes, faults } = importTags(sheet, { addresses: addresses as AddressMode, ...keys });
  if (faults.length > 0) {
    io.complain(faultsText(file, faults));
    return 2;
  }
  for (const note of notes) io.complain(`note: ${plainText(note)}`);
  print(devices, io);
  return 0;
}
