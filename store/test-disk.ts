/** Small disks in memory, for tests of full ones. To mount one needs root. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type SmallDisk = {
  readonly path: string;
  readonly resize: (megabytes: number) => void;
  readonly remove: () => void;
};

export function smallDisk(megabytes: number): SmallDisk {
  const path = mkdtempSync(join(tmpdir(), "jilian-disk-"));
  const mount = (options: string) =>
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], { stdio: "pipe" });
  try {
    mount(`size=${megabytes}m`);
  } catch (thrown) {
    rmSync(path, { recursive: true });
    throw thrown;
  }
  return {
    path,
    resize: (to) => void mount(`remount,size=${to}m`),
    remove: () => {
      execFileSync("umount", ["--lazy", path], { stdio: "pipe" });
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Whether this user may mount one. */
export function hasSmallDisks(): boolean {
  try {
    smallDisk(1).remove();
    return true;
  } catch {
    return false;
  }
}
