import { loadProfiles, profileText } from "./profile-files.ts";
import type { Profile } from "./profile-schema.ts";

const help = `jilian-gateway profile: meters whose registers this gateway knows

  jilian-gateway profile list         their names
  jilian-gateway profile show NAME    tags, where they are from, and what to mind

A device is then id, driver, host, unitId and profile: NAME; tags of its own are added to it or take the place of those
of the same name, without: [NAMES] leaves tags out.
Exit codes: 0 done, 2 wrong arguments.
`;

function exampleOf(name: string, profile: Profile): string {
  const needs = (which: string) => profile.tags.some(({ ratio }) => ratio === which || ratio === "ct-pt");
  const ratios = [needs("ct") ? ", ctRatio: 400/5" : "", needs("pt") ? ", ptRatio: 1" : ""].join("");
  return `  - { id: meter-1, driver: modbus-tcp, host: 192.168.1.50, unitId: 1, profile: ${name}${ratios} }`;
}

/**
 * `jilian-gateway profile`: shows the profiles that come with the gateway.
 * @returns the exit code: 0 done, 2 wrong arguments
 */
export function profileCommand(
  args: readonly string[],
  { print, complain }: { print: (line: string) => void; complain: (line: string) => void },
): number {
  const [command, name, ...rest] = args;
  if (command === "--help" || command === "-h") {
    print(help.trimEnd());
    return 0;
  }
  const profiles = loadProfiles();
  if (command === "list" && name === undefined) {
    const width = Math.max(...[...profiles.keys()].map((key) => key.length));
    for (const [key, { title, models }] of profiles) print(`${key.padEnd(width)}  ${title} (${models.join(", ")})`);
    return 0;
  }
  const profile = profiles.get(name ?? "");
  if (command === "show" && profile && rest.length === 0) {
    print(`# As a device:\n#${exampleOf(name as string, profile)}\n\n${profileText(name as string).trimEnd()}`);
    return 0;
  }
  const isUnknown = command === "show" && name !== undefined && rest.length === 0;
  const wrong = isUnknown ? `there is no profile "${name}"` : "list, or show and a name, is expected";
  complain(`${wrong}\n  remedy: give one of ${[...profiles.keys()].join(", ")}\n\n${help}`);
  return 2;
}
