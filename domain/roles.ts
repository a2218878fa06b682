/** What a metric means. KPIs are computed from roles, never from names (DESIGN, contracts). */
export type RoleKind = "counter" | "gauge" | "state";

export type RoleDefinition = {
  readonly kind: RoleKind;
  /** Unit of the role's figures; a metric with this role must be scaled to it. */
  readonly unit: string;
  readonly zh: string;
  readonly en: string;
};

/** ISO 22400-2 terms where it has them; energy as of GB/T 2589. */
export const roles = {
  "energy.import": { kind: "counter", unit: "kWh", zh: "用电量", en: "Imported energy" },
  "gas.import": { kind: "counter", unit: "m3", zh: "天然气用量", en: "Imported natural gas" },
  "water.import": { kind: "counter", unit: "m3", zh: "用水量", en: "Imported fresh water" },
  "steam.import": { kind: "counter", unit: "t", zh: "蒸汽用量", en: "Imported steam" },
  "heat.import": { kind: "counter", unit: "MJ", zh: "热力用量", en: "Imported heat" },
  "compressed_air.import": { kind: "counter", unit: "m3", zh: "压缩空气用量", en: "Imported compressed air" },
  "production.total": { kind: "counter", unit: "pcs", zh: "产量", en: "Produced quantity" },
  "production.good": { kind: "counter", unit: "pcs", zh: "合格品数", en: "Good quantity" },
  "production.scrap": { kind: "counter", unit: "pcs", zh: "报废数", en: "Scrap quantity" },
  "production.rework": { kind: "counter", unit: "pcs", zh: "返工数", en: "Rework quantity" },
  "inspection.inspected": { kind: "counter", unit: "pcs", zh: "首检数", en: "Inspected parts" },
  "inspection.passed": { kind: "counter", unit: "pcs", zh: "首检合格数", en: "Parts passed at first inspection" },
  "machine.state": { kind: "state", unit: "1", zh: "设备状态", en: "Machine state" },
  "power.active": { kind: "gauge", unit: "kW", zh: "有功功率", en: "Active power" },
  temperature: { kind: "gauge", unit: "°C", zh: "温度", en: "Temperature" },
} as const satisfies Record<string, RoleDefinition>;

export type Role = keyof typeof roles;
export const roleNames = Object.keys(roles) as Role[];

export function isRole(name: string | undefined): name is Role {
  return name !== undefined && Object.hasOwn(roles, name);
}

/** The roles whose registers are counters. */
export const counterRoles = roleNames.filter((name) => roles[name].kind === "counter");

/** Energy carriers that meters count. */
export const carriers = ["electricity", "gas", "water", "steam", "heat", "compressed_air"] as const;
export type Carrier = (typeof carriers)[number];

/** The role of the register of a carrier's meter; its unit is that of the carrier. */
export const carrierRoles = {
  electricity: "energy.import",
  gas: "gas.import",
  water: "water.import",
  steam: "steam.import",
  heat: "heat.import",
  compressed_air: "compressed_air.import",
} as const satisfies Record<Carrier, Role>;

/** Decimal places at which leaves and results of a unit are added up as integers (CONTRACTS 5). */
export const scaleOfUnit: Readonly<Record<string, number>> = {
  kWh: 6,
  m3: 6,
  t: 6,
  MJ: 6,
  kW: 6,
  kgce: 11,
  kgCO2: 10,
  CNY: 10,
  pcs: 6,
  "1": 0,
};

/** Places for a unit without an entry of its own. */
export const defaultScale = 6;
