import { readdirSync, readFileSync } from "node:fs";
import { builtinModules, createRequire, findPackageJSON } from "node:module";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { type BuildOptions, build, type Plugin } from "esbuild";

export type Bundle = {
  /** Files of the gateway, by path: `main.mjs`, `setting-worker.mjs`, `read-log.mjs`, `chunks/...`, and its data: `profiles/...`. */
  files: { path: string; content: Uint8Array }[];
  /** Folders of the npm packages that went in, relative to the repository, sorted. */
  packageDirs: string[];
};

const unused = (name: string, exported: string): string =>
  `${exported} = class { constructor() { throw new Error("${name} is not in this build") } };`;

/** Libraries that a library asks for eagerly and the gateway never uses: what stands in their place throws when it is used after all. */
const absent: Readonly<Record<string, string>> = {
  // modbus-serial loads every transport with its first line, and the native binding costs 18 MB. Our serial lines use what Node has.
  serialport: unused("serialport", "exports.SerialPort"),
  // mqtt knows brokers behind web sockets and SOCKS proxies, and no configuration names one.
  ws: unused("ws", "module.exports"),
  // As with its own switch, READABLE_STREAM=disable: the streams that Node has, not a second copy of them.
  "readable-stream": 'module.exports = require("node:stream");',
  socks: "exports.SocksClient = { createConnection() { throw new Error('socks is not in this build') } };",
  // node-opcua announces servers in the local network; this is a client, which is told its endpoint.
  "sterfive-bonjour-service": unused("sterfive-bonjour-service", "exports.Bonjour"),
};

const withoutUnused: Plugin = {
  name: "without-unused",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: new RegExp(`^(${Object.keys(absent).join("|")})$`) }, ({ path }) => ({
      path,
      namespace: "absent",
    }));
    onLoad({ filter: /.*/, namespace: "absent" }, ({ path }) => ({ contents: absent[path] ?? "", loader: "js" }));
  },
};

/** Bundles of ES modules for the Node that the product runs on, named as in their sources. */
export const nodeModules = {
  bundle: true,
  splitting: true,
  platform: "node",
  target: "node24",
  format: "esm",
  outExtension: { ".js": ".mjs" },
  keepNames: true,
  // CommonJS packages ask for Node's own modules by require, which ES modules do not have.
  banner: { js: 'const require=process.getBuiltinModule("node:module").createRequire(import.meta.url);' },
  logLevel: "warning",
} as const satisfies BuildOptions;

/** The names that Node finds in a module, but for its default. @param exports the module, imported */
export const namesIn = (exports: object): string[] =>
  Object.keys(exports).filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default");

/** True for a file that Node would load as CommonJS. */
function isCommonJs(file: string): boolean {
  if (/\.[mc]js$/.test(file)) return file.endsWith(".cjs");
  const manifest = findPackageJSON(pathToFileURL(file));
  return manifest === undefined || (JSON.parse(readFileSync(manifest, "utf8")) as { type?: string }).type !== "module";
}

/**
 * `const { pino } = await import("pino")` of a CommonJS package gives names in Node, which looks for them in its source, and only a default
 * export in an esbuild chunk. Here the chunk exports the names that Node finds.
 */
const lazyCommonJs = (root: string): Plugin => ({
  name: "lazy-commonjs",
  setup: ({ onResolve, onLoad, resolve: resolvePackage }) => {
    onResolve({ filter: /^[^.]/ }, async ({ path, kind, resolveDir, importer }) => {
      if (kind !== "dynamic-import" || path.startsWith("node:")) return undefined;
      const found = await resolvePackage(path, { kind: "import-statement", resolveDir, importer });
      if (found.external || found.errors.length > 0 || !found.path.includes("node_modules")) return undefined;
      return isCommonJs(found.path) ? { path: relative(root, found.path), namespace: "lazy-commonjs" } : undefined;
    });
    onLoad({ filter: /.*/, namespace: "lazy-commonjs" }, async ({ path }) => {
      const lines = namesIn(await import(pathToFileURL(join(root, path)).href)).map(
        (name) => `const $${name} = all.${name};\nexport { $${name} as ${name} };`,
      );
      const all = `const all = require(${JSON.stringify(`./${path}`)});\nexport default all;`;
      return { contents: [all, ...lines].join("\n"), resolveDir: root, loader: "js" };
    });
  },
});

