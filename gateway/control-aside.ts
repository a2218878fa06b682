import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { systemClock } from "@jilian/domain/clock.ts";
import type { RecordId } from "@jilian/domain/commit.ts";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { pino } from "pino";
import { askedBy } from "./commands/io.ts";
import type { GatewayConfig } from "./config.ts";
import { type AsideRequest, type AsideView, answerControl, type ControlLine } from "./control.ts";
import { askGateway } from "./control-client.ts";
import { openOutbox } from "./outbox.ts";
import { viewAsides } from "./outbox-view.ts";

const help = `jilian-gateway aside: what was set aside because the platform could not store it, or because it could not be read back

  jilian-gateway aside list   --config gateway.yaml [--json]
  jilian-gateway aside replay --config gateway.yaml --all | EPOCH:OFFSET ...   sends it again, as new records
  jilian-gateway aside drop   --config gateway.yaml --all | EPOCH:OFFSET ...   deletes it for good

A running gateway is asked over a socket beside its outbox file; run the command as its user. Without one the file is opened.
Exit codes: 0 done, 1 failed, 2 wrong arguments.
`;

type Arguments = { config: string; json: boolean; request: AsideRequest };

const idPattern = /^([0-9a-f]{16}):(\d{1,15})$/;

/** What was asked for, or what is wrong with it. */
function readArguments(args: readonly string[]): Arguments | string {
  const options = {
    config: { type: "string" },
    all: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const [command, ...texts] = positionals;
  const { config, all, json } = values;
  if (command !== "list" && command !== "replay" && command !== "drop") return "list, replay or drop is missing";
  if (config === undefined) return "--config is missing";
  if (command === "list") {
    if (all || texts.length > 0) return "list shows everything and takes no records";
    return { config, json, request: { v: 1, command, ids: "all" } };
  }
  if (all === texts.length > 0) return "give either --all or the records, as list shows them";
  const ids: RecordId[] = [];
  for (const text of texts) {
    const [, epoch = "", offset = ""] = idPattern.exec(text) ?? [];
    if (epoch === "") return `"${text}" is no record; expected EPOCH:OFFSET, as list shows it`;
    ids.push({ epoch, offset: Number(offset) });
  }
  return { config, json, request: { v: 1, command, ids: all ? "all" : ids } };
}

/** The file itself, where no gateway runs on it. */
async function answerFromFile(
  { group, node, outbox }: GatewayConfig,
  request: AsideRequest,
  onLine: (line: ControlLine) => void,
): Promise<void> {
  if (!existsSync(outbox.path)) {
    throw new JilianError(`there is no outbox ${outbox.path}`, {
      code: "OUTBOX_MISSING",
      action: "open the outbox",
      address: outbox.path,
      remedy: "check outbox.path, and that the gateway has run",
    });
  }
  const { path, maxBytes, fsyncMs, durability } = outbox;
  if (request.command === "list") {
    // A look must not begin an epoch, nor be what repairs a file.
    let total = 0;
    const view = {
      asides: (limit: number) => {
        const found = viewAsides({ path, group, node }, limit);
        total = found.total;
        return found.asides;
      },
      stats: () => ({ asideRecords: total }),
      replayAsides: () => 0,
      dropAsides: () => 0,
    };
    for await (const line of answerControl(() => view, request)) onLine(line);
    return;
  }
  const log = pino({ level: "error" }, process.stderr);
  const opened = openOutbox({ path, maxBytes, fsyncMs, durability, group, node, clock: systemClock, log });
  try {
    for await (const line of answerControl(() => opened, request)) onLine(line);
  } finally {
    await opened.close();
  }
}

function textOf({ epoch, offset, device, writtenAt, reason, samples }: AsideView): string {
  const lines = samples.map(({ metric, value, status, time }) => {
    const quality = status === 0 ? "" : `  status 0x${(status >>> 0).toString(16).padStart(8, "0")}`;
    return `    ${time}  ${metric} = ${JSON.stringify(value)}${quality}`;
  });
  const count =
    samples.length === 0 ? "unreadable" : `${samples.length} ${samples.length === 1 ? "sample" : "samples"}`;
  return [`${epoch}:${offset}  ${device}  written ${writtenAt}  ${count}`, `    ${reason}`, ...lines].join("\n");
}

const done = { list: "set aside", replay: "to be sent again", drop: "deleted" } as const;

function resultOf({ records, total }: ControlLine & { type: "done" }, command: AsideRequest["command"]): string {
  if (total !== undefined) return `${records} of ${total} records set aside are shown, the oldest`;
  return `${records} ${records === 1 ? "record" : "records"} ${done[command]}`;
}

/** A gateway that holds the file and was not found at its socket: it has none, or is another user's. */
function remedyOf(thrown: unknown): string {
  if (!(thrown instanceof JilianError)) return "report it as a defect";
  if (thrown.code !== "OUTBOX_LOCKED") return thrown.remedy;
  return "a gateway runs on it but does not listen: look for CONTROL_ in its log, or stop it for this command";
}

/** Where the command gets its configuration from and writes to. */
export type AsideIo = {
  /** The checked configuration of a file, `outbox.path` absolute. */
  readonly configOf: (file: string) => Promise<GatewayConfig>;
  readonly print: (line: string) => void;
  readonly complain: (line: string) => void;
};

/**
 * `jilian-gateway aside`: shows, sends again or deletes what was set aside.
 * @returns the exit code: 0 done, 1 failed, 2 wrong arguments
 */
export async function asideCommand(args: readonly string[], { configOf, print, complain }: AsideIo): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    print(help.trimEnd());
    return 0;
  }
  const asked = askedBy(() => readArguments(args), help, { complain });
  if (!asked) return 2;
  const { json, request } = asked;
  const config = await configOf(asked.config);
  let code = 0;
  const show = (line: ControlLine): void => {
    if (line.type === "error") {
      complain(line.message);
      code = 1;
    } else if (line.type !== "aside" && line.type !== "done") return;
    else if (json) print(JSON.stringify(line));
    else print(line.type === "aside" ? textOf(line) : resultOf(line, request.command));
  };
  try {
    const isRunning = await askGateway(config.outbox.path, request, show);
    if (!isRunning) await answerFromFile(config, request, show);
  } catch (thrown) {
    complain(`${messageOf(thrown)}\n  remedy: ${remedyOf(thrown)}`);
    return 1;
  }
  return code;
}
