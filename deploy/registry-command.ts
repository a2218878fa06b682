import { readFileSync } from "node:fs";
import { hostname, userInfo } from "node:os";
import { resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { formatFaults } from "@jilian/domain/check-config.ts";
import { clockFromSetting } from "@jilian/domain/clock.ts";
import { messageOf } from "@jilian/domain/errors.ts";
import { isoTime } from "@jilian/domain/periods.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { type Registry, readRegistry } from "@jilian/store/registry.ts";
import { type Application, applyRegistry, planApplication, readMoment } from "@jilian/store/registry-apply.ts";
import { formatDifferences, registryDifferences } from "@jilian/store/registry-difference.ts";
import { type RegistryVersions, registryVersions, sinceEverMs } from "@jilian/store/registry-versions.ts";
import { stringify } from "yaml";

export const registryHelp = `jilian registry: the registry (登记, cluster.yaml) and its versions

  jilian registry check FILE                                  faults of a file, nothing else
  jilian registry apply FILE --config platform.yaml            shows the difference to the version applied last, asks, applies
      --from DATE|TIME|now|ever   in force from then on (default now): 2026-11-01 is midnight in Asia/Shanghai,
                                  2026-11-01T06:00+08:00 a moment; in the past, figures since then are computed again
      --dry-run                   shows, applies nothing
      --yes                       applies without asking
      --note TEXT                 why; kept with the version
  jilian registry list --config ...                           every version: number, content, in force from, applied by
  jilian registry show [VERSION] --config ...                 the file of a version as YAML (default: the one in force now)
  jilian registry diff A B --config ...                       difference of two versions

A version is its number, its hash, newest, now, or the path of a file. Running services take up an applied version within seconds.
Exit codes: 0 done (or no difference), 1 failed, 2 wrong arguments, faults in a file, or not confirmed (nothing was applied).
`;

export type RegistryOptions = { from?: string; note?: string; yes?: boolean; dryRun?: boolean };

/** What a command works with; `ledger` opens it, and only for commands that need it. */
export type RegistryCommandParts = {
  options: RegistryOptions;
  withLedger: <T>(work: (ledger: Ledger) => T) => T;
  /** Writes to standard output. */
  say: (text: string) => void;
  /** Asks a person who sits at a terminal; undefined when none does. */
  confirm: (() => Promise<boolean>) | undefined;
  /** Ends the program with code 2. */
  refuse: (text: string) => never;
};

const longestNote = 500;

function readFile(path: string, refuse: RegistryCommandParts["refuse"]): Registry {
  let text: string;
  try {
    text = readFileSync(resolve(path), "utf8");
  } catch (error) {
    return refuse(`${path}: cannot be read (${messageOf(error)})\n  remedy: give the path of a registry file`);
  }
  const checked = readRegistry(text, path);
  if (checked.ok) return checked.value;
  return refuse(formatFaults(checked.faults, "nothing was applied"));
}

function countsOf({ factories, gateways, devices, lines, file }: Registry): string {
  const count = [
    ...[`${file.enterprises.length} 企业 enterprises`, `${factories.size} 工厂 factories`, `${lines.size} 产线 lines`],
    ...[`${gateways.size} 网关 gateways`, `${devices.size} 设备 devices`],
  ];
  return count.join(", ");
}

const moment = (ms: number) => (ms === sinceEverMs ? "一直 ever" : isoTime(ms));

/** What applying does beside the differences: from when, what it replaces, what is computed again. */
function consequences({ base, replaced, days }: Application, fromMs: number, nowMs: number): string {
  const lines = [`自 in force from: ${moment(fromMs)}`];
  for (const { number, version, fromMs: own } of replaced)
    lines.push(`取代 replaces: ${number} ${version} (${moment(own)})`);
  if (base === 0) lines.push("首个版本 the first version: nothing was before it");
  else if (fromMs > nowMs) lines.push("尚未到期 planned: until then the version in force stays");
  else if (fromMs === sinceEverMs) lines.push("重算 computed again: every figure that readings are stored of 全部数据");
  else if (days > 0)
    lines.push(`重算 computed again: ${days} 天 days of figures; final ones get a new revision 已终结的数据产生新修订`);
  return `${lines.join("\n")}\n`;
}

/** Who calls a command, for the audit: `user@host`. */
export function callerName(): string {
  return `${userInfo().username}@${hostname()}`;
}

/** Asks at the terminal. */
export async function confirmAtTerminal(): Promise<boolean> {
  const line = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^(?:y|yes|是)$/i.test((await line.question("应用? apply? [y/N] ")).trim());
  } finally {
    line.close();
  }
}

