import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/**
 * A document and its Chinese twin say the same: same sections, tables, commands, names and links. Prose cannot be compared by a program;
 * what a reader copies or looks up can: a row, an option or a code that only one of them has is a change that was made in one language alone.
 */
const root = resolve(fileURLToPath(import.meta.url), "../..");
const text = (path: string) => readFileSync(join(root, path), "utf8");
const documents = ["", "docs/"]
  .flatMap((folder) => readdirSync(join(root, folder)).map((name) => folder + name))
  .filter((path) => path.endsWith(".md"))
  .sort();
const twinOf = (path: string) => path.replace(/\.md$/, ".zh-CN.md");
const originalOf = (path: string) => path.replace(/\.zh-CN\.md$/, ".md");
const twins = documents.filter((path) => path !== originalOf(path)).map(originalOf);

const chinese = /\p{Script=Han}|[，。：；、（）“”？！]/u;

type Block = { readonly kind: string; readonly lines: string[] };
type Section = {
  readonly level: number;
  readonly title: string;
  readonly blocks: Block[];
  /** Rows of each table as they are. */
  readonly tables: string[][];
  readonly prose: string[];
};

/** The parts of a document from each heading to the next; what stands before the first one has level 0. */
function sectionsOf(path: string): Section[] {
  const sections: Section[] = [];
  const begin = (level: number, title: string) => {
    const section: Section = { level, title, blocks: [], tables: [], prose: [] };
    sections.push(section);
    return section;
  };
  let section = begin(0, "");
  let block: Block | undefined;
  let table: string[] | undefined;
  for (const line of text(path).split("\n")) {
    const fence = /^\s*```(.*)$/.exec(line);
    if (fence) {
      const opened: Block = { kind: fence[1] ?? "", lines: [] };
      if (!block) section.blocks.push(opened);
      block = block ? undefined : opened;
      continue;
    }
    if (block) {
      block.lines.push(line);
      continue;
    }
    const heading = /^(#+) (.*)$/.exec(line);
    if (heading) section = begin(heading[1]?.length ?? 0, heading[2] ?? "");
    else section.prose.push(line);
    const isRow = /^\s*\|.*\|\s*$/.test(line);
    if (isRow && !table) {
      table = [];
      section.tables.push(table);
    }
    if (!isRow) table = undefined;
    table?.push(line);
  }
  return sections;
}

/** Cells of a row; a pipe that is escaped, as within a code, separates none. */
const columnsOf = (row: string) => row.split(/(?<!\\)\|/).length - 2;

/** Words in code style, once each. */
function codesOf(prose: string): string[] {
  const words = [...prose.matchAll(/(`+)(.+?)\1/gs)].map(([, , word]) => (word ?? "").replace(/\s+/g, " "));
  return [...new Set(words)].sort();
}

/** Numbers outside of code, once each: what was measured, a limit, a default. */
function numbersOf(prose: string): string[] {
  const words = prose.replace(/(`+).+?\1|\]\([^)]*\)/gs, "");
  return [...new Set([...words.matchAll(/\d[\d,.:]*\d|\d/g)].map(([number]) => number))].sort();
}

const quoted = (literal: string) => literal.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Whether a line or word of the twin is the original's, where its Chinese parts stand for words of the original. */
function isTranslated(original: string, twin: string): boolean {
  const parts = twin.split(/[\p{Script=Han}，。：；、（）“”？！]+/u).map(quoted);
  return new RegExp(`^${parts.join(".+")}$`, "u").test(original);
}

/** Words in code style that only one of two texts has; undefined where there is none. */
function differenceOf(original: string, twin: string) {
  const [codes, others] = [codesOf(original), codesOf(twin)];
  const isSame = (code: string, other: string) => other === code || (chinese.test(other) && isTranslated(code, other));
  const lacking = codes.filter((code) => !others.some((other) => isSame(code, other)));
  const added = others.filter((other) => !codes.some((code) => isSame(code, other)));
  return lacking.length + added.length === 0 ? undefined : { lacking, added };
}

/** A line of a block without its comment; in a list of commands the explanation stands behind two spaces or more. */
const codeOf = (line: string) =>
  line
    .replace(/(^|\s)#\s.*$/, "")
    .replace(/\s+/g, " ")
    .trim();

/** The words of a line before its first Chinese one: the command, not its explanation. */
const commandOf = (line: string) => line.slice(0, chinese.exec(line)?.index ?? line.length).trim();

function isSameLine(original: string, twin: string): boolean {
  if (codeOf(original) === codeOf(twin)) return true;
  if (!chinese.test(twin)) return false;
  const columns = (line: string) => line.trim().split(/\s{2,}/);
  const [[first = ""], [same = ""]] = [columns(original), columns(twin)];
  // A command and its explanation stand in two columns; else the Chinese is within the line.
  if (!chinese.test(first) && !chinese.test(same) && columns(twin).length > 1) return first === same;
  return codeOf(original).startsWith(codeOf(commandOf(twin)));
}

type Link = { readonly file: string; readonly anchor: string | undefined };
/** Relative links of a text, as paths from the root. */
function linksOf(path: string, prose: readonly string[]): Link[] {
  const words = prose.join("\n").replace(/(`+).+?\1/gs, "");
  return [...words.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target ?? "")
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [name = "", anchor] = target.split("#");
      return { file: name === "" ? path : join(dirname(path), name), anchor };
    });
}

