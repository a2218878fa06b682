import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Smallest unit that a medium writes whole, bytes. */
const sectorBytes = 512;

/** True where the shim can be built: a C compiler, and an operating system with LD_PRELOAD. */
export const canCutPower = (): boolean =>
  process.platform === "linux" && spawnSync("cc", ["--version"], { stdio: "ignore" }).status === 0;

/** Builds the shim into a folder. @returns its path */
export function buildShim(dir: string): string {
  const source = fileURLToPath(new URL("./power-cut.c", import.meta.url));
  const library = join(dir, "power-cut.so");
  const args = ["-shared", "-fPIC", "-O2", "-Wall", "-o", library, source, "-ldl", "-lpthread"];
  const { status, stderr } = spawnSync("cc", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`cc could not build ${source}:\n${stderr}`);
  return library;
}

export type PowerCut = {
  /** Environment of the process whose files are watched. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes what the files are now for what the medium holds: before each start. */
  readonly settle: () => void;
  /**
   * Puts the files back to what the medium held; only while no process has them open.
   * @param torn draws below n: then a part of what was not synced has survived, sector by sector. Absent: nothing has
   * @returns how many files held something that was not synced
   */
  readonly strike: (torn?: (n: number) => number) => number;
  /** When a file was synced last, machine time; 0 when none was since `settle`. */
  readonly syncedMs: () => number;
  /** Makes the disk full, for what makes a file longer or for any write (as where the file system copies on write), or gives room again. */
  readonly fill: (full: "growth" | "any" | undefined) => void;
};

/** Watches the files whose path begins with `prefix`. @param library the shim. @param dir a folder for the images, made here */
export function powerCut(prefix: string, library: string, dir: string): PowerCut {
  const folder = dirname(prefix);
  const control = join(dir, "disk-full");
  const images = join(dir, "images");
  const boot = join(dir, "boot-id");
  const ours = (name: string) => name.startsWith(basename(prefix));
  // A control socket that lies there too holds nothing.
  const files = () =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
      entry.isFile() && ours(entry.name) ? [entry.name] : [],
    );
  let settledMs = 0;
  mkdirSync(images, { recursive: true });
  writeFileSync(boot, `${randomUUID()}\n`);

  /** Names as of the last sync of the folder. */
  const names = () =>
    new Set(existsSync(join(images, "names")) ? readFileSync(join(images, "names"), "utf8").split("\n") : []);

  /** What the medium held of a file: undefined when its name was not there, empty when its content was never synced. */
  function held(name: string, known: ReadonlySet<string>): Buffer | undefined {
    if (!known.has(name)) return undefined;
    const image = join(images, name);
    return existsSync(image) ? readFileSync(image) : Buffer.alloc(0);
  }

  /** When the newest image was taken, by the file system's clock: it ticks coarsely and lags behind ours. */
  const newestMs = () =>
    Math.max(
      0,
      ...readdirSync(images).flatMap((name) => {
        // An image that is just being taken has another name a moment later.
        const found = ours(name) ? statSync(join(images, name), { throwIfNoEntry: false }) : undefined;
        return found ? [found.mtimeMs] : [];
      }),
    );

  return {
    env: {
      LD_PRELOAD: library,
      JILIAN_CUT_PREFIX: prefix,
      JILIAN_CUT_IMAGES: images,
      JILIAN_CUT_BOOT: boot,
      JILIAN_CUT_FULL: control,
    },
    settle: () => {
      rmSync(images, { recursive: true, force: true });
      mkdirSync(images);
      const found = files();
      for (const name of found) writeFileSync(join(images, name), readFileSync(join(folder, name)));
      writeFileSync(join(images, "names"), found.join("\n"));
      settledMs = newestMs();
    },
    strike: (torn) => {
      writeFileSync(boot, `${randomUUID()}\n`);
      const known = names();
      let unsynced = 0;
      for (const name of new Set([
        ...files(),
        ...[...known].filter((name) => ours(name) && existsSync(join(images, name))),
      ])) {
        const path = join(folder, name);
        const before = held(name, known);
        const after = existsSync(path) ? readFileSync(path) : undefined;
        if (before === undefined ? after !== undefined : !after?.equals(before)) unsynced += 1;
        const left = torn ? mixed(before, after, torn) : before;
        if (left) writeFileSync(path, left);
        else rmSync(path, { force: true });
      }
      return unsynced;
    },
    syncedMs: () => {
      const foundMs = newestMs();
      return foundMs > settledMs ? foundMs : 0;
    },
    fill: (full) => {
      if (full) writeFileSync(control, full === "any" ? full : "");
      else rmSync(control, { force: true });
    },
  };
}

/** Each sector from before or after the writes that were not synced; the length too, and whether a new file has its name. */
export function mixed(
  before: Buffer | undefined,
  after: Buffer | undefined,
  below: (n: number) => number,
): Buffer | undefined {
  if (after === undefined) return before;
  if (before === undefined && below(2) === 0) return undefined;
  const old = before ?? Buffer.alloc(0);
  const length = below(2) === 0 ? after.length : old.length;
  const left = Buffer.alloc(length);
  for (let at = 0; at < length; at += sectorBytes) {
    const from = below(2) === 0 ? after : old;
    if (at < from.length) from.copy(left, at, at, at + sectorBytes);
  }
  return left;
}
