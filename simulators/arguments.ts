/** Command line of `simulate`: every fault is found and told at once. */
import { parseArgs } from "node:util";
import { isProfileName, PROFILE_NAMES, type ProfileName } from "./profiles.ts";
import type { SimulatedPlantOptions } from "./simulator.ts";

export const USAGE = `Usage: npm run simulate -- [options]

  --profile NAME         ${PROFILE_NAMES.join(", ")} (default copper-casting)
  --seed N               whole number; plants of one seed are alike (default 1)
  --plants N             start N plants: profiles in turn from --profile on, seeds from --seed on (default 1)
  --host ADDRESS         address to listen on (default 127.0.0.1; 0.0.0.0 for clients elsewhere)
  --port N               port of a single plant (default 1502; 0 takes a free one)
  --base-port N          port of the first of several plants, the next ones follow (default 15020; 0: free ones)
  --rate X               plant seconds in a real second (default 1)
  --origin-ms N          plant time at --started-real-ms, in ms since 1970 (default: the same)
  --started-real-ms N    real time at which the plant started (default: now)
  --control-port N       control interface on loopback at this port (0 takes a free one; default: none)
  --unknown-units HOW    silent or gatewayException (default silent)
  --protocols LIST       modbus, opcua or both for each plant, separated by commas, in turn (default modbus)
  --opcua-base-port N    OPC UA port of the first plant, the next ones follow, served or not (default 15120; 0: free ones)
  --opcua-pki DIR        folder of the OPC UA servers' certificates, kept from start to start (default: a temporary one)
  --opcua-user NAME      user of the secured OPC UA endpoints, which then refuse anonymous clients (default: no user)
  --opcua-password-file FILE  file whose first line is that user's password
  --print-map HOW        print the maps as columns, markdown or json and end; readme updates the README
  --help                 print this and end
`;

const MAPS_AS = ["columns", "markdown", "json", "readme"] as const;
const UNKNOWN_UNITS = ["silent", "gatewayException"] as const;
const PROTOCOLS = ["modbus", "opcua", "both"] as const;

export type SimulateArguments = {
  readonly help: boolean;
  readonly profile: ProfileName;
  readonly plants: readonly SimulatedPlantOptions[];
  readonly rate: number;
  readonly originMs: number;
  readonly startedRealMs: number;
  readonly controlPort?: number;
  readonly unknownUnits: (typeof UNKNOWN_UNITS)[number];
  readonly printMap?: (typeof MAPS_AS)[number];
  readonly opcuaPki?: string;
  readonly opcuaUser?: { readonly name: string; readonly passwordFile: string };
};

