import { existsSync } from "node:fs";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import type { ControlLine, ControlRequest } from "../control.ts";
import { askGateway } from "../control-client.ts";
import type { GatewayStatus } from "../status.ts";
import { argumentsOf, type CommandIo, plainText, reasonCharacters, spanText, tableLines, usage } from "./io.ts";

const help = `jilian-gateway status [--config gateway.yaml] [--json]   how the running gateway is

Without --config: ./gateway.yaml, else /etc/jilian-gateway/gateway.yaml. The configuration tells which gateway: that on its outbox file.
It is asked over a socket beside that file; run the command as its user. Nothing is opened, nothing is changed.

  POLL       how long the last poll took; OVERRUNS polls left out because one took longer than the interval
  FAILURES   connects and reads that failed since the start; below the table by kind, and the last one, also when it is over

Exit codes: 0 done, 1 no gateway runs there or it does not answer, 2 wrong configuration or arguments.
`;

const standardFiles = ["gateway.yaml", "/etc/jilian-gateway/gateway.yaml"];

/** The configuration's file where none is named: that of this folder, else that of the box. @returns exit code 2 where there is none */
export function standardFile(named: string | undefined, help: string, io: CommandIo): string | 2 {
  const file = named ?? standardFiles.find((path) => existsSync(path));
  return file ?? usage(`--config is missing, and there is no ${standardFiles.join(" or ")}`, help, io);
}

/** Asks the gateway of an outbox file, and says why when there is no answer. @returns whether there was one */
export async function answered(
  outboxPath: string,
  request: ControlRequest,
  onLine: (line: ControlLine) => void,
  { complain }: CommandIo,
): Promise<boolean> {
  const show = (line: ControlLine): void => {
    if (line.type !== "error") onLine(line);
    else complain(`${line.message}\n  remedy: restart the gateway, so that it runs this version of the program`);
  };
  try {
    if (await askGateway(outboxPath, request, show)) return true;
    complain(
      `no gateway runs on ${outboxPath}\n  remedy: start it, give the configuration it runs with, or run the command as its user`,
    );
  } catch (thrown) {
    complain(
      `${messageOf(thrown)}\n  remedy: ${thrown instanceof JilianError ? thrown.remedy : "report it as a defect"}`,
    );
  }
  return false;
}
const mebibyte = 1024 * 1024;
const mebibytes = (bytes: number): string => `${(bytes / mebibyte).toFixed(1)} MiB`;

function outboxLine({ outbox }: GatewayStatus): string {
  const { pendingRecords, pendingBytes, maxBytes, oldestAgeMs, droppedSamples, droppedByReason } = outbox;
  const oldest = oldestAgeMs === undefined ? "" : `, the oldest ${spanText(oldestAgeMs)} old`;
  const reasons = Object.entries(droppedByReason).filter(([, samples]) => samples > 0);
  const why = reasons.map(([reason, samples]) => `${reason} ${samples}`).join(", ");
  const dropped = `${droppedSamples} samples dropped${why === "" ? "" : ` (${why})`}`;
  const medium = outbox.isInMemory
    ? "; THE MEDIUM FAILS, readings wait in memory"
    : outbox.isWritable
      ? ""
      : "; THE FILE CANNOT BE WRITTEN";
  const waiting = `${pendingRecords} records waiting (${mebibytes(pendingBytes)} of ${mebibytes(maxBytes)}${oldest})`;
  return `outbox   ${waiting}, ${dropped}, ${outbox.asideRecords} records set aside${medium}`;
}

/** Absent where the gateway keeps none, or is of a version that does not tell. */
function historyLines({ history }: GatewayStatus): string[] {
  if (history === undefined) return [];
  const { oldest, bytes, maxBytes, fitsDays, askedDays, isWritable } = history;
  const reach = oldest ? `back to ${oldest.at} (${spanText(oldest.agoMs)})` : "empty yet";
  const fits = `${fitsDays} days fit${fitsDays < askedDays ? `, LESS THAN SIX MONTHS (${askedDays})` : ""}`;
  const medium = isWritable ? "" : "; IT IS NOT WRITTEN";
  return [`history  ${reach}, ${mebibytes(bytes)} of ${mebibytes(maxBytes)}, ${fits}${medium}`];
}

