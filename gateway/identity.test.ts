import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";

it.skipIf(process.platform === "win32")("a medium that takes a part of the identity leaves the old one whole", () => {
  const folder = mkdtempSync(join(tmpdir(), "jilian-identity-"));
  const file = join(folder, "identity.pem");
  writeFileSync(file, "the old one");
  const code = `import { putFile } from ${JSON.stringify(new URL("./identity.ts", import.meta.url).href)};
    try { putFile(process.argv[1], "x".repeat(5000), 0o600); } catch (thrown) { console.log(thrown.code); }`;
  try {
    // As on a medium that is nearly full: what goes beyond 1 or 2 kB is written no more.
    const limited = 'ulimit -f 2; exec "$0" --input-type=module --eval "$1" "$2"';
    const env = { ...process.env, NODE_COMPILE_CACHE: "", NODE_OPTIONS: "" };
    const told = execFileSync("/bin/sh", ["-c", limited, process.execPath, code, file], { encoding: "utf8", env });
    expect(readFileSync(file, "utf8")).toBe("the old one");
    expect(told.trim()).toBe("IDENTITY_UNWRITABLE");
    expect(readdirSync(folder)).toEqual(["identity.pem"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
