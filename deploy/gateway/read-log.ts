import { eachLine, readableLine } from "../readable-log.ts";

/** Standard input of log lines, standard output of lines for people: `journalctl -o cat | jilian-gateway read-log`. */
eachLine(process.stdin, (line) => process.stdout.write(`${readableLine("gateway", line)}\n`));
