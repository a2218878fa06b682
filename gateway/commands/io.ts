import { type ParseArgsConfig, parseArgs } from "node:util";
import { messageOf } from "@jilian/domain/errors.ts";
import type { GatewayConfig } from "../config.ts";

/** Where a subcommand gets its configuration from and writes to. */
export type CommandIo = {
  /** The checked configuration of a file, its paths absolute; ends the program with code 2 where it has faults. */
  readonly configOf: (file: string) => Promise<GatewayConfig>;
  /** One line of the result, to standard output. */
  readonly print: (line: string) => void;
  /** One line about the work, to standard error: progress, warnings, what is wrong. */
  readonly complain: (line: string) => void;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
  /** Where standard output is a terminal: how to replace what it shows, and how many lines that may have. */
  readonly screen?: { readonly show: (text: string) => void; readonly rows: () => number };
};

/** A subcommand. @param args what follows its name @returns the exit code: 0 done, 1 failed, 2 wrong arguments */
export type Command = (args: readonly string[], io: CommandIo) => Promise<number>;

/** Says what is wrong with the arguments, and the help. @returns exit code 2 */
export function usage(why: string, help: string, { complain }: CommandIo): 2 {
  complain(`${why}\n\n${help.trimEnd()}`);
  return 2;
}

/**
 * What a subcommand's own reader makes of its arguments; undefined where they are wrong, which is then said with the help.
 * @param read gives, or throws with, what is wrong as a text
 */
export function askedBy<T extends object>(
  read: () => T | string,
  help: string,
  { complain }: Pick<CommandIo, "complain">,
): T | undefined {
  let asked: T | string;
  try {
    asked = read();
  } catch (thrown) {
    asked = messageOf(thrown);
  }
  if (typeof asked !== "string") return asked;
  complain(`${asked}\n\n${help}`);
  return undefined;
}

/** The arguments of a subcommand, or its exit code where they are wrong or ask for help, which is then printed. */
export function argumentsOf<T extends NonNullable<ParseArgsConfig["options"]>>(
  args: readonly string[],
  options: T,
  help: string,
  io: CommandIo,
) {
  if (args.includes("--help") || args.includes("-h")) {
    io.print(help.trimEnd());
    return 0;
  }
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (thrown) {
    return usage(messageOf(thrown), help, io);
  }
}

/** A whole number of an option within bounds, the default where it is not given; undefined when it is none. */
export function wholeNumber(text: string | undefined, least: number, most: number, standard: number) {
  if (text === undefined) return standard;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  return value >= least && value <= most ? value : undefined;
}

/** Of a reason: it names files, and ends with what to do. */
export const reasonCharacters = 1500;

/** A text from a device or a file as it may stand on a terminal: on one line, without characters that steer it, bounded. */
export function plainText(text: string, most = 300): string {
  const steering = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
  const plain = text.replaceAll(steering, "\ufffd");
  return plain.length > most ? `${plain.slice(0, most - 3)}...` : plain;
}

/** Rows in columns of even width, two blanks between. @param head names of the columns */
export function tableLines(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, i) => rows.reduce((most, row) => Math.max(most, row[i]?.length ?? 0), name.length));
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] as number))
      .join("  ")
      .trimEnd(),
  );
}

const spans = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
] as const;

/** A length of time for people: `3 d`, `4 h`, `12 min`, `1.2 s`, `80 ms`. */
export function spanText(ms: number): string {
  const [unit, length] = spans.find(([, span]) => ms >= span) ?? ["ms", 1];
  return `${unit === "s" ? Math.floor(ms / 100) / 10 : Math.floor(ms / length)} ${unit}`;
}
