import { readGatewayConfig } from "../config.ts";
import { byteOrders, type ModbusTag } from "../drivers/modbus-config.ts";
import { registerTypes } from "../drivers/modbus-facts.ts";
import { type Column, columnNames, readHeadings } from "./columns.ts";
import type { LineFault, Sheet, SheetRow } from "./sheet.ts";
import { type Place, readFactor, readOrder, readPlace, readRole, readTable, readType, readUnit } from "./values.ts";

/** How numbers of five and six digits such as 40001 are taken: as the manual's, as on the wire, or as the table itself suggests. */
export type AddressMode = "auto" | "wire" | "manual";

/** A tag as it goes into a configuration, with the line that it came from. */
export type ImportedTag = {
  readonly line: number;
  readonly note: string;
  /** Keys in the order in which people read them; what is not said is left to the configuration's defaults. */
  readonly keys: Readonly<Record<string, unknown>>;
};

export type ImportedDevice = {
  readonly keys: Readonly<Record<string, unknown>>;
  readonly tags: readonly ImportedTag[];
};

export type Imported = {
  /** Of the device that the tags belong to; one without keys where the table does not say it. */
  readonly devices: readonly ImportedDevice[];
  /** What was understood otherwise than it is written, and what was left out. */
  readonly notes: readonly string[];
  readonly faults: readonly LineFault[];
};

/** Tags are checked in parts: a configuration of 100,000 at once would take minutes. */
const checkedTogether = 500;
const mostNamed = 5;

type Read = {
  readonly get: (column: Column) => string;
  readonly fault: (column: Column, expected: string, remedy: string) => undefined;
};

/** A value that its column understands; a fault where it does not. Empty cells are undefined. */
function cellOf<T>(row: Read, column: Column, read: (text: string) => T | undefined, expected: string): T | undefined {
  const text = row.get(column);
  if (text === "") return undefined;
  return read(text) ?? row.fault(column, expected, "correct the cell, or leave it empty");
}

const types = Object.keys(registerTypes).join(", ");
const bitOf = (text: string) => (/^\d{1,2}$/.test(text) && Number(text) <= 15 ? Number(text) : undefined);
const countOf = (text: string) => (/^\d{1,3}$/.test(text) ? Number(text) : undefined);
const numberOf = (text: string) => (/^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : undefined);

/** The type where none is given: bits are bools; of registers only a person knows. */
function typeOfRow(row: Read, table: ModbusTag["table"]): string | undefined {
  const isBit = table === "coil" || table === "discrete";
  if (row.get("type") === "" && isBit) return "bool";
  if (row.get("type") === "") return row.fault("type", `one of ${types}`, "take the type from the device's manual");
  return cellOf(row, "type", readType, `one of ${types}, or a name of IEC 61131-3 such as REAL`);
}

/** Whether addresses such as 40001 are a manual's: in rows that name a table, and in those that do not. */
type Manual = { readonly named: boolean; readonly unnamed: boolean };

/** A place that reads: its table, address and bit. */
function placeOf(row: Read, manual: Manual): Place | undefined {
  const table = cellOf(row, "table", readTable, "holding (3), input (4), coil (1) or discrete (2)");
  if (row.get("table") !== "" && table === undefined) return undefined;
  const text = row.get("address");
  const isUnnamed = table === undefined && !manual.unnamed;
  const place = readPlace(text, isUnnamed ? "holding" : table, manual.named && !isUnnamed);
  if (place === undefined) {
    const expected = "a number from 0, 40001, 4x0001, 0x64 or 64H; with a bit 40001.5";
    return row.fault(
      "address",
      expected,
      "write the Modbus address; names such as D100 are those of the PLC's program",
    );
  }
  if (table !== undefined && place.table !== undefined && place.table !== table) {
    return row.fault(
      "address",
      `an address of table ${table}`,
      `correct it or the table: ${text} is of ${place.table}`,
    );
  }
  return { ...place, table: place.table ?? table ?? "holding" };
}

function keysOf(row: Read, manual: Manual): { keys: ImportedTag["keys"]; place: Place } | undefined {
  const place = placeOf(row, manual);
  const type = place?.table === undefined ? undefined : typeOfRow(row, place.table);
  const order = cellOf(row, "order", readOrder, `one of ${byteOrders.join(", ")}`);
  const scale = cellOf(row, "scale", readFactor, "a factor such as 0.1, 1/10 or 10, not 0");
  const bit = cellOf(row, "bit", bitOf, "a bit from 0 to 15") ?? place?.bit;
  const lengthRegisters = cellOf(row, "lengthRegisters", countOf, "the registers that a string takes");
  const role = cellOf(row, "role", readRole, "a role of the configuration such as energy.import, or its Chinese name");
  const deadband = cellOf(row, "deadband", numberOf, "a number from 0");
  const unit = readUnit(row.get("unit"));
  if (place === undefined) return undefined;
  const isScaled = scale !== undefined && scale.numerator !== scale.denominator;
  const keys = {
    name: row.get("name"),
    table: place.table,
    address: place.address,
    type,
    bit,
    lengthRegisters,
    // One register has no order of registers; a byte order is worth saying.
    order,
    scale: isScaled ? scale : undefined,
    unit: unit === "" ? undefined : unit,
    role,
    carrier: row.get("carrier") || undefined,
    product: row.get("product") || undefined,
    deadband,
  };
  return { keys: Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== undefined)), place };
}

