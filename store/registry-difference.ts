import type { RegistryFile } from "./registry-schema.ts";

/** What an entry of the registry is. */
export const entryKinds = [
  "cluster",
  "pilot",
  "pilotPeriod",
  "product",
  "alarm",
  "enterprise",
  "factory",
  "line",
  "gateway",
  "device",
] as const;
export type EntryKind = (typeof entryKinds)[number];

/** One difference between two registries: an entry that came or went, or one of its fields that has another value. */
export type Difference = {
  readonly change: "added" | "removed" | "changed";
  readonly kind: EntryKind;
  /** `factory/gateway/device`, `factory/line`, or the id. */
  readonly entity: string;
  readonly name: string;
  /** Dotted path of the field that changed, `digitalLevel.level`; null for an entry that came or went. */
  readonly field: string | null;
  /** Values as JSON; null where there is none. */
  readonly before: string | null;
  readonly after: string | null;
};

type Plain = Readonly<Record<string, unknown>>;
type Entry = { kind: EntryKind; entity: string; name: string; fields: ReadonlyMap<string, string> };

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON with sorted keys: the order of writing is no difference. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    isPlain(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
}

/** The fields of an entry by dotted path. Lists are one field: their entries have no ids of their own. */
function fieldsOf(value: Plain, prefix = ""): [string, string][] {
  return Object.entries(value).flatMap(([key, inner]) => {
    if (inner === undefined) return [];
    return isPlain(inner) ? fieldsOf(inner, `${prefix}${key}.`) : [[`${prefix}${key}`, canonical(inner)] as const];
  }) as [string, string][];
}

function entryOf(kind: EntryKind, entity: string, own: Plain & { name?: string | undefined }): Entry {
  const { id: _, ...fields } = own;
  return { kind, entity, name: own.name ?? entity, fields: new Map(fieldsOf(fields)) };
}

/** Every entry of a registry, each without those below it. */
function entriesOf({ cluster, pilot, products = [], alarms = [], enterprises }: RegistryFile): Entry[] {
  const { periods = [], ...ownPilot } = pilot;
  // The ids of cluster and pilot are fields of theirs: there is only one of each.
  const entries = [
    entryOf("cluster", "cluster", { ...cluster, clusterId: cluster.id }),
    entryOf("pilot", "pilot", { ...ownPilot, pilotId: pilot.id }),
    ...periods.map((period) => entryOf("pilotPeriod", period.id, period)),
    ...products.map((product) => entryOf("product", product.id, product)),
    ...alarms.map(({ name, ...rule }) => entryOf("alarm", rule.id, { ...rule, name: name.zh, nameEn: name.en })),
  ];
  for (const { factories, ...enterprise } of enterprises) {
    entries.push(entryOf("enterprise", enterprise.id, enterprise));
    for (const { gateways, lines = [], ...factory } of factories) {
      entries.push(entryOf("factory", factory.id, { ...factory, enterprise: enterprise.id }));
      entries.push(...lines.map((line) => entryOf("line", `${factory.id}/${line.id}`, line)));
      for (const { devices, ...gateway } of gateways) {
        const key = `${factory.id}/${gateway.id}`;
        entries.push(entryOf("gateway", key, gateway));
        entries.push(...devices.map((device) => entryOf("device", `${key}/${device.id}`, device)));
      }
    }
  }
  return entries;
}

function changesOf(before: Entry, after: Entry): Difference[] {
  const { kind, entity, name } = after;
  const fields = new Set([...before.fields.keys(), ...after.fields.keys()]);
  return [...fields].flatMap((field) => {
    const [from, to] = [before.fields.get(field) ?? null, after.fields.get(field) ?? null];
    return from === to ? [] : [{ change: "changed" as const, kind, entity, name, field, before: from, after: to }];
  });
}

/**
 * What two registries differ in, in the order of the later one, removed entries at the end. Neither the order of entries nor that of keys
 * is a difference. Pure.
 */
