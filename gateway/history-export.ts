import { existsSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { askedBy, type CommandIo } from "./commands/io.ts";
import type { GatewayConfig } from "./config.ts";
import { type Before, byteOrderMark, csvHeader, csvLine } from "./history-csv.ts";
import { openHistoryToRead } from "./history-file.ts";
import { quarterMs } from "./history-quarter.ts";
import { readRows, readTags } from "./history-read.ts";
import { historySetting } from "./history-setting.ts";
import type { KnownTag } from "./history-tables.ts";
import { type ZoneTimes, zoneTimes } from "./history-zone.ts";

const help = `jilian-gateway export: the quarter hours that this box has kept, as CSV (UTF-8, Excel opens it)

  jilian-gateway export --config gateway.yaml --from 2026-11-01 --to 2026-12-01 > november.csv
    --from, --to    first moment and the moment after the last: 2026-11-01, 2026-11-01T10:15 in the zone, or with an
                    offset of their own, 2026-11-01T10:15+08:00
    --device ID     of this device alone
    --tag NAME      of tags with this name alone
    --zone NAME     the zone of the times, Asia/Shanghai; that of this machine if absent

A row for each quarter hour and tag that had a good reading. The gateway may run meanwhile.
Exit codes: 0 done, 1 failed, 2 wrong configuration or arguments.
`;

/** A register is looked for so far back before --from: a day. */
const quartersBefore = 96;
const linesPerChunk = 200;

type Asked = {
  config: string;
  from: number;
  to: number;
  device: string | undefined;
  tag: string | undefined;
  zone: ZoneTimes;
};

/** Where the command gets its configuration from and writes to. */
export type ExportIo = {
  readonly configOf: CommandIo["configOf"];
  /** Writes a part of the output; resolved once there is room for the next. False: nobody reads it any more. */
  readonly write: (text: string) => Promise<boolean>;
  readonly complain: (line: string) => void;
};

function readZone(name: string): ZoneTimes | string {
  try {
    return zoneTimes(name);
  } catch {
    return `--zone "${name}" is unknown\n  remedy: write a name of the IANA list, such as Asia/Shanghai or UTC`;
  }
}

function readQuarter(option: string, text: string | undefined, zone: ZoneTimes): number | string {
  const example = `such as --${option} 2026-11-01 or --${option} 2026-11-01T10:15`;
  if (text === undefined) return `--${option} is missing\n  remedy: give a day or a time, ${example}`;
  const timeMs = zone.parse(text);
  if (timeMs === undefined) return `--${option} "${text}" is no time\n  remedy: give a day or a time, ${example}`;
  if (timeMs % quarterMs !== 0) {
    return `--${option} "${text}" is not on a quarter hour\n  remedy: give a time that ends in :00, :15, :30 or :45`;
  }
  return timeMs / quarterMs;
}

/** What was asked for, or what is wrong with it and how to put it right. */
function readArguments(args: readonly string[]): Asked | string {
  const text = { type: "string" } as const;
  const options = { config: text, from: text, to: text, device: text, tag: text, zone: text };
  const { values } = parseArgs({ args: [...args], options, allowPositionals: false });
  const { config, device, tag } = values;
  if (config === undefined) return "--config is missing\n  remedy: give the file that the gateway runs with";
  const zone = readZone(values.zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone);
  if (typeof zone === "string") return zone;
  const [from, to] = [readQuarter("from", values.from, zone), readQuarter("to", values.to, zone)];
  const wrong = [from, to].filter((found) => typeof found === "string");
  if (typeof from === "string" || typeof to === "string") return wrong.join("\n");
  if (from >= to) return "--to is not after --from\n  remedy: exchange them; --to itself is not exported";
  return { config, from, to, device, tag, zone };
}

function missing(message: string, path: string, remedy: string): JilianError {
  return new JilianError(message, { code: "HISTORY_MISSING", action: "open the history", address: path, remedy });
}

function open(config: GatewayConfig): DatabaseSync {
  const setting = historySetting(config);
  if (!setting) {
    throw missing("no history is kept", "", "remove history: false from the configuration and start the gateway");
  }
  const { path } = setting;
  if (existsSync(path)) return openHistoryToRead(path, config.group, config.node);
  const remedy = "check history.path and outbox.path, and that the gateway has run for some minutes";
  throw missing(`there is no history ${path}`, path, remedy);
}

/** The tags that are wanted, or what is wrong with the wish. */
function wantedTags(tags: ReadonlyMap<number, KnownTag>, { device, tag }: Asked): Set<number> | string {
  const all = [...tags.values()];
  const ofDevice = all.filter((one) => device === undefined || one.device === device);
  const names = (list: readonly string[]) => [...new Set(list)].sort().slice(0, 20).join(", ");
  if (device !== undefined && ofDevice.length === 0) {
    return `the history has no device "${device}"\n  remedy: give one of ${names(all.map((one) => one.device))}`;
  }
  const found = ofDevice.filter((one) => tag === undefined || one.name === tag);
  if (tag !== undefined && found.length === 0) {
    return `the history has no tag "${tag}"\n  remedy: give one of ${names(ofDevice.map((one) => one.name))}`;
  }
  return new Set(found.map(({ id }) => id));
}

/** The lines of an export, header first. Holds one register for each tag. */
function* exportLines(db: DatabaseSync, tags: ReadonlyMap<number, KnownTag>, ids: ReadonlySet<number>, asked: Asked) {
  yield byteOrderMark + csvHeader;
  const before = new Map<string, Before>();
  for (const row of readRows(db, asked.from - quartersBefore, asked.to, ids)) {
    const tag = tags.get(row.tag);
    if (!tag) continue;
    const key = `${tag.device}/${tag.name}`;
    if (row.quarter >= asked.from) yield csvLine(row, tag, before.get(key), asked.zone);
    if (row.register !== undefined) before.set(key, { row, tag });
  }
}

async function writeAll(lines: Iterable<string>, write: ExportIo["write"]): Promise<void> {
  let chunk: string[] = [];
  for (const line of lines) {
    chunk.push(`${line}\r\n`);
    if (chunk.length < linesPerChunk) continue;
    if (!(await write(chunk.join("")))) return;
    chunk = [];
  }
  await write(chunk.join(""));
}

/**
 * `jilian-gateway export`: the history of a box as CSV, streamed.
 * @returns the exit code: 0 done, 1 failed, 2 wrong arguments
 */
export async function exportCommand(args: readonly string[], io: ExportIo): Promise<number> {
  const { configOf, write, complain } = io;
  if (args.includes("--help") || args.includes("-h")) {
    await write(help);
    return 0;
  }
  const asked = askedBy(() => readArguments(args), help, { complain });
  if (!asked) return 2;
  const config = await configOf(asked.config);
  try {
    using db = open(config);
    const tags = readTags(db);
    const ids = wantedTags(tags, asked);
    if (typeof ids === "string") {
      complain(ids);
      return 2;
    }
    await writeAll(exportLines(db, tags, ids, asked), write);
    return 0;
  } catch (thrown) {
    const remedy =
      thrown instanceof JilianError ? thrown.remedy : "check that this user may read the file and its folder";
    complain(`${messageOf(thrown)}\n  remedy: ${remedy}`);
    return 1;
  }
}

/** For a program: standard output, which may be a pipe that ends early. */
export function standardOutput(): ExportIo["write"] {
  let isOpen = true;
  process.stdout.on("error", () => {
    isOpen = false;
  });
  return (text) =>
    new Promise((resolve) => {
      if (!isOpen) return resolve(false);
      process.stdout.write(text, (failed) => resolve(isOpen && !failed));
    });
}
