import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { mutated, mutationEnv, mutations } from "./mutations.ts";
import { faultsOf } from "./prove.ts";
import { expectSeen, tried } from "./test-mutations.ts";

const root = resolve(fileURLToPath(import.meta.url), "../../..");
const read = (file: string) => readFileSync(resolve(root, file), "utf8");

describe("a mutation", () => {
  it.each(mutations)("$name finds every snippet exactly once, and its rows are in the matrix", (mutation) => {
    const files = Map.groupBy(mutation.edits, ({ file }) => file);
    for (const [file, edits] of files) expect(mutated(read(file), edits)).not.toBe(read(file));
    expect(faultsOf(mutation).length).toBeGreaterThan(0);
  });

  it("ends a process when its snippet is gone or stands twice", () => {
    const edit = { file: "x.ts", find: "let", put: "" };
    expect(() => mutated("", [edit])).toThrow(/0 times in x.ts/);
    expect(() => mutated("let a; let b;", [edit])).toThrow(/2 times in x.ts/);
    expect(mutated("let a = '$&';", [{ ...edit, put: "const $& " }])).toBe("const $&  a = '$&';");
    const env = { ...process.env, ...mutationEnv("no fsync") };
    const run = (name: string) => spawnSync(process.execPath, ["-e", ""], { env: { ...env, JILIAN_MUTATION: name } });
    expect(run("no fsync").status).toBe(0);
    expect(run("no such").status).not.toBe(0);
  });

  it("reaches the process and its workers", () => {
    const code = `
      import { Worker } from "node:worker_threads";
      const file = ${JSON.stringify(resolve(root, "gateway/outbox-sync.ts"))};
      const look = \`import("\${file}").then(({ groupSync }) => console.log(groupSync.toString().includes("syncData(")))\`;
      await eval(look);
      await new Promise((done) => new Worker(look, { eval: true }).once("exit", done));`;
    const of = (env: Record<string, string>) =>
      spawnSync(process.execPath, ["--input-type=module", "-e", code], {
        env: { ...process.env, ...env },
        cwd: root,
        encoding: "utf8",
      }).stdout;
    expect(of({})).toBe("true\ntrue\n");
    expect(of(mutationEnv("no fsync"))).toBe("false\nfalse\n");
  });
});

it("the matrix would notice: the rows of a mutation are red with it", { timeout: tried.length * 150_000 }, () =>
  expectSeen(tried),
);