export function registryDifferences(before: RegistryFile, after: RegistryFile): Difference[] {
  const keyOf = ({ kind, entity }: Entry) => `${kind} ${entity}`;
  const old = new Map(entriesOf(before).map((entry) => [keyOf(entry), entry]));
  const whole = ({ kind, entity, name }: Entry) => ({ kind, entity, name, field: null, before: null, after: null });
  const found = entriesOf(after).flatMap((entry): Difference[] => {
    const former = old.get(keyOf(entry));
    old.delete(keyOf(entry));
    return former ? changesOf(former, entry) : [{ change: "added", ...whole(entry) }];
  });
  return [...found, ...[...old.values()].map((entry) => ({ change: "removed" as const, ...whole(entry) }))];
}

const kindNames: Readonly<Record<EntryKind, string>> = {
  cluster: "集群 cluster",
  pilot: "试点 pilot",
  pilotPeriod: "考核期 pilot period",
  product: "产品 product",
  alarm: "报警规则 alarm rule",
  enterprise: "企业 enterprise",
  factory: "工厂 factory",
  line: "产线 line",
  gateway: "网关 gateway",
  device: "设备 device",
};
const changeNames = { added: "新增 added", removed: "移除 removed", changed: "变更 changed" } as const;

/** Chinese names of fields, by the first part of their path. */
const fieldNames: Readonly<Record<string, string>> = {
  name: "名称",
  industry: "行业",
  industryCode: "行业代码",
  gridRegion: "电网区域",
  demo: "演示",
  from: "开始",
  until: "结束",
  thresholds: "阈值",
  unit: "单位",
  plannedRunTimePerItemMs: "计划单件时间",
  creditCode: "统一社会信用代码",
  region: "地区",
  chainStage: "产业链环节",
  sizeClass: "规模",
  keyLink: "关键环节",
  digitalLevel: "数字化水平",
  enterprise: "所属企业",
  address: "地址",
  coordinates: "坐标",
  calendar: "班次日历",
  tariff: "电价",
  standardCoalFactors: "折标系数",
  box: "网关型号",
  uplink: "上行链路",
  kind: "类型",
  meteringPoint: "计量点",
  line: "产线",
  keyProcess: "关键工序",
  production: "生产设备",
  ratedPowerKW: "额定功率",
  carrier: "能源种类",
  parent: "上级表",
  modulus: "量程",
  resolution: "分辨率",
  ctRatio: "电流互感器变比",
  ptRatio: "电压互感器变比",
  calibratedOn: "检定日期",
  calibrationDueOn: "检定有效期",
  exchanges: "换表记录",
  states: "运行状态码",
  products: "产品",
  nameEn: "英文名称",
  priority: "优先级",
  applies: "适用对象",
  above: "上限",
  below: "下限",
  hysteresis: "回差",
  risePerMinute: "每分钟升幅",
  fallPerMinute: "每分钟降幅",
  windowMs: "时间窗",
  codes: "状态码",
  onDelayMs: "触发延时",
  offDelayMs: "解除延时",
  capability: "过程能力限",
  output: "产出设备",
};

const longestValue = 160;
const shown = (value: string | null) =>
  value === null ? "—" : value.length > longestValue ? `${value.slice(0, longestValue)}…` : value;

/** The differences as text for people, Chinese first: a line for each entry, its changed fields below it, counts at the end. */
export function formatDifferences(differences: readonly Difference[]): string {
  if (differences.length === 0) return "无差异 no difference\n";
  const entries = Map.groupBy(differences, ({ change, kind, entity }) => `${change} ${kind} ${entity}`);
  const lines = [...entries.values()].flatMap((own) => {
    const { change, kind, entity, name } = own[0] as Difference;
    const title = name === entity ? entity : `${entity} ${name}`;
    const fields = own.flatMap(({ field, before, after }) => {
      if (field === null) return [];
      const zh = fieldNames[field.split(".")[0] as string];
      return [`    ${zh ? `${zh} ` : ""}${field}: ${shown(before)} -> ${shown(after)}`];
    });
    return [`${changeNames[change]}  ${kindNames[kind]}  ${title}`, ...fields];
  });
  const counts = (["added", "removed", "changed"] as const).map((change) => {
    const count = [...entries.values()].filter((own) => own[0]?.change === change).length;
    return `${count} ${changeNames[change]}`;
  });
  return `${lines.join("\n")}\n${counts.join(", ")}\n`;
}
