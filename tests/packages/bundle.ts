import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { namesIn, nodeModules } from "@jilian/deploy/gateway/bundle.ts";
import { build, type Plugin } from "esbuild";

/** Packages of many small files; none that looks for files beside its own or starts threads of its own. */
const specifiers = [
  "@bufbuild/protobuf",
  "@bufbuild/protobuf/codegenv2",
  "@duckdb/node-api",
  "aedes",
  "fastify",
  "mqtt",
  "prom-client",
  "typebox",
  "typebox/system",
  "typebox/value",
  "yaml",
];

/** Native, or shared with what is not bundled. */
const external = ["@duckdb/node-bindings", "pino"];

const fileOf = (specifier: string) => specifier.replaceAll(/[@/]/g, "_");

/** What stands for a package: it exports the names that Node finds, also where the package is CommonJS. */
async function entryOf(specifier: string): Promise<string> {
  const exports: object = await import(specifier);
  const from = JSON.stringify(specifier);
  if (!("module.exports" in exports)) return `export * from ${from};`;
  return `import all from ${from};\nexport default all;\nexport const { ${namesIn(exports).join(", ")} } = all;`;
}

function entries(texts: ReadonlyMap<string, string>, root: string): Plugin {
  return {
    name: "entries",
    setup: ({ onResolve, onLoad }) => {
      onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice("entry:".length), namespace: "entry" }));
      onLoad({ filter: /.*/, namespace: "entry" }, ({ path }) => ({
        contents: texts.get(path) ?? "",
        resolveDir: root,
      }));
    },
  };
}

async function bundle(root: string, dir: string): Promise<void> {
  const texts = new Map<string, string>();
  for (const specifier of specifiers) texts.set(fileOf(specifier), await entryOf(specifier));
  await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(Array.from(texts.keys(), (file) => [file, `entry:${file}`])),
    outdir: dir,
    ...nodeModules,
    external,
    plugins: [entries(texts, root)],
  });
}

/**
 * Makes the tests' processes and threads load the product's packages as a few files, made once for each state of the lock file. The tests
 * start hundreds of them, and each would find, read and link a thousand files again, 679 of them typebox's: a quarter of what a start costs.
 * `tests/e2e/start.test.ts` starts the product as its users do, without.
 * @param root the repository
 * @returns what NODE_OPTIONS has to hold
 */
export async function bundlePackages(root: string): Promise<string> {
  const state = createHash("sha256");
  for (const file of ["package-lock.json", "tests/packages/bundle.ts", "deploy/gateway/bundle.ts"])
    state.update(readFileSync(join(root, file)));
  const dir = join(root, "node_modules/.cache/test-packages", state.digest("hex").slice(0, 16));
  if (!existsSync(dir)) {
    mkdirSync(dirname(dir), { recursive: true });
    // Beside its place and moved there whole: another run may make it at the same time.
    const made = mkdtempSync(`${dir}-`);
    await bundle(root, made);
    const bundles = specifiers.map((specifier) => [
      import.meta.resolve(specifier),
      pathToFileURL(join(dir, `${fileOf(specifier)}.mjs`)).href,
    ]);
    writeFileSync(join(made, "manifest.json"), JSON.stringify(Object.fromEntries(bundles)));
    try {
      renameSync(made, dir);
    } catch (thrown) {
      rmSync(made, { recursive: true });
      if (!existsSync(dir)) throw thrown;
    }
  }
  process.env.JILIAN_TEST_PACKAGES = pathToFileURL(`${dir}/`).href;
  return `--import=${pathToFileURL(join(root, "tests/packages/hook.ts")).href}`;
}
