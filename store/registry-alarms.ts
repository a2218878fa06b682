import { type AlarmCondition, type AlarmPriority, alarmPriorities } from "@jilian/domain/alarm.ts";
import { duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { atScale, decimalOf } from "@jilian/domain/decimal.ts";
import { gaugeScale } from "@jilian/domain/gauge-leaf.ts";
import { hourMs } from "@jilian/domain/periods.ts";
import { type Role, roleNames, roles } from "@jilian/domain/roles.ts";
import { type MetricDefinition, stalenessWindowMs } from "@jilian/domain/sample.ts";
import { type Static, Type } from "typebox";
import { idSchema, nameSchema, repeatedValues, stateCode, strict } from "./registry-parts.ts";

const delayMs = (description: string) =>
  Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000, description: `${description}, ms; 0 if absent` }));
const limit = (description: string) => Type.Optional(Type.Number({ minimum: -1e12, maximum: 1e12, description }));

/** Which series a rule watches: those of a role, or one metric of one device. */
const appliesSchema = Type.Object(
  {
    role: Type.Optional(Type.Unsafe<Role>(Type.Union(roleNames.map((role) => Type.Literal(role))))),
    /** Of a role: devices of this kind only, of these factories only. */
    deviceKind: Type.Optional(Type.Union([Type.Literal("machine"), Type.Literal("meter"), Type.Literal("other")])),
    factories: Type.Optional(Type.Array(idSchema, { minItems: 1, maxItems: 1000 })),
    device: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: "factory/gateway/device" })),
    metric: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: "as its gateway names it" })),
  },
  strict,
);

const common = {
  id: idSchema,
  name: Type.Object({ zh: nameSchema, en: Type.Optional(nameSchema) }, strict),
  /** IEC 62682: how soon someone has to act. */
  priority: Type.Unsafe<AlarmPriority>(Type.Union(alarmPriorities.map((priority) => Type.Literal(priority)))),
  applies: appliesSchema,
  onDelayMs: delayMs("the condition must hold so long before it is raised"),
  offDelayMs: delayMs("it must be gone so long before it is cleared"),
};

/** An alarm rule of `cluster.yaml`; limits are in the unit of the role, or of the metric. */
export const alarmSchema = Type.Union([
  Type.Object(
    {
      ...common,
      kind: Type.Literal("threshold"),
      above: limit("comes above it; or `below`"),
      below: limit("comes below it; or `above`"),
      hysteresis: Type.Optional(
        Type.Number({ minimum: 0, maximum: 1e12, description: "goes so far back from the limit; 0 if absent" }),
      ),
    },
    strict,
  ),
  Type.Object(
    {
      ...common,
      kind: Type.Literal("rate"),
      risePerMinute: limit("comes above this rise a minute; or `fallPerMinute`"),
      fallPerMinute: limit("comes above this fall a minute; or `risePerMinute`"),
      windowMs: Type.Integer({ minimum: 1000, maximum: 3_600_000, description: "over so long, ms" }),
    },
    strict,
  ),
  Type.Object(
    { ...common, kind: Type.Literal("state"), codes: Type.Array(stateCode, { minItems: 1, maxItems: 100 }) },
    strict,
  ),
]);
export type AlarmRule = Static<typeof alarmSchema>;

type Known = {
  factories: ReadonlySet<string>;
  /** `factory/gateway/device`. */
  devices: ReadonlySet<string>;
};

const listed = (ids: ReadonlySet<string>) => [...ids].slice(0, 20).join(", ");

function checkApplies({ applies, kind }: AlarmRule, path: string, known: Known): SemanticFault[] {
  const { role, deviceKind, factories = [], device, metric } = applies;
  if ((role === undefined) === (device === undefined && metric === undefined)) {
    const expected = "either role, or device and metric";
    return [{ path, expected, remedy: "name the series that the rule watches in one of the two ways" }];
  }
  if (role === undefined) {
    const faults: SemanticFault[] = [];
    if (device === undefined || metric === undefined)
      faults.push({ path, expected: "device and metric together", remedy: "name both, or a role" });
    if (device !== undefined && !known.devices.has(device)) {
      const expected = `a device of this registry: ${listed(known.devices)}`;
      faults.push({ path: `${path}/device`, expected, remedy: "write factory/gateway/device, or add the device" });
    }
    for (const key of ["deviceKind", "factories"] as const)
      if (applies[key] !== undefined)
        faults.push({ path: `${path}/${key}`, expected: "nothing: it narrows a role", remedy: "remove it" });
    return faults;
  }
  const faults = factories.flatMap((id, i) => {
    const expected = `a factory of this registry: ${listed(known.factories)}`;
    return known.factories.has(id) ? [] : [{ path: `${path}/factories/${i}`, expected, remedy: "correct the id" }];
  });
  const wanted = kind === "state" ? "state" : "gauge";
  if (roles[role].kind !== wanted) {
    const expected = `a role of a ${wanted}: ${roleNames.filter((name) => roles[name].kind === wanted).join(", ")}`;
    faults.push({ path: `${path}/role`, expected, remedy: "correct the role, or the kind of the rule" });
  }
  if (role === "machine.state" && deviceKind !== undefined && deviceKind !== "machine") {
    const expected = "machine: only machines have a state";
    faults.push({ path: `${path}/deviceKind`, expected, remedy: "remove it" });
  }
  return [...faults, ...repeatedValues(factories, `${path}/factories`, "factory")];
}