async function apply(path: string, parts: RegistryCommandParts): Promise<void> {
  const { options, withLedger, say, confirm, refuse } = parts;
  const { note = "" } = options;
  const registry = readFile(path, refuse);
  const nowMs = clockFromSetting(process.env.JILIAN_CLOCK).now();
  const fromMs = readMoment(options.from ?? "now", nowMs);
  if (fromMs === undefined)
    return refuse(`--from ${options.from} is no moment\n  remedy: now, ever, 2026-11-01, or 2026-11-01T06:00+08:00`);
  if (note.length > longestNote) refuse(`--note is longer than ${longestNote} characters`);
  const plan = withLedger((ledger) => planApplication(ledger, registry, fromMs, nowMs));
  if (!plan.changesAnything) return void say("无差异 no difference: this is what is in force 与已应用的版本相同\n");
  say(plan.base === 0 ? `${countsOf(registry)}\n` : formatDifferences(plan.differences));
  const begins = plan.base === 0 ? sinceEverMs : fromMs;
  say(consequences(plan, begins, nowMs));
  if (options.dryRun) return void say("试运行 dry run: nothing was applied 未应用\n");
  if (!options.yes) {
    if (!confirm) return refuse("not confirmed: nothing was applied\n  remedy: add --yes");
    if (!(await confirm())) return refuse("nothing was applied 未应用");
  }
  const applied = { by: callerName(), origin: "command", note, fromMs: begins, nowMs };
  const number = withLedger((ledger) => applyRegistry(ledger, registry, plan, applied));
  say(`已应用 applied: ${number} ${registry.version}\n`);
}

/** The registry over time; undefined while no version was applied. */
function versionsOf({ withLedger }: RegistryCommandParts): RegistryVersions | undefined {
  const stored = withLedger((ledger) => ledger.registryVersions());
  return stored.length > 0 ? registryVersions(stored) : undefined;
}

/** The registry that a word names: number, hash, newest, now; otherwise a file. */
function named(word: string, parts: RegistryCommandParts): Registry {
  const versions = versionsOf(parts);
  if (versions && word === "newest") return versions.newest();
  if (versions && word === "now") return versions.at(Date.now());
  const all = versions?.all() ?? [];
  const found =
    all.find(({ number }) => String(number) === word) ??
    all.findLast(({ version }) => word.length >= 4 && version.startsWith(word));
  return (found && versions?.numbered(found.number)) ?? readFile(word, parts.refuse);
}

function list(parts: RegistryCommandParts): void {
  const versions = versionsOf(parts);
  if (!versions) return void parts.say("尚无版本 no version was applied yet\n");
  const inForce = versions.inForce();
  const nowMs = Date.now();
  const current = versions.versionAt(nowMs).number;
  for (const { number, version, fromMs, appliedMs, appliedBy, note } of versions.all()) {
    const at = inForce.findIndex((other) => other.number === number);
    const endMs = inForce[at + 1]?.fromMs;
    const state = at < 0 ? "已取代 replaced" : number === current ? "生效中 in force" : "";
    const planned = fromMs > nowMs && at >= 0 ? "未到期 planned" : "";
    const span = `${moment(at === 0 ? sinceEverMs : fromMs)} -> ${endMs === undefined ? "" : isoTime(endMs)}`;
    parts.say(`${number}  ${version}  ${span}  ${state || planned || "曾生效 was in force"}\n`);
    parts.say(`    ${isoTime(appliedMs)} ${appliedBy}${note === "" ? "" : `: ${note}`}\n`);
  }
}

/**
 * Runs `jilian registry ...`. A wrong argument ends the program through `refuse`.
 * @throws what the ledger throws; JilianError REGISTRY_MOVED when another version was applied while this one was looked at
 */
export async function registryCommand(words: readonly string[], parts: RegistryCommandParts): Promise<void> {
  const { say } = parts;
  const [what, first, second, ...rest] = words;
  const wanted = what === "diff" ? 2 : what === "apply" || what === "check" ? 1 : 0;
  const given = [first, second].filter((word) => word !== undefined).length;
  if (rest.length > 0 || given < wanted || given > Math.max(wanted, what === "show" ? 1 : 0))
    parts.refuse(registryHelp);
  if (what === "check") {
    const path = String(first);
    say(`${path}: 无错误 no fault. ${countsOf(readFile(path, parts.refuse))}\n`);
  } else if (what === "apply") await apply(String(first), parts);
  else if (what === "list") list(parts);
  else if (what === "show") {
    const { file, version } = named(first ?? "now", parts);
    say(`# ${version}\n${stringify(file, { lineWidth: 0 })}`);
  } else if (what === "diff") {
    const [before, after] = [named(String(first), parts), named(String(second), parts)];
    say(formatDifferences(registryDifferences(before.file, after.file)));
  } else parts.refuse(registryHelp);
}
