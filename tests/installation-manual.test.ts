import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/** The manual for electricians tells every code that a gateway can show, and none that it cannot. */
const root = resolve(fileURLToPath(import.meta.url), "../..");
const text = (path: string) => readFileSync(join(root, path), "utf8");
const manuals = ["docs/installation.zh-CN.md", "docs/installation.md"] as const;

/** Upper-case words in the sources that no log line has as its code. */
const notCodes = [
  // Variables of the environment.
  /^(JILIAN_|NOTIFY_SOCKET$|WATCHDOG_USEC$|WATCHDOG_PID$)/,
  // Names of Node.js, SQLite and OpenSSL, which are given codes of our own.
  /^ERR_|^EAI_AGAIN$|^CERT_|_CERT(_|$)|^INVALID_|^UNABLE_|^DEPTH_ZERO_/,
];

/** Every code that the gateway's sources name: in an error, in a log line, or in a table of them. */
function codesOfGateway(): string[] {
  const files = execFileSync(
    "git",
    ["ls-files", "--cached", "--others", "--exclude-standard", "gateway/*.ts", "domain/tls.ts"],
    {
      cwd: root,
      encoding: "utf8",
    },
  )
    .split("\n")
    .filter((file) => file !== "" && existsSync(join(root, file)))
    .filter((file) => !/\.test\.ts$|\/test-[^/]*\.ts$|\/cases\//.test(file));
  const words = files.flatMap((file) =>
    [...text(file).matchAll(/["'`]([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b/g)].map((m) => m[1]),
  );
  return [...new Set(words as string[])].filter((word) => !notCodes.some((pattern) => pattern.test(word))).sort();
}

/** Codes in the first column of the manual's tables. */
const codesIn = (path: string) =>
  [...text(path).matchAll(/^\| `([A-Z][A-Z0-9_]+)` \|/gm)].map((match) => match[1] as string);

test("finds the codes of every part", () => {
  const codes = codesOfGateway();
  for (const known of [
    "MODBUS_TIMEOUT",
    "MODBUS_HOST_UNKNOWN",
    "BROKER_UNREACHABLE",
    "OUTBOX_LOCKED",
    "WATCHDOG_WITHHELD",
    "DRIVER_FAULT",
  ]) {
    expect(codes).toContain(known);
  }
});

describe.each(manuals)("%s", (manual) => {
  test("explains every code of the gateway once, and no other", () => {
    const explained = codesIn(manual);
    expect(
      codesOfGateway().filter((code) => !explained.includes(code)),
      "codes without a line",
    ).toEqual([]);
    expect(
      explained.filter((code) => !codesOfGateway().includes(code)),
      "codes that do not exist",
    ).toEqual([]);
    expect(explained).toHaveLength(new Set(explained).size);
  });

  test("names only files, commands and words that exist", () => {
    const page = text(manual);
    for (const [, target = ""] of page.matchAll(/\]\(([^)#]+)\)/g))
      expect(existsSync(join(root, "docs", target)), target).toBe(true);
    const script = text("deploy/gateway/files/jilian-gateway.sh");
    for (const [, word = ""] of page.matchAll(/\bjilian-gateway (status|log|check|version)\b/g)) {
      expect(script).toMatch(new RegExp(`^  ${word}\\)`, "m"));
    }
    const status = text("gateway/watchdog.ts");
    for (const words of [
      "devices connected",
      "platform connected",
      "platform NOT connected",
      "records waiting",
      "readings dropped",
    ]) {
      expect(page).toContain(words);
      expect(status).toContain(words);
    }
    for (const word of ["online", "stale", "offline", "never"]) expect(page).toMatch(new RegExp(`\\b${word}\\b`));
    for (const [, word] of text("api/wall/text.js").matchAll(/^ {4}(?:online|stale|offline|never): "([一-鿿]+)"/gm)) {
      expect(page).toContain(word);
    }
  });
});

test("both languages have the same sections and the same number of rows", () => {
  const shape = (path: string) =>
    text(path)
      .split("\n")
      .flatMap((line) => /^#+ (\d+ )?/.exec(line)?.[0] ?? (line.startsWith("|") ? "|" : []));
  expect(shape(manuals[1])).toEqual(shape(manuals[0]));
});
