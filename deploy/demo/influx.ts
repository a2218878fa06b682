import { parseArgs } from "node:util";
import { checkConfig, formatFaults } from "@jilian/domain/check-config.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { connectInflux } from "@jilian/store/influx/client.ts";
import { type InfluxSetting, influxSchema, influxSetting } from "@jilian/store/influx/config.ts";
import { Type } from "typebox";
import { stringify } from "yaml";

/** What marks a database that `npm start` made, and may therefore empty. */
const marker = "jilian_demo";

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
  const influx = await connectInflux(setting);
  try {
    if (influx.flavour === 1) await influx.createDatabase();
    const blocks = await influx.query("SHOW MEASUREMENTS");
    const names = blocks.flatMap(({ values }) => values.map((row) => row.at(-1)));
    if (names.length === 0) return await influx.write([`${marker} made=true 0`]);
    const another = "name another with --database, or empty this one yourself";
    if (!names.includes(marker)) {
      throw databaseError(setting, "the database is not empty and not a demonstration's", another);
    }
    if (influx.flavour !== 1) throw databaseError(setting, "the database holds an earlier demonstration", another);
    await influx.query(`DROP DATABASE "${setting.database.replaceAll(/["\\]/g, "\\$&")}"`);
    await influx.createDatabase();
    await influx.write([`${marker} made=true 0`]);
  } finally {
    influx.close();
  }
}

export type DemoInflux = { url: string; database: string };

/**
 * The InfluxDB that `npm start -- --influx URL [--database NAME]` names, its database made fresh; undefined when none is named. User or
 * token come from the environment, where the platform finds them too: `JILIAN__influx__username`, `...__passwordFile`, `...__tokenFile`.
 * @throws JilianError DEMO_ARGUMENTS; what {@link freshDatabase} throws
 */
export async function demoInflux(args: readonly string[], env: NodeJS.ProcessEnv): Promise<DemoInflux | undefined> {
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
  await freshDatabase(await influxSetting(found.value.influx));
  return influx;
}