/** Gives a class the name that it has in its source, where a bundle calls it otherwise. */
export function withClassNames(source: string): string {
  return source.replace(
    /^(?:export |export default )?class (\w+)[^{\n]*\{$/gm,
    (head, name) =>
      `${head} static { if (this.name !== "${name}") Object.defineProperty(this, "name", { value: "${name}" }); }`,
  );
}

/**
 * node-opcua compares names of classes at run time. esbuild's way (`keepNames`) would give a name to each function, each time that it is made
 * and has not got it yet, as an arrow function has not then: 330 bytes more for each of the three that each tag has. Without it functions
 * have the names of their sources, but for the few that stand for different things in one file.
 */
const opcuaClassNames: Plugin = {
  name: "opcua-class-names",
  setup: ({ onLoad }) => {
    onLoad({ filter: /[\\/]node_modules[\\/]node-opcua[^\\/]*[\\/]dist[\\/].*\.js$/ }, ({ path }) => ({
      contents: withClassNames(readFileSync(path, "utf8")),
      loader: "js",
    }));
  },
};

/** Names of Node's own modules, with and without `node:`. */
const builtin = new RegExp(`^(node:)?(${builtinModules.map((name) => name.replace("node:", "")).join("|")})$`);

/**
 * Takes what is imported of Node's own modules one by one. An `import` of a module has Node read every name that it exports, and some load
 * what stands behind them only then: `import "node:http"` alone costs 14 MB, for the `WebSocket` that nobody asks for.
 */
const builtinsByName: Plugin = {
  name: "builtins-by-name",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: builtin }, ({ path, kind }) =>
      kind === "import-statement" || kind === "dynamic-import" ? { path, namespace: "builtin" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => {
      const names = namesIn(createRequire(import.meta.url)(path) as object);
      // Pure: a name that nobody imports is left out, and not read.
      const lines = names.map(
        (name) => `const $${name} = /* @__PURE__ */ (() => all.${name})();\nexport { $${name} as ${name} };`,
      );
      const all = `const all = /* @__PURE__ */ process.getBuiltinModule(${JSON.stringify(path)});\nexport default all;`;
      return { contents: [all, ...lines].join("\n"), loader: "js" };
    });
  },
};

/** The folder of the npm package that a bundled file belongs to. */
function packageDirOf(input: string): string | undefined {
  const at = input.lastIndexOf("node_modules/");
  // What a plugin made has its namespace before the path; the package itself is in the list as well.
  if (at < 0 || input.includes(":")) return undefined;
  const [scopeOrName = "", name = ""] = input.slice(at + "node_modules/".length).split("/");
  return `${input.slice(0, at)}node_modules/${scopeOrName.startsWith("@") ? `${scopeOrName}/${name}` : scopeOrName}`;
}

/** Device profiles are data: the gateway reads them where they lie (gateway/profile-files.ts). */
function profilesIn(root: string): Bundle["files"] {
  const dir = join(root, "gateway/profiles");
  return readdirSync(dir).map((name) => ({ path: `profiles/${name}`, content: readFileSync(join(dir, name)) }));
}

/**
 * Bundles the gateway from its TypeScript sources. What is imported lazily (a driver that no device uses, above all OPC UA) stays a file
 * of its own and is not loaded. Names are kept, of functions and of node-opcua's classes: stack traces stay readable.
 * The same sources and packages give the same bytes.
 * @param root the repository
 */
export async function bundleGateway(root: string): Promise<Bundle> {
  const outdir = join(root, "bundle");
  const result = await build({
    absWorkingDir: root,
    entryPoints: {
      main: "gateway/main.ts",
      // A process of its own, which is started by its file.
      "setting-worker": "gateway/setting-worker.ts",
      "read-log": "deploy/gateway/read-log.ts",
    },
    outdir,
    write: false,
    ...nodeModules,
    keepNames: false,
    chunkNames: "chunks/[name]-[hash]",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    // Not installed: an optional part of node-opcua's lock that it does not need here.
    external: ["proper-lockfile"],
    plugins: [withoutUnused, builtinsByName, opcuaClassNames, lazyCommonJs(root)],
    metafile: true,
  });
  const dirs = Object.keys(result.metafile.inputs).map(packageDirOf);
  return {
    files: [
      ...result.outputFiles.map(({ path, contents }) => ({ path: relative(outdir, path), content: contents })),
      ...profilesIn(root),
    ].sort((a, b) => (a.path < b.path ? -1 : 1)),
    packageDirs: [...new Set(dirs.filter((dir) => dir !== undefined))].sort(),
  };
}