/** Whether all of these rows write their addresses as manuals do: a number from 40001 up may also be one on the wire. */
function writeManual(rows: readonly Read[]): boolean {
  return rows.every((row) => {
    const table = row.get("table") === "" ? undefined : readTable(row.get("table"));
    return readPlace(row.get("address"), table, true)?.from === "manual";
  });
}

/** What is said once for all rows: a count, and the first few. */
function noteOf(what: string, examples: readonly string[]): string[] {
  if (examples.length === 0) return [];
  const more = examples.length > mostNamed ? ` and ${examples.length - mostNamed} more` : "";
  return [`${what}: ${examples.slice(0, mostNamed).join(", ")}${more}`];
}

type DeviceColumns = Record<"device" | "host" | "port" | "unitId", string>;

/** The device of each row: cells left empty go on from the row above, as merged cells do. */
function devicesOf(rows: readonly Read[]): DeviceColumns[] {
  const at: DeviceColumns[] = [];
  const first = new Map<string, DeviceColumns>();
  let before: DeviceColumns = { device: "", host: "", port: "", unitId: "" };
  for (const row of rows) {
    const device = row.get("device") || before.device;
    const known = first.get(device);
    const base = known ?? { device, host: "", port: "", unitId: "" };
    const now = { ...base, device };
    for (const column of ["host", "port", "unitId"] as const) {
      const text = row.get(column);
      if (text === "") continue;
      if (known !== undefined && known[column] !== text) {
        const expected = `"${known[column]}", as in the device's first row`;
        row.fault(column, expected, "one device has one address and unit; give another device another name");
      }
      now[column] = text;
    }
    if (known === undefined) first.set(device, now);
    before = known ?? now;
    at.push(before);
  }
  return at;
}

/** Keys of a device as they go into a configuration. */
function deviceKeys({ device, host, port, unitId }: DeviceColumns): Record<string, unknown> {
  const number = (text: string) => (/^\d{1,5}$/.test(text) ? Number(text) : text);
  return {
    id: device,
    driver: "modbus-tcp",
    ...(host === "" ? {} : { host }),
    ...(port === "" ? {} : { port: number(port) }),
    unitId: unitId === "" ? 1 : number(unitId),
  };
}

/** The faults that the gateway's own check finds in a device's tags, at their lines. */
function checkedFaults(device: ImportedDevice): LineFault[] {
  const faults: LineFault[] = [];
  for (let from = 0; from < device.tags.length; from += checkedTogether) {
    const part = device.tags.slice(from, from + checkedTogether);
    const keys = "id" in device.keys ? device.keys : { id: "device", driver: "modbus-tcp", host: "host", unitId: 1 };
    const devices = [{ ...keys, tags: part.map((tag) => tag.keys) }];
    const config = { group: "g", node: "n", broker: { host: "h" }, outbox: { path: "p" }, devices };
    const read = readGatewayConfig(JSON.stringify(config), "");
    if (read.ok) continue;
    for (const { path, found, expected, remedy } of read.faults) {
      const [, tag, key] = /^\/devices\/0\/tags\/(\d+)\/?(.*)$/.exec(path) ?? [];
      // What is wrong with the device itself stands in its first row, and is told once.
      if (tag === undefined && from > 0) continue;
      const line = part[Number(tag ?? 0)]?.line ?? 0;
      faults.push({ line, path: key ?? path.replace("/devices/0/", "device "), found, expected, remedy });
    }
  }
  return faults;
}

/** Names that differ only by case, over all parts that were checked. */
function doubledNames({ tags }: ImportedDevice): LineFault[] {
  const lines = new Map<string, number>();
  return tags.flatMap(({ line, keys }) => {
    const name = String(keys.name);
    const first = lines.get(name.toLowerCase());
    if (first === undefined) lines.set(name.toLowerCase(), line);
    const expected = `a name used once in its device; it is already in line ${first}`;
    return first === undefined ? [] : [{ line, path: "name", found: name, expected, remedy: "give each its own" }];
  });
}

/** Two devices at one unit, of which each register would be read and counted twice. */
function doubledUnits(devices: readonly ImportedDevice[]): LineFault[] {
  const seen = new Map<string, unknown>();
  return devices.flatMap(({ keys, tags }) => {
    const unit = `${String(keys.host).toLowerCase()}:${keys.port ?? 502} unit ${keys.unitId}`;
    const other = seen.get(unit);
    seen.set(unit, keys.id);
    if (other === undefined || keys.host === undefined) return [];
    const expected = `a unit of its own; ${other} has it already`;
    const remedy = "give the devices different units, or one name";
    return [{ line: tags[0]?.line ?? 0, path: "device unitId", found: unit, expected, remedy }];
  });
}

