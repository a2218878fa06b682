import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
/** Needed for a moment, to check a configuration or to renew a certificate, and some MB for as long as the process lives. */
const heavy = /^(typebox|yaml)\b|^node:(http|https|tls|fs\/promises)$/;

/** What a source imports as it is loaded: neither types nor what is imported later. */
function importsOf(path: string): string[] {
  const source = readFileSync(path, "utf8").replaceAll(/^import type [^;]*;/gm, "");
  return [...source.matchAll(/^(?:import|export) (?:[^;"]* from )?"([^"]+)";/gm)].map(([, name = ""]) => name);
}

/** Ways from a source to something heavy. */
function waysFrom(path: string, before: readonly string[] = [], seen = new Set<string>()): string[] {
  if (seen.has(path)) return [];
  seen.add(path);
  const way = [...before, path.slice(root.length + 1)];
  return importsOf(path).flatMap((name) => {
    if (heavy.test(name)) return [[...way, name].join(" > ")];
    if (name.startsWith(".")) return waysFrom(join(dirname(path), name), way, seen);
    return name.startsWith("@jilian/") ? waysFrom(join(root, name.slice("@jilian/".length)), way, seen) : [];
  });
}

test("a gateway that runs has neither schemas nor YAML, HTTP nor TLS in its memory before it needs them", () => {
  const main = readFileSync(join(root, "gateway/main.ts"), "utf8");
  const run = main.slice(main.indexOf("async function run("), main.indexOf("async function printVersion("));
  const parts = [...run.matchAll(/import\("(\.\/[^"]+)"\)/g)].map(([, name = ""]) => join(root, "gateway", name));
  expect(parts.length).toBeGreaterThan(8);
  // An HTTP server is what `ops` is for.
  const others = parts.filter((path) => !path.endsWith("ops-start.ts"));
  expect([join(root, "gateway/main.ts"), ...others].flatMap((path) => waysFrom(path))).toEqual([]);
});
