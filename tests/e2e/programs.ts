import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Running, startProgram } from "@jilian/deploy/processes.ts";
import { until } from "./until.ts";

const root = resolve(fileURLToPath(import.meta.url), "../../..");

/** A program of the product and what it is started with. */
export type ProgramSetting = {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Starts what is no program of ours, such as another broker, in its place. */
  readonly run?: (onLine: (line: string) => void) => Running;
};

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
  /** What a gateway or ingest that runs tells of itself under a name of its Prometheus metrics, of all labels together. */
  readonly metric: (name: string, metric: string) => Promise<number>;
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

/** Sum of the lines of a metric in Prometheus' text format. @throws RangeError when there is none */
function sumOf(text: string, metric: string): number {
  const own = text.split("\n").filter((line) => line.startsWith(`${metric} `) || line.startsWith(`${metric}{`));
  if (own.length === 0) throw new RangeError(`no metric ${metric}`);
  return own.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** The port at which a program says that it tells of itself. */
function opsPortIn(line: string): number | undefined {
  if (!line.includes("health and metrics listen")) return undefined;
  return (JSON.parse(line) as { port?: number }).port;
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
  const opsPorts = new Map<string, number>();
  const complaints: string[] = [];
  return {
    start: async (name) => {
      const setting = settings.get(name);
      if (!setting) throw new RangeError(`no program is called ${name}`);
      opsPorts.delete(name);
      const own = { JILIAN__ops__port: "0", ...env, ...setting.env };
      const take = (line: string): void => {
        const port = opsPortIn(line);
        if (port !== undefined) opsPorts.set(name, port);
        if (isComplaint(line)) complaints.push(`${name}: ${line}`);
        onLine(name, line);
      };
      const started = setting.run ? setting.run(take) : startProgram({ name, args: setting.args, env: own }, take);
      running.set(name, started);
      await started.ready;
    },
    kill: async (name) => running.get(name)?.kill(),
    pids: () => new Map([...running].map(([name, handle]) => [name, handle.pid() ?? 0])),
    ended: async (name) => running.get(name)?.ended ?? "never started",
    metric: async (name, metric) => {
      await until(`${name} to tell of itself`, 20_000, () => opsPorts.has(name));
      const url = `http://127.0.0.1:${opsPorts.get(name)}/metrics`;
      return sumOf(await (await fetch(url, { signal: AbortSignal.timeout(20_000) })).text(), metric);
    },
    complaints: () => [...complaints],
    close: async (first, then) => {
      await Promise.all(first.map((name) => running.get(name)?.stop()));
      for (const name of then) await running.get(name)?.stop();
    },
  };
}
