import { type ChildProcess, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { JilianError } from "@jilian/domain/errors.ts";
import { type Refusal, readSetting, type Setting } from "./commands/setting.ts";

/** What a configuration is read for: a run, a command, or a command that shows it as it takes effect. */
export type Wanted = "run" | "check" | "print";

/** What has come of it. `printed` is empty where it is not wanted: that is seconds of work. */
export type SettingAside = Pick<Setting, "config" | "warnings" | "notes"> & { readonly printed: string };

/** What the process tells: the configuration, or every fault in it. */
export type SettingRead = SettingAside | { readonly refused: string };

/** What else is loaded into that process may tell its parent something too: a monitor, or Node.js with --watch. */
function isRead(message: unknown): message is SettingRead {
  return typeof message === "object" && message !== null && ("refused" in message || "config" in message);
}

/** Beside the sources; in a package beside the bundle, whose parts lie in a folder of their own. */
const places = ["setting-worker.ts", "setting-worker.mjs", "../setting-worker.mjs"];

/**
 * For reading and checking together, at most: tens of thousands of tags take seconds, on a small box perhaps half a minute. Shorter than
 * what systemd gives a start (TimeoutStartSec), so that it is us who say what is wrong.
 */
const readingMs = 60_000;

/** What holds up a reading for ever: a pipe that nobody writes to, a network drive whose server is gone. */
function unread(file: string, boundMs: number): JilianError {
  return new JilianError(`${file}: not read and checked within ${boundMs} ms`, {
    code: "CONFIG_UNREAD",
    action: "read the configuration",
    address: file,
    remedy:
      "put it on a disk of this box, as a plain file and not a pipe; look whether the drive of it, and of the files that it names, answers",
  });
}

/** What saves memory is for this process too: a fifth of its most. */
const isOfMemory = (flag: string): boolean => /^--(optimize-for-size|max-)/.test(flag);

/** Undefined where none can be had: some reasons are thrown (no memory), others told later. */
function startProcess(program: string, file: string, wanted: Wanted): ChildProcess | undefined {
  try {
    // Not our output: a process that is given it makes it block, also for us, and a pipe that nobody reads would hold up our end.
    return fork(program, [file, wanted], {
      // A command may be given /dev/stdin.
      stdio: [wanted === "run" ? "ignore" : "inherit", "ignore", "ignore", "ipc"],
      execArgv: process.execArgv.filter(isOfMemory),
      // As JSON an infinite number would be none.
      serialization: "advanced",
    });
  } catch {
    return undefined;
  }
}

/** Undefined where no process can be had. */
function readInProcess(
  program: string,
  file: string,
  { signal, boundMs, wanted }: { signal: AbortSignal; boundMs: number; wanted: Wanted },
): Promise<SettingRead | undefined> {
  return new Promise((done, fail) => {
    const child = startProcess(program, file, wanted);
    if (child === undefined) return done(undefined);
    const end = () => void child.kill("SIGKILL");
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    const late = setTimeout(() => {
      fail(unread(file, boundMs));
      end();
      // One that waits for a drive may end much later, or never: nobody waits for that.
      if (child.connected) child.disconnect();
      child.unref();
    }, boundMs);
    child.on("message", (message) => {
      if (isRead(message)) done(message);
    });
    // Of a process that runs, this tells of a signal that did not reach it: it ends by itself.
    child.once("error", () => {
      if (child.pid !== undefined) return;
      clearTimeout(late);
      done(undefined);
    });
    child.once("close", (code, killedBy) => {
      clearTimeout(late);
      signal.removeEventListener("abort", end);
      // After a message this is of no effect.
      fail(new Error(`${file}: not read to its end (${killedBy ?? `exit code ${code}`})`));
    });
  });
}

/**
 * Reads and checks a configuration in a process of its own, for commands, at the start and while the gateway runs: no poll waits for it,
 * however long it takes to tell what is wrong, what never comes is given up, and what reading took is given back. YAML, schemas and what they
 * leave behind would hold 15 to 30 MB of a process that needs them once; a thread gives back little of it.
 * @param signal ends the process, and the reading with a fault
 * @param boundMs for reading and checking together
 * @throws Error whose message lists every fault, if that is what the refusal does
 * @throws JilianError CONFIG_UNREAD: the bound passed, and what keeps it may be over later; the process is ended
 */
export async function readSettingAside(
  file: string,
  refusal: Refusal,
  signal: AbortSignal,
  { boundMs = readingMs, wanted = "run" }: { boundMs?: number; wanted?: Wanted } = {},
): Promise<SettingAside> {
  const program = places.map((place) => join(import.meta.dirname, place)).find((path) => existsSync(path));
  if (program === undefined) return refusal(`${places[0]} is missing\n  remedy: install the gateway again`);
  const read = await readInProcess(program, file, { signal, boundMs, wanted });
  if (read !== undefined) return "refused" in read ? refusal(read.refused) : read;
  const { printed, ...setting } = await readSetting(file, wanted !== "run", refusal);
  return { ...setting, printed: wanted === "print" ? printed() : "" };
}
