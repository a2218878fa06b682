import { argumentsOf, type CommandIo, usage } from "./io.ts";
import { answered, standardFile } from "./status.ts";

const help = `jilian-gateway ask DEVICE GROUP [--config gateway.yaml]   has the running gateway read a group of tags now

GROUP is a name in "groups" of the device: tags that are read seldom, or only once a day. They are read with the device's next poll.
Without --config: ./gateway.yaml, else /etc/jilian-gateway/gateway.yaml. The gateway is asked over a socket beside its outbox file; run the
command as its user.

Exit codes: 0 asked, 1 no gateway runs there, or it has no such group, 2 wrong configuration or arguments.
`;

/** `jilian-gateway ask`: has the running gateway read a group of tags. @returns the exit code */
export async function askCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const parsed = argumentsOf(args, { config: { type: "string" } } as const, help, io);
  if (typeof parsed === "number") return parsed;
  const { values, positionals } = parsed;
  const [device, group, ...rest] = positionals;
  if (device === undefined || group === undefined || rest.length > 0)
    return usage("a device and a group are asked for", help, io);
  const file = standardFile(values.config, help, io);
  if (typeof file === "number") return file;
  const { outbox, devices } = await io.configOf(file);
  let asked = 0;
  const isAnswered = await answered(
    outbox.path,
    { v: 1, command: "ask", device, group },
    (line) => {
      if (line.type === "done") asked = line.records;
    },
    io,
  );
  if (!isAnswered) return 1;
  if (asked > 0) {
    io.print(`asked: ${device} reads ${group} with its next poll`);
    return 0;
  }
  const known = devices.flatMap((one) =>
    "groups" in one && one.groups ? [`${one.id}: ${Object.keys(one.groups).join(", ")}`] : [],
  );
  io.complain(
    `the gateway has no group ${group} of device ${device}\n  remedy: ${known.length > 0 ? `take one of ${known.join("; ")}` : 'write "groups" into the configuration'}`,
  );
  return 1;
}
