import { argumentsOf, type CommandIo, usage } from "./io.ts";
import { readClock } from "./setting.ts";
import { readForCommand } from "./setting-read.ts";
import { standardFile } from "./status.ts";

const help = `jilian-gateway check gateway.yaml [--print]   checks the configuration; opens and connects nothing

Faults are told all at once, each with line, value, expectation and remedy. Warnings are what may be meant so and seldom is; they do not
change the exit code. Without a file: ./gateway.yaml, else /etc/jilian-gateway/gateway.yaml. --print shows the configuration as it takes effect, without secrets. The file can be given with --config as well.
Exit codes: 0 no fault, 1 it could not be read within a minute, 2 wrong configuration or arguments.
`;

/** `jilian-gateway check`. @returns the exit code; a configuration with faults ends the program with code 2 */
export async function checkCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = { config: { type: "string" }, print: { type: "boolean", default: false } } as const;
  const parsed = argumentsOf(args, options, help, io);
  if (typeof parsed === "number") return parsed;
  const { values, positionals } = parsed;
  const files = values.config === undefined ? positionals : [values.config, ...positionals];
  const [named, ...rest] = files;
  if (rest.length > 0) return usage(`unknown: ${rest.join(" ")}`, help, io);
  const file = standardFile(named, help, io);
  if (typeof file === "number") return file;
  const { config, notes, warnings, printed } = await readForCommand(file, values.print ? "print" : "check");
  await readClock(config);
  const [{ commissioningWarnings }, { historyWarnings }, { certificateWarnings }] = await Promise.all([
    import("./check-warnings.ts"),
    import("./check-history.ts"),
    import("./check-certificate.ts"),
  ]);
  if (values.print) io.print(printed.trimEnd());
  else io.print(`${file}: no fault. ${config.devices.length} devices.`);
  // Not among what --print gives to other programs.
  const found = [
    ...commissioningWarnings(config),
    ...historyWarnings(config),
    ...certificateWarnings(config, Date.now()),
  ];
  for (const warning of [...warnings, ...found]) io.complain(`warning: ${warning}`);
  if (!values.print) for (const note of notes) io.print(`note: ${note}`);
  return 0;
}
