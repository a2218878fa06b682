import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { checkConfig, formatFaults } from "@jilian/domain/check-config.ts";
import { codeOf, JilianError } from "@jilian/domain/errors.ts";
import { connectInflux, type InfluxClient } from "@jilian/store/influx/client.ts";
import { type InfluxSetting, influxSchema, influxSetting } from "@jilian/store/influx/config.ts";
import { Type } from "typebox";
import { stringify } from "yaml";

/** What marks a database that `npm start` made, and may therefore empty; it names the process that works in it. */
const marker = "jilian_demo";
const markerLine = () => `${marker} host=${JSON.stringify(hostname())},pid=${process.pid}i ${Date.now()}`;
/** Nobody waits half a minute in silence for an address that was mistyped. */
const startWaitMs = 3000;

/** The process of this machine that works in a marked database, if it lives. */
async function ownerOf(influx: InfluxClient): Promise<number | undefined> {
  const [block] = await influx.query(`SELECT host, pid FROM ${marker} ORDER BY time DESC LIMIT 1`);
  const [, host, pid] = block?.values[0] ?? [];
  if (host !== hostname() || Number(pid) === process.pid) return undefined;
  try {
    process.kill(Number(pid), 0);
    return Number(pid);
  } catch (error) {
    return codeOf(error) === "EPERM" ? Number(pid) : undefined;
  }
}

function databaseError(setting: InfluxSetting, message: string, remedy: string): JilianError {
  return new JilianError(message, {
    code: "DEMO_DATABASE",
    action: "make the demonstration's database anew",
    remedy,
    address: `${setting.url}, database ${setting.database}`,
  });
}

/**
 * Makes the database of a demonstration anew. Only an empty one, or one that such a call made before, is taken: its mark is the
 * measurement `jilian_demo`. InfluxQL cannot empty a bucket of 2.x or a database of 3.x: there it has to be empty.
 * @throws JilianError DEMO_DATABASE when it holds anything else; what {@link connectInflux} throws
 */
export async function freshDatabase(setting: InfluxSetting): Promise<void> {
  const influx = await connectInflux({ ...setting, startWaitMs });
  try {
    if (influx.flavour === 1) await influx.createDatabase();
    const blocks = await influx.query("SHOW MEASUREMENTS");
    const names = blocks.flatMap(({ values }) => values.map((row) => row.at(-1)));
    if (names.length === 0) return await influx.write([markerLine()]);
    const another = "name another with --database, or empty this one yourself";
    if (!names.includes(marker)) {
      throw databaseError(setting, "the database is not empty and not a demonstration's", another);
    }
    const owner = await ownerOf(influx);
    if (owner !== undefined)
      throw databaseError(setting, `process ${owner} runs a demonstration in the database`, another);
    if (influx.flavour !== 1) throw databaseError(setting, "the database holds an earlier demonstration", another);
    await influx.query(`DROP DATABASE "${setting.database.replaceAll(/["\\]/g, "\\$&")}"`);
    await influx.createDatabase();
    await influx.write([markerLine()]);
  } finally {
    influx.close();
  }
}

export type DemoInflux = {
  readonly url: string;
  readonly database: string;
  /** Makes the database fresh: what {@link freshDatabase} says. */
  readonly empty: () => Promise<void>;
};

/**
 * The InfluxDB that `npm start -- --influx URL [--database NAME]` names, checked, nothing asked of it yet; undefined when none is named. User or
 * token come from the environment, where the platform finds them too: `JILIAN__influx__username`, `...__passwordFile`, `...__tokenFile`.
 * @throws JilianError DEMO_ARGUMENTS
 */
export function demoInflux(args: readonly string[], env: NodeJS.ProcessEnv): DemoInflux | undefined {
  const refuse = (message: string, cause?: unknown): JilianError =>
    new JilianError(message, {
      code: "DEMO_ARGUMENTS",
      action: "read the arguments",
      remedy: "npm start -- --influx http://localhost:8086 [--database NAME]",
      cause,
    });
  const options = { influx: { type: "string" }, database: { type: "string", default: "jilian_demo" } } as const;
  let values: { influx?: string | undefined; database: string };
  try {
    values = parseArgs({ args: [...args], options }).values;
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (values.influx === undefined) return undefined;
  const influx = { url: values.influx, database: values.database };
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith("JILIAN__influx__")));
  const schema = Type.Object({ influx: influxSchema });
  const found = checkConfig(schema, stringify({ influx }), "npm start -- --influx", () => [], own);
  if (!found.ok) throw refuse(formatFaults(found.faults));
  const setting = found.value.influx;
  return { ...influx, empty: async () => freshDatabase(await influxSetting(setting)) };
}
