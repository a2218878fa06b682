/** For tests: the program itself, as a process of its own, in a folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type RunningProgram = {
  child: ChildProcess;
  output: { out: string; err: string };
  /** Exit code, or null when a signal ended it. */
  ended: Promise<number | null>;
};

export function programs() {
  const folder = mkdtempSync(join(tmpdir(), "jilian-gateway-"));
  const children: ChildProcess[] = [];
  return {
    folder,
    /**
     * @param isChild false for a program that nobody waits for: without the channel by which it would notice that its parent is gone
     * @param out descriptor of its standard output, where that is another's
     */
    start(args: string[], env: Record<string, string> = {}, isChild = true, out?: number): RunningProgram {
      const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), ...args], {
        env: { ...process.env, ...env },
        stdio: ["ignore", out ?? "pipe", "pipe", ...(isChild ? (["ipc"] as const) : [])],
      });
      children.push(child);
      const output = { out: "", err: "" };
      child.stdout?.on("data", (chunk: Buffer) => {
        output.out += chunk;
      });
      child.stderr?.on("data", (chunk: Buffer) => {
        output.err += chunk;
      });
      const ended = once(child, "close").then(([code]) => code as number | null);
      return { child, output, ended };
    },
    async end(): Promise<void> {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      rmSync(folder, { recursive: true });
    },
  };
}

/** The lines of a log, read as JSON. */
export function logLines(out: string): Record<string, unknown>[] {
  return out
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
