import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Checked, checkConfig, configError } from "@jilian/domain/check-config.ts";
import { JilianError } from "@jilian/domain/errors.ts";
import { type Profile, type Profiles, profileSchema } from "./profile-schema.ts";

/** Beside the sources; in a package beside the bundle, whose parts lie in a folder of their own. */
const folders = [join(import.meta.dirname, "profiles"), join(import.meta.dirname, "../profiles")];

/** Reads one profile. Pure. */
export function readProfile(text: string, file: string): Checked<Profile> {
  return checkConfig(profileSchema, text, file);
}

function folder(): string {
  const found = folders.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new JilianError(`the folder of device profiles is missing: ${folders[0]}`, {
    code: "PROFILES_MISSING",
    action: "read the device profiles",
    remedy: "install the gateway again",
  });
}

/** A profile as it is written. @throws JilianError PROFILES_MISSING; errors of the file system */
export function profileText(name: string): string {
  return readFileSync(join(folder(), `${name}.yaml`), "utf8");
}

/**
 * Reads the profiles that come with the gateway, by name.
 * @throws JilianError PROFILES_MISSING, CONFIG_INVALID: the installation is damaged
 */
export function loadProfiles(): Profiles {
  const names = readdirSync(folder()).filter((name) => name.endsWith(".yaml"));
  return new Map(
    names.sort().map((file): [string, Profile] => {
      const name = file.slice(0, -".yaml".length);
      const read = readProfile(profileText(name), file);
      if (!read.ok) throw configError(read.faults);
      return [name, read.value];
    }),
  );
}