/** Anchors as the hosts of repositories make them of headings. */
const anchorsOf = (path: string) =>
  sectionsOf(path).map(({ title }) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );

test("every document is in both languages, but for the change log and the one that holds both", () => {
  const single = documents.filter((path) => path === originalOf(path) && !twins.includes(path));
  expect(single).toEqual(["CHANGELOG.md", "docs/indicators.md"]);
  for (const original of twins) expect(documents).toContain(original);
});

test.each(documents)("links of %s lead to files and headings that are there", (path) => {
  const links = linksOf(
    path,
    sectionsOf(path).flatMap(({ prose }) => prose),
  );
  const lost = links.filter(({ file, anchor }) => {
    if (!existsSync(join(root, file))) return true;
    return anchor !== undefined && file.endsWith(".md") && !anchorsOf(file).includes(anchor);
  });
  expect(lost).toEqual([]);
});

describe.each(twins)("%s and its Chinese twin", (original) => {
  const twin = twinOf(original);
  const [sections, ofTwin] = [sectionsOf(original), sectionsOf(twin)];
  const pairs = sections.map((section, at) => [section, ofTwin[at] as Section] as const);

  test("lead to each other in their first lines, and the Chinese one to Chinese ones", () => {
    const firstOf = (path: string) => text(path).split("\n").slice(0, 4).join("\n");
    const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
    expect(firstOf(original)).toContain(`[中文](${nameOf(twin)})`);
    expect(firstOf(twin)).toContain(`[English](${nameOf(original)})`);
    // What is called English is meant to be.
    const body = text(twin).replaceAll(/\[English\]\([^)]*\)/g, "");
    expect(linksOf(twin, [body]).filter(({ file }) => twins.includes(file))).toEqual([]);
  });

  test("have the same levels of headings", () => {
    const levels = (of: Section[]) => of.map(({ level }) => level);
    expect(levels(ofTwin)).toEqual(levels(sections));
  });

  test("name the same numbers in each section, where they are written in digits", () => {
    for (const [section, same] of pairs)
      expect(numbersOf(same.prose.join("\n")), section.title).toEqual(numbersOf(section.prose.join("\n")));
  });

  test("have the same tables, row by row", () => {
    for (const [section, same] of pairs) {
      const shape = ({ tables }: Section) => tables.map((rows) => rows.map(columnsOf));
      expect(shape(same), section.title).toEqual(shape(section));
      const others = same.tables.flat();
      const rows = section.tables.flat();
      const differing = rows.flatMap((row, at) => differenceOf(row, others[at] ?? "") ?? []);
      expect(differing, section.title).toEqual([]);
      expect(others.map(numbersOf), section.title).toEqual(rows.map(numbersOf));
    }
  });

  test("have the same blocks of code but for comments and Chinese words", () => {
    for (const [section, same] of pairs) {
      const shape = ({ blocks }: Section) => blocks.map(({ kind, lines }) => `${kind} ${lines.length}`);
      expect(shape(same), section.title).toEqual(shape(section));
      const lines = section.blocks.flatMap(({ lines }) => lines);
      const others = same.blocks.flatMap(({ lines }) => lines);
      const differing = lines.flatMap((line, at) => (isSameLine(line, others[at] ?? "") ? [] : [[line, others[at]]]));
      expect(differing, section.title).toEqual([]);
    }
  });

  test("name the same codes, paths, options and fields in each section", () => {
    for (const [section, same] of pairs)
      expect(differenceOf(section.prose.join("\n"), same.prose.join("\n")), section.title).toBeUndefined();
  });

  test("lead to the same documents from each section", () => {
    for (const [section, same] of pairs) {
      const files = (path: string, { prose }: Section) =>
        [...new Set(linksOf(path, prose).map(({ file }) => originalOf(file)))]
          .filter((file) => file !== original)
          .sort();
      expect(files(twin, same), section.title).toEqual(files(original, section));
    }
  });
});