/** Absent where the gateway has none, or is of a version that does not tell. */
function certificateLines({ certificate }: GatewayStatus): string[] {
  if (certificate === undefined) return [];
  const { ends, failures, lastFailure } = certificate;
  const failed = lastFailure
    ? `; NOT RENEWED after ${failures} attempts, the last ${lastFailure.at}: ${plainText(lastFailure.reason, reasonCharacters)}`
    : "";
  return [`certificate  ends ${ends}${failed}`];
}

/** Absent where no OPC UA server is shown one, or the gateway is of a version that does not tell. */
function opcuaCertificateLines({ opcuaCertificate }: GatewayStatus): string[] {
  if (opcuaCertificate === undefined) return [];
  const { ends, fault } = opcuaCertificate;
  const told = fault
    ? `; ${fault.code}: ${plainText(fault.message, reasonCharacters)}; ${plainText(fault.remedy, reasonCharacters)}`
    : "";
  return [`OPC UA certificate  ends ${ends}${told}`];
}

/** The status for people. Pure. */
export function statusText(status: GatewayStatus): string {
  const { broker, devices } = status;
  const link = broker.born ? "connected" : broker.connected ? "connected, births not out yet" : "NOT connected";
  const rows = devices.map((device) => [
    device.device,
    device.connected ? "connected" : "NOT connected",
    device.polls > 0 ? spanText(device.lastPollMs) : "-",
    spanText(device.pollIntervalMs),
    String(device.polls),
    String(device.skippedPolls),
    String(device.failures),
  ]);
  const failed = devices.flatMap(({ device, connected, lastFailure }) =>
    lastFailure
      ? [`${connected ? "over: " : ""}${device} ${lastFailure.at}  ${plainText(lastFailure.reason, reasonCharacters)}`]
      : [],
  );
  const kinds = devices.flatMap(({ device, failureKinds = {} }) => {
    const counted = Object.entries(failureKinds).toSorted(([, a], [, b]) => b - a);
    return counted.length === 0 ? [] : [`${device}  ${counted.map(([code, times]) => `${code} ${times}`).join(", ")}`];
  });
  return [
    `${status.software}  ${status.group}/${status.node}  up ${spanText(status.uptimeMs)}  process ${status.pid}, ${mebibytes(status.memoryBytes)}`,
    `broker   ${broker.address} ${link}, ${broker.connects} connects`,
    ...certificateLines(status),
    ...opcuaCertificateLines(status),
    outboxLine(status),
    ...historyLines(status),
    "",
    ...tableLines(["DEVICE", "STATE", "POLL", "INTERVAL", "POLLS", "OVERRUNS", "FAILURES"], rows),
    ...(kinds.length > 0 ? ["", "failures by kind:", ...kinds] : []),
    ...(failed.length > 0 ? ["", "last failures:", ...failed] : []),
  ].join("\n");
}

/** `jilian-gateway status`: asks the running gateway how it is. @returns the exit code */
export async function statusCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const options = { config: { type: "string" }, json: { type: "boolean", default: false } } as const;
  const parsed = argumentsOf(args, options, help, io);
  if (typeof parsed === "number") return parsed;
  const { values, positionals } = parsed;
  const [named, ...rest] = values.config === undefined ? positionals : [values.config, ...positionals];
  if (rest.length > 0) return usage(`unknown: ${rest.join(" ")}`, help, io);
  const file = standardFile(named, help, io);
  if (typeof file === "number") return file;
  const { outbox } = await io.configOf(file);
  let code = 1;
  const show = (line: ControlLine): void => {
    if (line.type !== "status") return;
    code = 0;
    io.print(values.json ? JSON.stringify(line.status) : statusText(line.status));
  };
  await answered(outbox.path, { v: 1, command: "status" }, show, io);
  return code;
}
