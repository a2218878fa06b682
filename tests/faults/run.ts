/**
 * `npm run test:faults`: injects faults into the real processes, compares what was read with what is stored, and prints the table.
 */
import { parseArgs } from "node:util";
import { wholeNumber } from "../whole-number.ts";
import type { Fault } from "./fault.ts";
import { allFaults, missingNeed, runMatrix } from "./matrix.ts";
import { mutationEnv, mutations } from "./mutations.ts";
import { canProve, prove } from "./prove.ts";
import { isRed, type Run, tableOf } from "./tally.ts";

const help = `node tests/faults/run.ts [--seed N] [--only NAME,...] [--runs N] [--short] [--mutate NAME] [--mosquitto] [--verbose]
node tests/faults/run.ts --mutations [--seed N] [--only NAME,...]

  --seed N       replays a plan; without it a seed is drawn and printed
  --only NAME    faults by name or a part of it, separated by commas; with --mutations mutations
  --runs N       of each fault (default 3, with --short 1)
  --short        the faults of the short form only
  --mutate NAME  breaks the product first, to see rows turn red: one of
                 ${mutations.map(({ name }) => name).join(", ")}
  --mosquitto    with mosquitto in place of the platform's broker
  --mutations    every mutation in turn, with the rows that it must turn red (in one of five runs) and that are green without it
  --verbose      shows in the end what the programs complained of

Exit code 0 when nothing was lost, stored twice or otherwise broken, else 1; with --mutations when every one was seen and no row
is red without one.
`;
const options = {
  seed: { type: "string" },
  only: { type: "string" },
  runs: { type: "string" },
  short: { type: "boolean" },
  mutate: { type: "string" },
  mosquitto: { type: "boolean" },
  mutations: { type: "boolean" },
  verbose: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;
type Values = ReturnType<typeof readArguments>;

function readArguments() {
  return parseArgs({ options }).values;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** The faults that were asked for and that this machine can inject; what it cannot is said. */
function chosen({ only, short }: Values): Fault[] {
  const wanted = only?.split(",").map((name) => name.trim());
  const found = allFaults.filter(
    (fault) => (!short || fault.short) && (!wanted || wanted.some((part) => fault.name.includes(part))),
  );
  if (found.length === 0)
    throw new RangeError(`no such fault: ${only}; there are:\n${allFaults.map(({ name }) => name).join("\n")}`);
  return found.filter((fault) => {
    const need = missingNeed(fault);
    if (need) say(`skipped, this machine has no ${need}: ${fault.name}`);
    return !need;
  });
}

function tellRun({ fault, recoveryMs, broken, unfelt }: Run): void {
  const words = [...broken, ...unfelt.map((text) => `not felt: ${text}`)];
  say([`${fault.name}: recovered in ${(recoveryMs / 1000).toFixed(1)} s`, ...words].join("; "));
}

async function runPlan(values: Values, seed: number): Promise<boolean> {
  const { mutate, short, verbose } = values;
  const faults = chosen(values);
  const runs = wholeNumber("runs", values.runs, short ? 1 : 3);
  say(`seed ${seed}, ${faults.length} faults, ${runs} runs each${mutate === undefined ? "" : `, mutated: ${mutate}`}`);
  const rows = await runMatrix({
    seed,
    faults,
    runs,
    isShort: short === true,
    mosquitto: values.mosquitto === true,
    patienceMs: mutate === undefined ? 30_000 : 6000,
    ...(mutate === undefined ? {} : { env: mutationEnv(mutate) }),
    ...(verbose ? { onComplaints: (lines: readonly string[]) => say(lines.join("\n")) } : {}),
    onRun: tellRun,
  });
  say(`\n${tableOf(rows)}\n\nseed ${seed}`);
  return !rows.some(isRed);
}

async function proveAll({ only }: Values, seed: number): Promise<boolean> {
  const asked = mutations.filter(({ name }) => !only || only.split(",").some((part) => name.includes(part.trim())));
  if (asked.length === 0) throw new RangeError(`no such mutation: ${only}`);
  say(`seed ${seed}, ${asked.length} mutations`);
  const wanted = asked.filter(canProve);
  for (const { name } of asked) {
    if (!wanted.some((mutation) => mutation.name === name)) say(`skipped, this machine cannot inject it: ${name}`);
  }
  const verdicts = await prove(wanted, seed, {
    onVerdict: ({ mutation, ok, row }) => {
      const what = mutation ? `${mutation.name} (${mutation.breaks})` : `unbroken: ${row.fault}`;
      say(`${mutation ? (ok ? "seen" : "NOT SEEN") : ok ? "green" : "RED"}: ${what}\n${tableOf([row])}\n`);
    },
  });
  const wrong = verdicts.filter(({ ok }) => !ok);
  say(`${wanted.length} mutations, ${verdicts.length} rows, ${wrong.length} not as they must be; seed ${seed}`);
  return wrong.length === 0;
}

const values = readArguments();
if (values.help) say(help);
else {
  const seed = wholeNumber("seed", values.seed, 1 + Math.floor(Math.random() * 2 ** 31));
  process.exitCode = (await (values.mutations ? proveAll(values, seed) : runPlan(values, seed))) ? 0 : 1;
}
