/** Records the product at work and prints what became of each statement: id, outcome, level, who, remark. The last line sums up. */
import { record } from "./record.ts";
import { deviations, outcomeOf, statements } from "./rows.ts";

const capture = await record();
const counts = new Map<string, number>();
for (const statement of statements) {
  const { outcome, verdict } = outcomeOf(statement, capture);
  counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  const { id, level, who, reason } = statement;
  const remark = reason ?? deviations[id] ?? verdict?.faults[0] ?? `${verdict?.seen} times`;
  console.log([id, outcome, level, who, remark].join("\t"));
}
const checked = statements.filter(({ reason }) => reason === undefined).length;
const sums = [...counts].map(([outcome, count]) => `${outcome}: ${count}`).join(", ");
console.log(`${checked} of ${statements.length} statements checked (${sums})`);
process.exitCode = counts.has("FAILS") ? 1 : 0;
