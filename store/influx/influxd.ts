import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const executable = "/usr/bin/influxd";
const startTimeoutMs = 30_000;

/** True where Debian's InfluxDB 1.x is installed (package `influxdb`); tests that need it skip and say so where it is not. */
export const hasInfluxd = (): boolean => existsSync(executable);

/** Bounds of 1.x on what its index holds, section [data]; 0: none. InfluxDB's own defaults where absent. */
export type InfluxdLimits = { "max-series-per-database"?: number; "max-values-per-tag"?: number };

export type InfluxdSetting = {
  limits?: InfluxdLimits;
  /** Folder of its data, kept at `stop`; absent: a temporary one, removed at `stop`. */
  dir?: string;
  /** Asks every request for a user. The first user is made by `CREATE USER ... WITH ALL PRIVILEGES`, which needs none. */
  auth?: boolean;
  /** Runs it on this processor core alone: for measurements. */
  cpu?: number;
};

/** A real InfluxDB 1.x of one test. */
export type Influxd = {
  /** Of its HTTP interface; stays the same over `restart`. */
  readonly url: string;
  readonly pid: () => number;
  /** SIGKILL, as a power cut of the process; resolves when it is gone. */
  readonly kill: () => Promise<void>;
  /**
   * Stops it the same way as `kill` where it still runs, and starts it on the same data and port; resolves when it serves.
   * @param limits those from now on; as before when absent
   */
  readonly restart: (limits?: InfluxdLimits) => Promise<void>;
  /** Ends it and removes the folder it made. */
  readonly stop: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** Everything of InfluxDB that talks, logs or measures by itself is off; every write is synced to disk before it is acknowledged. */
const configOf = (dir: string, port: number, auth: boolean, limits: InfluxdLimits) => `
reporting-enabled = false
bind-address = "127.0.0.1:0"
[meta]
  dir = "${join(dir, "meta")}"
[data]
  dir = "${join(dir, "data")}"
  wal-dir = "${join(dir, "wal")}"
  wal-fsync-delay = "0s"
  query-log-enabled = false
${Object.entries(limits)
  .map(([name, value]) => `  ${name} = ${value}`)
  .join("\n")}
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  auth-enabled = ${auth}
  log-enabled = false
  pprof-enabled = false
[logging]
  format = "logfmt"
  level = "info"
  suppress-logo = true
`;

/** Starts the process and resolves with its port when it listens; its own log tells it, so that no port is guessed. */
async function launch(configPath: string, cpu: number | undefined): Promise<{ child: ChildProcess; port: number }> {
  const args = ["run", "-config", configPath];
  const child = spawn(
    cpu === undefined ? executable : "taskset",
    cpu === undefined ? args : ["-c", String(cpu), executable, ...args],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, GOMAXPROCS: cpu === undefined ? "" : "1" } },
  );
  const seen: string[] = [];
  const listening = Promise.withResolvers<number>();
  const timer = setTimeout(() => listening.reject(new Error("not listening in time")), startTimeoutMs);
  child.once("error", listening.reject);
  child.once("exit", (code, signal) => listening.reject(new Error(`ended with ${code ?? signal}`)));
  createInterface({ input: child.stderr as NonNullable<typeof child.stderr> }).on("line", (line) => {
    const port = /Listening on HTTP.*addr=[^ ]*:(\d+)/.exec(line)?.[1];
    if (port) listening.resolve(Number(port));
    seen.push(line);
    if (seen.length > 20) seen.shift();
  });
  try {
    return { child, port: await listening.promise };
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`influxd did not start:\n${seen.join("\n")}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

/** Starts a real InfluxDB 1.x on a free port of this machine's loopback. Resolves when it serves. */
export async function startInfluxd({
  dir: wanted,
  auth = false,
  cpu,
  limits = {},
}: InfluxdSetting = {}): Promise<Influxd> {
  const dir = wanted ?? mkdtempSync(join(tmpdir(), "jilian-influxd-"));
  const configPath = join(dir, "influxdb.conf");
  writeFileSync(configPath, configOf(dir, 0, auth, limits));
  let { child, port } = await launch(configPath, cpu);
  const configure = (by: InfluxdLimits) => writeFileSync(configPath, configOf(dir, port, auth, by));
  configure(limits);
  // A test process that ends without `stop` must not leave a server behind.
  const orphaned = () => child.kill("SIGKILL");
  process.once("exit", orphaned);
  const stop = async () => {
    process.removeListener("exit", orphaned);
    await end(child, "SIGKILL");
    if (wanted === undefined) rmSync(dir, { recursive: true, force: true });
  };
  return {
    url: `http://127.0.0.1:${port}`,
    pid: () => child.pid as number,
    kill: () => end(child, "SIGKILL"),
    restart: async (changed) => {
      await end(child, "SIGKILL");
      if (changed) configure(changed);
      ({ child, port } = await launch(configPath, cpu));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