function notesOf(tags: readonly { row: Read; line: number; place: Place }[]): string[] {
  const manual = tags.filter(({ place }) => place.from === "manual");
  const hexadecimal = tags.filter(({ place }) => place.from === "hexadecimal");
  const shown = ({ row, place }: (typeof tags)[number]) => `${row.get("address")} is ${place.table} ${place.address}`;
  const assumed = tags.filter(({ row, place }) => row.get("table") === "" && place.from !== "manual");
  const units = tags.filter(({ row }) => readUnit(row.get("unit")) !== row.get("unit"));
  const spelled = new Set(units.map(({ row }) => `${row.get("unit")} is ${readUnit(row.get("unit"))}`));
  return [
    ...noteOf("addresses counted from 1, as manuals do (--addresses wire takes them as they are)", manual.map(shown)),
    ...noteOf("hexadecimal addresses", hexadecimal.map(shown)),
    ...noteOf(
      "no table given, holding assumed, in lines",
      assumed.map(({ line }) => String(line)),
    ),
    ...noteOf("units in the spelling of roles", [...spelled]),
  ];
}

/** @property device of all tags, where the table does not say it */
export type ImportOptions = { readonly addresses: AddressMode; readonly device?: Readonly<Record<string, unknown>> };

/**
 * Makes tags of a table: the first row holds headings (columns.ts), each other row a tag. What comes back without faults passes the
 * gateway's check. Pure.
 */
export function importTags(sheet: Sheet, { addresses, device }: ImportOptions): Imported {
  const none = { devices: [], notes: [] };
  const [head, ...body] = sheet.rows;
  if (head === undefined) {
    const empty = { line: 0, path: "", found: "nothing", expected: "a table", remedy: "see import --template" };
    return { ...none, faults: sheet.faults.length > 0 ? sheet.faults : [empty] };
  }
  const headings = readHeadings(head);
  const faults: LineFault[] = [...sheet.faults, ...headings.faults];
  if (device !== undefined && headings.at.has("device")) {
    const remedy = "leave --device and --host out, or take the column out of the list";
    faults.push({ line: head.line, path: "device", found: "a column and an option", expected: "one", remedy });
  }
  if (headings.faults.length > 0) return { ...none, faults };
  const rows = body.map((row) => readerOf(row, headings.at, head, faults));
  const named = rows.filter((row) => row.get("table") !== "");
  const unnamed = rows.filter((row) => row.get("table") === "");
  const takes = (some: readonly Read[]) => addresses === "manual" || (addresses === "auto" && writeManual(some));
  const manual: Manual = { named: takes(named), unnamed: takes(unnamed) };
  const of = devicesOf(rows);
  const found = rows.flatMap((row, i) => {
    const read = keysOf(row, manual);
    if (read === undefined) return [];
    const line = body[i]?.line ?? 0;
    return [{ row, line, device: of[i] as DeviceColumns, note: row.get("note"), ...read }];
  });
  const groups = Map.groupBy(found, (one) => one.device.device);
  const devices = [...groups.values()].map((tags) => ({
    keys: headings.at.has("device") ? deviceKeys((tags[0] as (typeof tags)[number]).device) : (device ?? {}),
    tags: tags.map(({ line, note, keys }) => ({ line, note, keys })),
  }));
  if (body.length === 0) {
    faults.push({
      line: head.line,
      path: "",
      found: "headings alone",
      expected: "a row for each tag",
      remedy: "add rows",
    });
  }
  // A row that was not understood would be found wrong twice.
  const told = new Set(faults.map(({ line }) => line));
  const understood = devices.map(({ keys, tags }) => ({ keys, tags: tags.filter(({ line }) => !told.has(line)) }));
  const checked = [...understood.flatMap(checkedFaults), ...devices.flatMap(doubledNames)];
  const more = new Map([...checked, ...doubledUnits(devices)].map((fault) => [`${fault.line} ${fault.path}`, fault]));
  const left = noteOf("columns that are not used", headings.unknown);
  const others = [...more.values()].filter(({ line }) => !told.has(line));
  const sorted = [...faults, ...others].sort((a, b) => a.line - b.line);
  return { devices, notes: [...notesOf(found), ...left], faults: sorted };
}

function readerOf(row: SheetRow, at: ReadonlyMap<Column, number>, head: SheetRow, faults: LineFault[]): Read {
  const get = (column: Column) => row.cells[at.get(column) ?? -1] ?? "";
  return {
    get,
    fault: (column, expected, remedy) => {
      const path = head.cells[at.get(column) ?? -1] ?? columnNames[column][1];
      const found = get(column);
      faults.push({ line: row.line, path, found: found === "" ? "nothing" : JSON.stringify(found), expected, remedy });
      return undefined;
    },
  };
}
