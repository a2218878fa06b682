import { type ChildProcess, spawn } from "node:child_process";
import { eachLine } from "./readable-log.ts";

/** A program of ours as a process of its own. */
export type Program = {
  name: string;
  /** File and arguments for this Node. */
  args: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
};

export type Running = {
  /** What the process said when it was ready; rejects when it ends before. */
  readonly ready: Promise<Record<string, unknown>>;
  readonly pid: () => number | undefined;
  /** Ends it with SIGKILL: for tests of sudden ends. Resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /** Ends it with SIGTERM, after `graceMs` with SIGKILL. */
  readonly stop: (graceMs?: number) => Promise<void>;
  /** Resolves with its exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
};

/**
 * Starts a program with an IPC channel: it tells when it is ready, and it ends by itself when this process is gone, however that ended.
 * @param onLine takes each line it writes to standard output and standard error
 */
export function startProgram(program: Program, onLine: (line: string) => void): Running {
  const child: ChildProcess = spawn(process.execPath, [...program.args], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    // The store's queries may hold three of libuv's four threads; files and names must not wait for them.
    env: { UV_THREADPOOL_SIZE: "8", ...process.env, ...program.env },
    // Its own group: Ctrl-C in a terminal reaches us alone, and we end our children in order.
    detached: true,
  });
  if (child.stdout) eachLine(child.stdout, onLine);
  if (child.stderr) eachLine(child.stderr, onLine);
  const ended = new Promise<number | string>((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? code ?? 0));
    child.once("error", (error) => resolve(error.message));
  });
  const ready = new Promise<Record<string, unknown>>((resolve, reject) => {
    child.on("message", (message) => {
      if (typeof message === "object" && message !== null && "type" in message && message.type === "ready") {
        resolve(message as Record<string, unknown>);
      }
    });
    ended.then((how) => reject(new Error(`${program.name} ended before it was ready (${how})`)));
  });
  ready.catch(() => undefined);
  return {
    ready,
    pid: () => child.pid,
    ended,
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
    stop: async (graceMs = 2500) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const guard = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await ended;
      clearTimeout(guard);
    },
  };
}
