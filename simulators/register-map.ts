/**
 * The register map of a plant: the layout of register-layout.ts with the byte orders, labels and products of a profile.
 */
import { isProfileName, type Label, PROFILE_NAMES, PROFILES, type ProfileName } from "./profiles.ts";
import {
  DEVICE_NAMES,
  type DeviceName,
  LAYOUT,
  type LayoutPoint,
  type RegisterType,
  type ReservedRange,
  type Scale,
  SIGNALS,
  type Signal,
  type Table,
} from "./register-layout.ts";

/**
 * Order of the bytes of a value on the wire; A is the most significant byte of a 32-bit value. ABCD: big endian
 * (the Modbus standard). CDAB: registers swapped. BADC: bytes swapped inside each register. DCBA: both.
 * 64-bit values follow the same rule over four registers (CDAB: GHEFCDAB), and 16-bit values in BADC and DCBA have
 * their two bytes swapped.
 */
export const BYTE_ORDERS = ["ABCD", "CDAB", "BADC", "DCBA"] as const;
export type ByteOrder = (typeof BYTE_ORDERS)[number];

export type Point = {
  /** Unique in the plant: `<device>/<signal>`. */
  readonly name: string;
  readonly device: DeviceName;
  readonly unitId: number;
  readonly table: Table;
  /** Zero-based address of the first register or bit. */
  readonly address: number;
  /** Registers (1, 2 or 4) or bits (1) that the value occupies. */
  readonly quantity: number;
  readonly type: RegisterType;
  readonly order: ByteOrder;
  /** Engineering value = raw x numerator / denominator. */
  readonly scale: Scale;
  /** Engineering unit; "1" for none. */
  readonly unit: string;
  /** A hint: the role that the quantity plays for indicators. */
  readonly role: string;
  /** What an energy counter meters. */
  readonly carrier?: string;
  /** What a production or inspection counter counts. */
  readonly product?: string;
  /** Counters only: the raw value restarts at 0 when it reaches this. Null for 64 bits: never in a plant's life. */
  readonly modulus: bigint | null;
  readonly counter: boolean;
  /** Which quantity of the truth stands here. */
  readonly signal: Signal;
};

export type DeviceMap = {
  readonly device: DeviceName;
  readonly unitId: number;
  readonly label: Label;
  readonly order: ByteOrder;
  readonly points: readonly Point[];
  readonly reserved: readonly ReservedRange[];
};

export type RegisterMap = {
  readonly profile: ProfileName;
  readonly label: Label;
  readonly product: string;
  readonly devices: readonly DeviceMap[];
  readonly points: readonly Point[];
};

const REGISTERS_BY_TYPE: Readonly<Record<RegisterType, number>> = {
  bool: 1,
  uint16: 1,
  int16: 1,
  uint32: 2,
  int32: 2,
  float32: 2,
  uint64: 4,
  int64: 4,
  float64: 4,
};

/** Where an unsigned counter restarts that has no modulus of its own: at the width of its type. */
export const DEFAULT_MODULUS: Partial<Record<string, bigint>> = { uint16: 1n << 16n, uint32: 1n << 32n };

/** What a counter of this role counts: the carrier of an energy meter, the product of a production counter. */
export function countedBy(role: string, product: string): { readonly carrier?: string; readonly product?: string } {
  if (role === "energy.import") return { carrier: "electricity" };
  return role.startsWith("production.") || role.startsWith("inspection.") ? { product } : {};
}

function buildPoint(device: DeviceName, order: ByteOrder, product: string, layout: LayoutPoint): Point {
  const signal = SIGNALS[layout.signal];
  return {
    name: `${device}/${layout.name}`,
    device,
    unitId: LAYOUT[device].unitId,
    table: layout.table,
    address: layout.address,
    quantity: REGISTERS_BY_TYPE[layout.type],
    type: layout.type,
    order,
    scale: { numerator: 1, denominator: layout.denominator ?? 1 },
    unit: signal.unit,
    role: signal.role,
    ...countedBy(signal.role, product),
    modulus: signal.counter ? (layout.modulus ?? DEFAULT_MODULUS[layout.type] ?? null) : null,
    counter: signal.counter,
    signal: layout.signal,
  };
}

function labelOf(profile: ProfileName, device: DeviceName): Label {
  const machines = PROFILES[profile].machines;
  const machine = machines[Number(device.slice(-1)) - 1];
  if (machine === undefined) return { en: "incoming meter", zh: "总进线电表" };
  if (device.startsWith("machine")) return machine.label;
  return { en: `feeder meter of the ${machine.label.en}`, zh: `${machine.label.zh}电表` };
}

function build(profile: ProfileName): RegisterMap {
  const { label, product } = PROFILES[profile];
  const shift = PROFILE_NAMES.indexOf(profile);
  const devices = DEVICE_NAMES.map((device, index): DeviceMap => {
    // Dealt round robin and shifted per profile: each plant has all four orders, and the three plants together have
    // every type in every order (held by a test).
    const order = BYTE_ORDERS[(index + shift) % BYTE_ORDERS.length] ?? "ABCD";
    const layout = LAYOUT[device];
    return {
      device,
      unitId: layout.unitId,
      label: labelOf(profile, device),
      order,
      points: layout.points.map((point) => buildPoint(device, order, product, point)),
      reserved: layout.reserved,
    };
  });
  return { profile, label, product, devices, points: devices.flatMap((device) => device.points) };
}

const MAPS: Readonly<Record<ProfileName, RegisterMap>> = {
  "copper-casting": build("copper-casting"),
  "aluminium-extrusion": build("aluminium-extrusion"),
  "copper-rolling": build("copper-rolling"),
};

/** The register map of a profile. It is the same for every seed. */
export function registerMapOf(profile: ProfileName): RegisterMap {
  if (!isProfileName(profile)) throw new TypeError(`unknown profile ${String(profile)}; one of ${PROFILE_NAMES}`);
  return MAPS[profile];
}

/** JSON with every bigint as a decimal string: the form used by the control interface and `--print-map json`. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, inner: unknown) => (typeof inner === "bigint" ? inner.toString() : inner),
    indent,
  );
}
