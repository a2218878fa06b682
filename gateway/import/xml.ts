/** A piece of XML as it passes. Names are without their namespace's prefix. */
export type XmlPiece =
  | { readonly kind: "open"; readonly name: string; readonly attributes: string; readonly isEmpty: boolean }
  | { readonly kind: "close"; readonly name: string }
  | { readonly kind: "text"; readonly text: string };

const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** Text with its five entities and numbered characters; others need a declaration, which is refused. */
export function unescapeXml(text: string): string {
  if (!text.includes("&")) return text;
  return text.replaceAll(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(\w{2,4}));/g, (all, decimal, hex, name) => {
    if (name !== undefined) return entities[name as string] ?? (all as string);
    const code = decimal === undefined ? Number.parseInt(hex as string, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
  });
}

function localName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

/** The end of a tag: `>` outside of quotes. */
function tagEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (character === ">") return at;
    if (character !== '"' && character !== "'") continue;
    at = text.indexOf(character, at + 1);
    if (at < 0) break;
  }
  throw new Error("XML that ends in the middle of a tag");
}

/** Where something that opens at `at` and closes with `end` is over. */
function after(text: string, at: number, end: string): number {
  const found = text.indexOf(end, at);
  if (found < 0) throw new Error(`XML without its ${end}`);
  return found + end.length;
}

/** The pieces of an XML text one after the other: what spreadsheets need, no more. @throws Error on what is not well-formed enough */
export function* xmlPieces(text: string): Generator<XmlPiece, void, void> {
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("<", at);
    const plain = text.slice(at, open < 0 ? text.length : open);
    if (plain !== "") yield { kind: "text", text: unescapeXml(plain) };
    if (open < 0) return;
    if (text.startsWith("<!--", open)) at = after(text, open, "-->");
    else if (text.startsWith("<?", open)) at = after(text, open, "?>");
    else if (text.startsWith("<![CDATA[", open)) {
      at = after(text, open, "]]>");
      yield { kind: "text", text: text.slice(open + 9, at - 3) };
    }
    // A declaration can hold entities that grow without bound.
    else if (text.startsWith("<!", open))
      throw new Error("XML with a declaration of its own, which no spreadsheet writes");
    else {
      const end = tagEnd(text, open + 1);
      at = end + 1;
      if (text[open + 1] === "/") yield { kind: "close", name: localName(text.slice(open + 2, end).trim()) };
      else {
        const isEmpty = text[end - 1] === "/";
        const body = text.slice(open + 1, isEmpty ? end - 1 : end);
        const [name = ""] = body.split(/\s/, 1);
        yield { kind: "open", name: localName(name), attributes: body.slice(name.length), isEmpty };
      }
    }
  }
}

/** The value of an attribute by its name without prefix; undefined where there is none. */
export function attribute(attributes: string, wanted: string): string | undefined {
  // Looked for at the beginning of a name alone: else a long name without a value takes the square of its length.
  for (const [, name = "", double, single] of attributes.matchAll(
    /(?<![\w:.-])([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g,
  )) {
    if (localName(name) === wanted) return unescapeXml(double ?? single ?? "");
  }
  return undefined;
}