const OPTIONS = {
  profile: { type: "string" },
  seed: { type: "string" },
  plants: { type: "string" },
  host: { type: "string" },
  port: { type: "string" },
  "base-port": { type: "string" },
  rate: { type: "string" },
  "origin-ms": { type: "string" },
  "started-real-ms": { type: "string" },
  "control-port": { type: "string" },
  "unknown-units": { type: "string" },
  "print-map": { type: "string" },
  protocols: { type: "string" },
  "opcua-base-port": { type: "string" },
  "opcua-pki": { type: "string" },
  "opcua-user": { type: "string" },
  "opcua-password-file": { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;
type OptionName = keyof typeof OPTIONS;
type Given = ReadonlyMap<OptionName, string>;

const LARGEST_TIME_MS = 8.64e15;

function readGiven(args: readonly string[], errors: string[]): Given {
  const { tokens } = parseArgs({
    args: [...args],
    options: OPTIONS,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<OptionName, string>();
  for (const token of tokens) {
    if (token.kind === "positional") errors.push(`${token.value}: no argument without an option is expected`);
    if (token.kind !== "option") continue;
    if (!Object.hasOwn(OPTIONS, token.name)) errors.push(`${token.rawName}: no such option`);
    else if (token.name === "help") given.set("help", "");
    else if (token.value === undefined) errors.push(`${token.rawName}: needs a value`);
    else given.set(token.name as OptionName, token.value);
  }
  return given;
}

function createReaders(given: Given, errors: string[]) {
  const complain = (name: OptionName, expected: string): void => {
    errors.push(`--${name}: found ${JSON.stringify(given.get(name))}, expected ${expected}`);
  };
  return {
    complain,
    integer(name: OptionName, fallback: number, min: number, max: number): number {
      const text = given.get(name);
      if (text === undefined) return fallback;
      const value = Number(text);
      if (/^-?\d+$/.test(text) && value >= min && value <= max) return value;
      complain(name, `a whole number from ${min} to ${max}`);
      return fallback;
    },
    choice<T extends string>(name: OptionName, choices: readonly T[]): T | undefined {
      const text = given.get(name);
      const found = choices.find((choice) => choice === text);
      if (text !== undefined && found === undefined) complain(name, `one of ${choices.join(", ")}`);
      return found;
    },
  };
}

type Readers = ReturnType<typeof createReaders>;

/** Which plants are served over what; the list is gone through again and again. */
function readProtocols(given: Given, { complain }: Readers): readonly (typeof PROTOCOLS)[number][] {
  const words = (given.get("protocols") ?? "modbus").split(",");
  const found = words.flatMap((word) => PROTOCOLS.filter((protocol) => protocol === word));
  if (found.length === words.length) return found;
  complain("protocols", `${PROTOCOLS.join(", ")}, separated by commas`);
  return ["modbus"];
}

function readOpcua(given: Given, errors: string[]): Pick<SimulateArguments, "opcuaPki" | "opcuaUser"> {
  const [pki, name, passwordFile] = [given.get("opcua-pki"), given.get("opcua-user"), given.get("opcua-password-file")];
  if ((name === undefined) !== (passwordFile === undefined)) {
    errors.push("--opcua-user: goes with --opcua-password-file, and that with it");
  }
  return {
    ...(pki === undefined ? {} : { opcuaPki: pki }),
    ...(name === undefined || passwordFile === undefined ? {} : { opcuaUser: { name, passwordFile } }),
  };
}

/** Reads the command line (without node and script). `nowMs` is the real time that stands in for absent times. */
export function parseSimulateArguments(
  args: readonly string[],
  nowMs: number,
): { value: SimulateArguments } | { errors: readonly string[] } {
  const errors: string[] = [];
  const given = readGiven(args, errors);
  const readers = createReaders(given, errors);
  const { complain, integer, choice } = readers;
  const profileText = given.get("profile") ?? "copper-casting";
  const profile = isProfileName(profileText) ? profileText : "copper-casting";
  if (profile !== profileText) complain("profile", `one of ${PROFILE_NAMES.join(", ")}`);
  const rate = Number(given.get("rate") ?? "1");
  if (!(rate > 0 && rate <= 1_000_000)) complain("rate", "a number above 0, at most 1000000");
  const count = integer("plants", 1, 1, 100);
  const several = given.has("plants") || given.has("base-port");
  if (several && given.has("port")) errors.push("--port: for a single plant; several take --base-port");
  const seed = integer("seed", 1, 0, 2 ** 31);
  const port = integer("port", 1502, 0, 65_535);
  const basePort = integer("base-port", 15_020, 0, 65_536 - count);
  const startedRealMs = integer("started-real-ms", nowMs, 0, LARGEST_TIME_MS);
  const originMs = integer("origin-ms", startedRealMs, 0, LARGEST_TIME_MS);
  const controlPort = integer("control-port", -1, 0, 65_535);
  const unknownUnits = choice("unknown-units", UNKNOWN_UNITS) ?? "silent";
  const printMap = choice("print-map", MAPS_AS);
  const protocols = readProtocols(given, readers);
  const opcuaBasePort = integer("opcua-base-port", 15_120, 0, 65_536 - count);
  const opcua = readOpcua(given, errors);
  if (errors.length > 0) return { errors };
  const first = PROFILE_NAMES.indexOf(profile);
  const firstPort = several ? basePort : port;
  const plants = Array.from({ length: count }, (_, i) => {
    const protocol = protocols[i % protocols.length];
    return {
      profile: PROFILE_NAMES[(first + i) % PROFILE_NAMES.length] ?? profile,
      seed: seed + i,
      host: given.get("host") ?? "127.0.0.1",
      port: protocol === "opcua" ? null : firstPort && firstPort + i,
      opcuaPort: protocol === "modbus" ? null : opcuaBasePort && opcuaBasePort + i,
      startMs: originMs,
    };
  });
  return {
    value: {
      help: given.has("help"),
      profile,
      plants,
      rate,
      originMs,
      startedRealMs,
      unknownUnits,
      ...opcua,
      ...(controlPort < 0 ? {} : { controlPort }),
      ...(printMap === undefined ? {} : { printMap }),
    },
  };
}
