import { roleNames, roles } from "@jilian/domain/roles.ts";
import { gatewaySchema } from "../config.ts";
import { argumentsOf, type CommandIo, usage } from "./io.ts";

const help = `jilian-gateway schema > gateway.schema.json   the JSON Schema of the configuration, for editors

In an editor that speaks YAML (VS Code: extension YAML of Red Hat) write as the first line of gateway.yaml:
  # yaml-language-server: $schema=./gateway.schema.json
Keys are then completed and explained, wrong ones marked. What goes beyond a schema (names used twice, registers that do not fit, units of
roles) is found by jilian-gateway check.
Exit codes: 0 done, 2 wrong arguments.
`;

type Schema = { readonly [key: string]: unknown };

/** What keys mean that have no description where they stand; a name after its section goes before the bare name. */
const meanings: Readonly<Record<string, string>> = {
  broker: "MQTT broker of the platform",
  history: "quarter hours that the box keeps for itself, for jilian-gateway export; false keeps none",
  "broker/host": "address of the broker",
  tls: "TLS to the broker; an empty section {} takes the authorities that Node.js knows",
  username: "name at the broker, as the registration of the gateway gave it",
  keepaliveMs: "a broker that is silent for longer is given up, ms",
  reconnectMinMs: "first wait before another connect, ms; doubled after each failure",
  reconnectMaxMs: "longest wait before another connect, ms",
  outbox: "file that keeps every reading until the platform has stored it",
  maxBytes: "greatest size of the file; beyond it the oldest readings are dropped, counted",
  fsyncMs: "how often what was written is made safe from a power cut, ms; 0 after each record",
  backlogRecordsPerSecond: "how fast what waited is sent after an outage, records a second",
  backlogBytesPerSecond: "how fast what waited is sent after an outage, bytes a second",
  commitTimeoutMs: "what the platform has not confirmed within this is sent again, ms",
  maxInFlightRecords: "records sent and not yet confirmed, at most",
  logLevel: "how much is logged; info if absent. JILIAN_LOG_LEVEL goes before it",
  ops: "health and metrics over HTTP; not served if absent",
  opcua: "the gateway as a client of OPC UA: its name, its certificates",
  lines: "lines that several devices share: RS-485 at a serial port, behind a converter, or of a box that dials in",
  kind: "serial (a port of this box), tcp (a converter in transparent mode) or listen (a box that dials in)",
  baudRate: "speed of the line, as its devices are set",
  dataBits: "bits of a character",
  parity: "none, even or odd, as its devices are set",
  stopBits: "stop bits of a character",
  "lines/port": "TCP port of the converter",
  devices: "what is read: each a PLC, a meter or a server",
  driver: "protocol of the device",
  host: "address of the device, or of the serial gateway before it",
  port: "TCP port of the device",
  unitId:
    "Modbus unit id; 1 or 255 for most devices with their own Ethernet, the address on the line behind a serial gateway",
  pollIntervalMs: "how often it is read, ms",
  heartbeatMs:
    "a value that does not change is sent so often all the same, ms; that of a tag goes before that of its device",
  retryMinMs: "first wait before another connect, ms; doubled after each failure",
  retryMaxMs: "longest wait before another connect, ms",
  maxRegistersPerRead: "most registers that the device gives in one read: see its manual, or jilian-gateway probe",
  maxReadsInFlight: "reads on their way at once; 1 unless the device is known to take more",
  tags: "what is read of the device: each a metric",
  numerator: "whole number",
  denominator: "whole number above 0: 10 for a value in tenths",
  role: `what the value means; indicators are computed from roles: ${roleNames
    .map((name) => `${name} (${roles[name].zh}, ${roles[name].en}, ${roles[name].unit})`)
    .join("; ")}`,
  carrier: "what a meter counts, where the role alone does not say it",
  product: "what a production counter counts",
  modulusCounts: "count at which the counter starts again from 0; the width of its unsigned type if absent",
  range: "values outside are kept and marked BadOutOfRange",
  min: "least value that can be, in the unit",
  max: "greatest value that can be, in the unit",
  table: "holding (function 3), input (4), coil (1) or discrete (2)",
  type: "how the value is stored in the device",
  order: "order of the bytes: ABCD big-endian, CDAB registers exchanged, BADC bytes exchanged, DCBA little-endian",
  derived: "metrics computed from tags of this device, once a poll",
  operation: "sum, difference (the first less the others) or ratio (the first by the second)",
  of: "the tags that it is computed from",
  sentinels: "values as read that mean none: they turn the tag bad",
  sign: "of a BCD value: how its sign is stored; unsigned if absent",
  lengthRegisters: "registers that a string takes",
  encoding: "of a string: ascii, utf-8 or gbk",
  offset: "decimal added after the factor",
  enumeration: "what numbers as read stand for: codes of states, or texts",
  security: "security of the connection; None if absent",
  mode: "None, Sign or SignAndEncrypt",
  policy: "security policy, with mode Sign or SignAndEncrypt",
  "user/name": "user name at the server",
};

function isSchema(found: unknown): found is Schema {
  return typeof found === "object" && found !== null && !Array.isArray(found);
}

/** A choice of words as editors complete it best. */
function asEnum(choices: readonly Schema[]): Schema {
  const words = choices.every((choice) => "const" in choice) ? choices.map((choice) => choice.const) : undefined;
  return words === undefined ? { anyOf: choices.map((choice) => forEditors(choice)) } : { enum: words };
}

/** The part of an object: keys with a default may be left out, and each key says what it is. */
function forObject(properties: Readonly<Record<string, Schema>>, required: readonly string[], section: string): Schema {
  const own = Object.entries(properties).map(([key, schema]) => {
    const description = schema.description ?? meanings[`${section}/${key}`] ?? meanings[key];
    const part = forEditors(schema, key);
    return [key, description === undefined ? part : { ...part, description }] as const;
  });
  const needed = required.filter((key) => !("default" in (properties[key] ?? {})));
  return { properties: Object.fromEntries(own), ...(needed.length > 0 ? { required: needed } : {}) };
}

/** A schema as an editor needs it: the gateway's own fills in defaults before it asks what is missing. */
function forEditors(schema: Schema, section = ""): Schema {
  const { anyOf, items, properties, required, ...rest } = schema;
  return {
    ...rest,
    ...(Array.isArray(anyOf) ? asEnum(anyOf as Schema[]) : {}),
    ...(isSchema(items) ? { items: forEditors(items, section) } : {}),
    ...(isSchema(properties)
      ? forObject(properties as Record<string, Schema>, (required ?? []) as string[], section)
      : {}),
  };
}

/** The JSON Schema (draft 7, which editors know best) of a gateway's configuration. Pure. */
export function configurationSchema(): Schema {
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "jilian-gateway",
    description: "Configuration of a Jilian gateway (集联网关)",
    ...forEditors(JSON.parse(JSON.stringify(gatewaySchema)) as Schema),
  };
}

/** `jilian-gateway schema`. @returns the exit code */
export async function schemaCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const parsed = argumentsOf(args, {}, help, io);
  if (typeof parsed === "number") return parsed;
  if (parsed.positionals.length > 0) return usage(`unknown: ${parsed.positionals.join(" ")}`, help, io);
  io.print(JSON.stringify(configurationSchema(), null, 2));
  return 0;
}
