import type { SemanticFault } from "@jilian/domain/check-config.ts";

/** What the example configuration has in place of values that somebody has to give. */
const blank = "【必填】";
/** What stands for bytes that are no UTF-8. */
const unreadable = "\ufffd";

/** Where texts of a configuration hold something, and what; depth first. */
function* textsIn(value: unknown, path: string): Generator<readonly [path: string, text: string]> {
  if (typeof value === "string") yield [path, value];
  else if (typeof value === "object" && value !== null)
    for (const [key, inner] of Object.entries(value))
      yield* textsIn(inner, `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`);
}

/**
 * Values that nobody has filled in yet, and those that an editor has saved in another character set (a unit m³ in GBK): both are texts like
 * any other to a schema. Pure; nothing is looked through where the file holds neither.
 * @param text the file
 */
export function unfilledFaults(config: unknown, text: string): SemanticFault[] {
  const [isBlank, isUnreadable] = [text.includes(blank), text.includes(unreadable)];
  if (!isBlank && !isUnreadable) return [];
  return [...textsIn(config, "")].flatMap(([path, found]) => {
    if (found.includes(blank)) {
      return [
        {
          path,
          expected: "the value for this plant",
          remedy: "write what the lead unit has given in place of these words",
        },
      ];
    }
    if (!found.includes(unreadable)) return [];
    return [
      {
        path,
        expected: "text in UTF-8",
        remedy: "save the file as UTF-8 (it may be GBK now), and write the value anew",
      },
    ];
  });
}
