/** The OPC UA variables of a plant: the layout of opcua-layout.ts with node ids, labels and products. */
import { type RawValue, rawValue } from "./codec.ts";
import { OPCUA_LAYOUT, type OpcuaLayoutPoint, type VariableType } from "./opcua-layout.ts";
import type { Plant } from "./plant.ts";
import type { Label, ProfileName } from "./profiles.ts";
import { type DeviceName, SIGNALS } from "./register-layout.ts";
import { countedBy, DEFAULT_MODULUS, type Point, registerMapOf } from "./register-map.ts";

export const OPCUA_NAMESPACE_URI = "urn:jilian:simulator";
/** ProductUri of the server's BuildInfo: what tells a client that no plant stands behind it. */
export const OPCUA_PRODUCT_URI = "urn:jilian:simulator:plant";

/** Built-in types of OPC 10000-6, 5.1.2. */
const DATA_TYPES = {
  bool: "Boolean",
  uint16: "UInt16",
  int16: "Int16",
  uint32: "UInt32",
  int32: "Int32",
  uint64: "UInt64",
  int64: "Int64",
  float32: "Float",
  float64: "Double",
  string: "String",
} as const satisfies Record<VariableType, string>;
export type OpcuaDataType = (typeof DATA_TYPES)[VariableType];

/** Value of a variable; null under a status that is bad. */
export type VariableValue = RawValue | string;

export type OpcuaPoint = Pick<
  Point,
  "name" | "device" | "scale" | "unit" | "role" | "carrier" | "product" | "modulus" | "counter" | "signal"
> &
  Pick<OpcuaLayoutPoint, "engineeringUnit"> & {
    readonly type: VariableType;
    readonly dataType: OpcuaDataType;
    /** String identifier within the namespace: `<device>.<signal>`. */
    readonly identifier: string;
    /** With the namespace's URI, for its index is the server's own affair (OPC 10000-6, 5.1.12). */
    readonly nodeId: string;
    readonly browseName: string;
    readonly named: boolean;
  };

export type OpcuaDeviceMap = {
  readonly device: DeviceName;
  readonly label: Label;
  readonly points: readonly OpcuaPoint[];
};

export type OpcuaMap = {
  readonly profile: ProfileName;
  readonly namespaceUri: string;
  readonly devices: readonly OpcuaDeviceMap[];
  readonly points: readonly OpcuaPoint[];
};

function pascalCase(name: string): string {
  return name.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}

function buildPoint(device: DeviceName, product: string, layout: OpcuaLayoutPoint): OpcuaPoint {
  const signal = SIGNALS[layout.signal];
  const isText = layout.type === "string";
  const identifier = `${device}.${isText ? `${layout.signal}Text` : layout.signal}`;
  return {
    name: `${device}/${layout.name}`,
    device,
    type: layout.type,
    dataType: DATA_TYPES[layout.type],
    identifier,
    nodeId: `nsu=${OPCUA_NAMESPACE_URI};s=${identifier}`,
    browseName: pascalCase(layout.name),
    scale: { numerator: 1, denominator: layout.denominator },
    unit: signal.unit,
    role: isText ? "" : signal.role,
    ...countedBy(signal.role, product),
    modulus: signal.counter ? (layout.modulus ?? DEFAULT_MODULUS[layout.type] ?? null) : null,
    counter: signal.counter,
    signal: layout.signal,
    named: layout.named ?? false,
    ...(layout.engineeringUnit === undefined ? {} : { engineeringUnit: layout.engineeringUnit }),
  };
}

const maps = new Map<ProfileName, OpcuaMap>();

/** The variables of a profile, the same for every seed. Throws a TypeError for an unknown profile. */
export function opcuaMapOf(profile: ProfileName): OpcuaMap {
  const made = maps.get(profile);
  if (made !== undefined) return made;
  const { devices: registers, product } = registerMapOf(profile);
  const devices = registers.map(({ device, label }) => ({
    device,
    label,
    points: OPCUA_LAYOUT[device].map((layout) => buildPoint(device, product, layout)),
  }));
  const points = devices.flatMap((device) => device.points);
  const map = { profile, namespaceUri: OPCUA_NAMESPACE_URI, devices, points };
  maps.set(profile, map);
  return map;
}

/** What a variable of the plant holds now. A counter's reset strikes its register and its variable, for they are one counter. */
export function variableValue(plant: Plant, point: OpcuaPoint): VariableValue {
  const { type } = point;
  if (type === "string") return plant.machines[Number(point.device.slice(-1)) - 1]?.state ?? "";
  return rawValue({ ...point, type }, plant.counted(point));
}

/** All variables of the plant now, by point name. */
export function variableValues(plant: Plant): Record<string, VariableValue> {
  return Object.fromEntries(opcuaMapOf(plant.profile).points.map((point) => [point.name, variableValue(plant, point)]));
}
