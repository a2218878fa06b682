import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

type Manifest = {
  name: string;
  version: string;
  license?: string | { type?: string };
  author?: string | { name?: string };
};

const licenceFile = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

const read = (path: string) => readFileSync(path, "utf8").replaceAll("\r\n", "\n").trim();

/** The texts of a package's licence; where it has no file of its own, what its README says under that heading. */
function textsOf(dir: string): string[] {
  const names = readdirSync(dir).sort();
  const files = names.filter((name) => licenceFile.test(name));
  if (files.length > 0) return files.map((name) => read(join(dir, name)));
  const readme = names.find((name) => /^readme(\.|$)/i.test(name));
  const section = readme && /^#+ *licen[cs]e\b[^\n]*\n(.*?)(?=^#|$(?![\s\S]))/ims.exec(read(join(dir, readme)))?.[1];
  return section ? [section.trim()] : [];
}

function authorOf({ author }: Manifest): string {
  const name = typeof author === "object" ? author.name : author;
  return name === undefined ? "" : `Author: ${name}\n`;
}

/**
 * The licences of everything that is packed, one after the other. A package that brings no text at all is named with the licence that
 * it declares.
 * @param packageDirs folders relative to the root, as `bundleGateway` gives them
 * @param nodeLicence the text of Node's own licence, which holds those of what it is built from
 * @throws Error when a package declares no licence at all: it must not be shipped unnoticed
 */
export function thirdPartyLicences(root: string, packageDirs: readonly string[], nodeLicence: string): string {
  const rule = "=".repeat(100);
  const parts = packageDirs.map((dir) => {
    const manifest = JSON.parse(readFileSync(join(root, dir, "package.json"), "utf8")) as Manifest;
    const licence = typeof manifest.license === "object" ? manifest.license.type : manifest.license;
    const texts = textsOf(join(root, dir));
    if (licence === undefined && texts.length === 0) throw new Error(`${dir} declares no licence`);
    const head = `${manifest.name} ${manifest.version}\nLicence: ${licence ?? "see text"}\n${authorOf(manifest)}`;
    return [head, ...texts].join("\n");
  });
  return `${["Software of others in this package.", ...parts, `Node.js\n\n${nodeLicence.trim()}`].join(`\n\n${rule}\n`)}\n`;
}
