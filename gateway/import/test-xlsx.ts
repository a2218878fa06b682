/** For tests: workbooks made by hand, right and wrong. */
import { crc32, deflateRawSync } from "node:zlib";

export type ZipPart = { name: string; content: string | Buffer; stored?: boolean; flags?: number; saysBytes?: number };

/** A zip file of some parts (APPNOTE 6.3.10). */
export function zipOf(parts: readonly ZipPart[]): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, content, stored = false, flags = 0x800, saysBytes } of parts) {
    const plain = Buffer.from(content);
    const data = stored ? plain : deflateRawSync(plain);
    const head = Buffer.alloc(26);
    head.writeUInt16LE(20, 0);
    head.writeUInt16LE(flags, 2);
    head.writeUInt16LE(stored ? 0 : 8, 4);
    head.writeUInt32LE(crc32(plain), 10);
    head.writeUInt32LE(data.length, 14);
    head.writeUInt32LE(saysBytes ?? plain.length, 18);
    head.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\u0003\u0004", "latin1"), head, Buffer.from(name)]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    directory.push(Buffer.concat([Buffer.from("PK\u0001\u0002\u0014\0", "latin1"), head, rest, Buffer.from(name)]));
    files.push(local, data);
    at += local.length + data.length;
  }
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006", "latin1");
  end.writeUInt16LE(parts.length, 8);
  end.writeUInt16LE(parts.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...files, ...directory, end]);
}

export type Workbook = { sheet: string; shared?: string; styles?: string; extra?: readonly ZipPart[] };

/** A workbook of one sheet, given as the XML of its rows. */
export function workbookParts({ sheet, shared = "", styles = "", extra = [] }: Workbook): ZipPart[] {
  const relation = '<Relationship Id="rId7" Type="worksheet" Target="worksheets/sheet1.xml"/>';
  return [
    {
      name: "xl/workbook.xml",
      content: '<workbook><sheets><sheet name="点表" sheetId="1" r:id="rId7"/></sheets></workbook>',
    },
    { name: "xl/_rels/workbook.xml.rels", content: `<?xml version="1.0"?><Relationships>${relation}</Relationships>` },
    { name: "xl/sharedStrings.xml", content: `<sst>${shared}</sst>`, stored: true },
    { name: "xl/styles.xml", content: `<styleSheet>${styles}</styleSheet>` },
    { name: "xl/worksheets/sheet1.xml", content: `<worksheet><sheetData>${sheet}</sheetData></worksheet>` },
    ...extra,
  ];
}

export const workbook = (given: Workbook): Buffer => zipOf(workbookParts(given));

/** A row of texts, inline. */
export function textRow(line: number, texts: readonly string[]): string {
  const cells = texts.map(
    (text, i) => `<c r="${String.fromCharCode(65 + i)}${line}" t="inlineStr"><is><t>${text}</t></is></c>`,
  );
  return `<row r="${line}">${cells.join("")}</row>`;
}
