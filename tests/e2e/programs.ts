import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Running, startProgram } from "@jilian/deploy/processes.ts";

const root = resolve(fileURLToPath(import.meta.url), "../../..");

/** A program of the product and what it is started with. */
export type ProgramSetting = { readonly args: readonly string[]; readonly env?: Readonly<Record<string, string>> };

export const brokerProgram = (config: string): ProgramSetting => platform(["broker"], config);
export const ingestProgram = (config: string): ProgramSetting => platform(["ingest", "api"], config);
/** Broker, ingest and interface in one process. */
export const platformProgram = (config: string): ProgramSetting => platform([], config);

function platform(services: readonly string[], config: string): ProgramSetting {
  return { args: [resolve(root, "deploy/jilian.ts"), "run", ...services, "--config", config] };
}

export function gatewayProgram(config: string, env: Readonly<Record<string, string>> = {}): ProgramSetting {
  return { args: [resolve(root, "gateway/main.ts"), "run", "--config", config], env };
}

/** Programs of the product as processes, by name. */
export type Programs = {
  /** Starts one, or starts it again; resolves when it is ready. */
  readonly start: (name: string) => Promise<void>;
  /** SIGKILL; resolves when the process is gone. */
  readonly kill: (name: string) => Promise<void>;
  readonly pids: () => Map<string, number>;
  /** Resolves with exit code or signal of the process that bears the name now. */
  readonly ended: (name: string) => Promise<number | string>;
  /** Everything that was logged at level warn and above, and what was not a log line. */
  readonly complaints: () => string[];
  /** Ends all with SIGTERM: those named first together, then the others in order. */
  readonly close: (first: readonly string[], then: readonly string[]) => Promise<void>;
};

/** Level of a pino line; lines that are none count as complaints. */
function isComplaint(line: string): boolean {
  try {
    const { level } = JSON.parse(line) as { level?: number };
    return level === undefined || level >= 40;
  } catch {
    return true;
  }
}

/**
 * @param env of all of them
 * @param onLine takes each line that they write
 */
export function programs(
  settings: ReadonlyMap<string, ProgramSetting>,
  env: Readonly<Record<string, string>>,
  onLine: (name: string, line: string) => void = () => undefined,
): Programs {
  const running = new Map<string, Running>();
  const complaints: string[] = [];
  return {
    start: async (name) => {
      const setting = settings.get(name);
      if (!setting) throw new RangeError(`no program is called ${name}`);
      const started = startProgram({ name, args: setting.args, env: { ...env, ...setting.env } }, (line) => {
        if (isComplaint(line)) complaints.push(`${name}: ${line}`);
        onLine(name, line);
      });
      running.set(name, started);
      await started.ready;
    },
    kill: async (name) => running.get(name)?.kill(),
    pids: () => new Map([...running].map(([name, handle]) => [name, handle.pid() ?? 0])),
    ended: async (name) => running.get(name)?.ended ?? "never started",
    complaints: () => [...complaints],
    close: async (first, then) => {
      await Promise.all(first.map((name) => running.get(name)?.stop()));
      for (const name of then) await running.get(name)?.stop();
    },
  };
}
