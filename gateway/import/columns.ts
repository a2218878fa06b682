import type { LineFault, SheetRow } from "./sheet.ts";

/** What a column can hold, and how tag lists call it; the first two names are those of the template. */
export const columnNames = {
  device: ["设备", "device", "设备编号", "设备名称", "deviceid", "plc"],
  host: ["IP地址", "host", "主机", "ip", "ipaddress", "地址ip"],
  port: ["端口", "port", "端口号"],
  unitId: ["站号", "unitid", "从站号", "从站地址", "从站", "单元号", "slave", "slaveid", "stationno", "station"],
  name: ["名称", "name", "变量名", "变量名称", "点名", "点位名称", "标签", "标签名", "tag", "tagname"],
  table: ["表", "table", "功能码", "寄存器类型", "寄存器区", "function", "functioncode", "fc", "area"],
  address: ["地址", "address", "寄存器地址", "起始地址", "寄存器", "register", "addr"],
  type: ["类型", "type", "数据类型", "datatype"],
  lengthRegisters: ["长度", "length", "寄存器数", "寄存器个数", "registers"],
  order: ["字节序", "order", "字节顺序", "字序", "byteorder", "endian", "endianness"],
  scale: ["系数", "scale", "倍率", "比例", "缩放", "factor", "multiplier"],
  unit: ["单位", "unit", "工程单位", "units"],
  role: ["角色", "role"],
  carrier: ["介质", "carrier", "能源介质"],
  product: ["产品", "product"],
  bit: ["位", "bit", "位号"],
  deadband: ["死区", "deadband"],
  note: ["说明", "note", "备注", "描述", "注释", "description", "comment", "remark"],
} as const;

export type Column = keyof typeof columnNames;
export const columns = Object.keys(columnNames) as Column[];

/** A heading without blanks, case, brackets and what stands in them. */
function plainHeading(text: string): string {
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/\([^)]*\)|[\s_\-.:*/]/g, "");
}

const columnOf = new Map<string, Column>(
  columns.flatMap((column) => columnNames[column].map((name) => [plainHeading(name), column] as const)),
);

export type Headings = {
  /** Which column of the table holds what, from 0. */
  readonly at: ReadonlyMap<Column, number>;
  /** Headings that say nothing to us. */
  readonly unknown: readonly string[];
  readonly faults: readonly LineFault[];
};

/** Reads the first row of a table. */
export function readHeadings({ line, cells }: SheetRow): Headings {
  const at = new Map<Column, number>();
  const unknown: string[] = [];
  const faults: LineFault[] = [];
  for (const [i, cell] of cells.entries()) {
    const column = columnOf.get(plainHeading(cell));
    if (column === undefined) {
      if (cell !== "") unknown.push(cell);
    } else if (at.has(column)) {
      const first = cells[at.get(column) as number] ?? "";
      const remedy = "keep one of the two, or give the other a heading that is none of ours";
      faults.push({
        line,
        path: cell,
        found: `"${first}" and "${cell}"`,
        expected: `one column for ${column}`,
        remedy,
      });
    } else at.set(column, i);
  }
  for (const needed of ["name", "address"] as const) {
    if (at.has(needed)) continue;
    const names = columnNames[needed].join(", ");
    const remedy = "write the headings in the first row; jilian-gateway import --template shows them";
    faults.push({ line, path: needed, found: "no such column", expected: `one of the headings ${names}`, remedy });
  }
  return { at, unknown, faults };
}