/** The numbers of a rule by key, the two limits of its kind first; undefined of a state, and of a kind that the schema refuses. */
function numbersOf(rule: AlarmRule): [key: string, value: number | undefined][] | undefined {
  if (rule.kind === "threshold") {
    const { above, below, hysteresis } = rule;
    return Object.entries({ above, below, hysteresis });
  }
  if (rule.kind !== "rate") return undefined;
  const { risePerMinute, fallPerMinute } = rule;
  return Object.entries({ risePerMinute, fallPerMinute });
}

/** Exactly one limit, exact numbers. */
function checkLimits(rule: AlarmRule, path: string): SemanticFault[] {
  if (rule.kind === "state") return repeatedValues(rule.codes.map(String), `${path}/codes`, "state code");
  const numbers = numbersOf(rule);
  if (!numbers) return [];
  const faults = numbers.flatMap(([key, value]) =>
    value !== undefined && decimalOf(value).scale > gaugeScale
      ? [{ path: `${path}/${key}`, expected: `at most ${gaugeScale} decimal places`, remedy: "round it" }]
      : [],
  );
  if (rule.kind === "rate")
    for (const [key, value = 1] of numbers)
      if (value <= 0)
        faults.push({ path: `${path}/${key}`, expected: "more than 0", remedy: "for a fall write fallPerMinute" });
  const [[first, one], [second, other]] = numbers as [[string, unknown], [string, unknown]];
  if ((one === undefined) === (other === undefined))
    faults.push({ path, expected: `either ${first} or ${second}`, remedy: "write two rules for two limits" });
  return faults;
}

/** What the schema of the alarm rules cannot say. Pure; all faults at once. */
export function checkAlarms(rules: readonly AlarmRule[], known: Known): SemanticFault[] {
  return [
    ...duplicates(
      "/alarms",
      rules.map(({ id }) => id),
      "rule id",
    ),
    ...rules.flatMap((rule, i) => [
      ...checkApplies(rule, `/alarms/${i}/applies`, known),
      ...checkLimits(rule, `/alarms/${i}`),
    ]),
  ];
}

/** A series, as far as a rule asks for it. `device` is `factory/gateway/device`. */
export type WatchedSeries = {
  readonly device: string;
  readonly factoryId: string;
  readonly deviceKind: string;
  readonly metric: string;
  readonly definition: MetricDefinition;
};

/** True where a rule watches a series. One of a role that is not in the role's unit is not judged: its numbers mean something else. */
export function watches({ applies }: AlarmRule, series: WatchedSeries): boolean {
  const { role, deviceKind, factories, device, metric } = applies;
  if (role === undefined) return device === series.device && metric === series.metric;
  const { definition } = series;
  if (definition.role !== role || (roles[role].kind === "gauge" && definition.unit !== roles[role].unit)) return false;
  return (deviceKind ?? series.deviceKind) === series.deviceKind && (factories?.includes(series.factoryId) ?? true);
}

const scaled = (value: number | undefined) => (value === undefined ? undefined : atScale(decimalOf(value), gaugeScale));

/** A reading is believed no longer than this, whatever heartbeat a birth declares; as a machine's state. */
const longestStaleMs = hourMs;

/** How a rule judges a series. */
export function conditionOf(rule: AlarmRule, definition: MetricDefinition): AlarmCondition {
  const { onDelayMs = 0, offDelayMs = 0 } = rule;
  const delays = {
    onDelayMs,
    offDelayMs,
    staleMs: Math.min(stalenessWindowMs(definition.heartbeatMs), longestStaleMs),
  };
  if (rule.kind === "state") return { ...delays, test: { kind: "state", codes: new Set(rule.codes.map(String)) } };
  if (rule.kind === "threshold") {
    const { above, below, hysteresis = 0 } = rule;
    const limits = { above: scaled(above), below: scaled(below), hysteresis: scaled(hysteresis) as bigint };
    return { ...delays, test: { kind: "threshold", ...limits } };
  }
  const { risePerMinute, fallPerMinute, windowMs } = rule;
  return { ...delays, test: { kind: "rate", rise: scaled(risePerMinute), fall: scaled(fallPerMinute), windowMs } };
}
