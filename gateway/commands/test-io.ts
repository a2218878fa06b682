/** For tests: a subcommand called in this process, its output kept. */
import { readGatewayConfig } from "../config.ts";
import type { Command, CommandIo } from "./io.ts";

export type TestIo = CommandIo & { readonly out: string[]; readonly err: string[]; readonly shown: string[] };

/** @param text the configuration that `configOf` reads, whatever the file's name @param rows of a terminal; none where left out */
export function testIo(text = "", { rows, signal }: { rows?: number; signal?: AbortSignal } = {}): TestIo {
  const out: string[] = [];
  const err: string[] = [];
  const shown: string[] = [];
  return {
    out,
    err,
    shown,
    print: (line) => void out.push(line),
    complain: (line) => void err.push(line),
    signal: signal ?? new AbortController().signal,
    configOf: async (file) => {
      const read = readGatewayConfig(text, file);
      if (!read.ok) throw new Error(JSON.stringify(read.faults));
      return read.value;
    },
    ...(rows === undefined ? {} : { screen: { show: (drawn: string) => void shown.push(drawn), rows: () => rows } }),
  };
}

/** Runs a subcommand; its exit code and its output as text. */
export async function call(command: Command, args: string[], io: TestIo = testIo()) {
  const code = await command(args, io);
  return { code, out: io.out.join("\n"), err: io.err.join("\n") };
}

/** A configuration around some devices, each given as YAML that begins with `- `. */
export function configText(...devices: string[]): string {
  const list = devices.map((device) => device.trim().replaceAll(/^/gm, "  ")).join("\n");
  return `group: factory-1\nnode: gateway-1\nbroker: { host: 127.0.0.1 }\noutbox: { path: outbox.db }\ndevices:\n${list}\n`;
}
