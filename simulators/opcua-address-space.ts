/** The address space as a vendor would lay it out: Objects/Plant/<device>/<Signal>, every variable readable and none writable. */
import type { OPCUAServer } from "node-opcua-server";
import { StatusCode, StatusCodes } from "node-opcua-status-code";
import { MACHINE_STATES } from "./machine.ts";
import type { VariableType } from "./opcua-layout.ts";
import { OPCUA_NAMESPACE_URI, type OpcuaMap, type OpcuaPoint, type VariableValue } from "./opcua-map.ts";
import type { CellListener } from "./opcua-memory.ts";

type AddressSpace = NonNullable<OPCUAServer["engine"]["addressSpace"]>;
type Namespace = ReturnType<AddressSpace["registerNamespace"]>;
type Variable = ReturnType<Namespace["addVariable"]>;
type Folder = ReturnType<Namespace["addObject"]>;

const UNIT_NAMESPACE_URI = "http://www.opcfoundation.org/UA/units/un/cefact";
/** VariantArrayType of a single value, which the library cannot tell of a 64-bit integer by itself. */
const SCALAR = 0;
/** The one bit of an access level that is set (OPC 10000-3, 8.57). */
const CURRENT_READ = 1;

/** The StatusCode of a name; throws a RangeError where OPC 10000-4 has none. */
export function statusCodeOf(name: string): StatusCode {
  const code = (StatusCodes as unknown as Record<string, unknown>)[name];
  if (!(code instanceof StatusCode)) throw new RangeError(`${name} is no StatusCode of OPC UA`);
  return code;
}

/** The library writes 64-bit integers as [high, low], the high word of a negative one in two's complement. */
function toWire(type: VariableType, value: VariableValue): unknown {
  if (typeof value !== "bigint") return value;
  if (type !== "uint64" && type !== "int64") return Number(value);
  const bits = BigInt.asUintN(64, value);
  return [Number(bits >> 32n), Number(bits & 0xffff_ffffn)];
}

/** The value of a variable of this type as it stands in a Variant. */
export function fromWire(type: VariableType, value: unknown): VariableValue | null {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) {
    const bits = (BigInt(value[0]) << 32n) | BigInt(value[1]);
    return type === "int64" ? BigInt.asIntN(64, bits) : bits;
  }
  const isCount = typeof value === "number" && !type.startsWith("float");
  return isCount ? BigInt(value) : (value as VariableValue);
}

/** Common code of UNECE Recommendation 20 as a number (OPC 10000-8, 5.6.4.3): its characters as bytes. */
function unitId(code: string): number {
  return [...code].reduce((id, letter) => id * 256 + letter.charCodeAt(0), 0);
}

/** Range within which an integer of this type counts. */
function rangeOf({ type, modulus, counter }: OpcuaPoint): { low: number; high: number } {
  if (modulus !== null) return { low: 0, high: Number(modulus - 1n) };
  const bits = Number(/\d+$/.exec(type)?.[0] ?? 32);
  if (counter) return { low: 0, high: 2 ** 53 - 1 };
  return type.startsWith("float")
    ? { low: -10_000, high: 10_000 }
    : { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1 };
}

function addVariable(namespace: Namespace, folder: Folder, point: OpcuaPoint): Variable {
  const common = {
    componentOf: folder,
    browseName: point.browseName,
    nodeId: `ns=${namespace.index};s=${point.identifier}`,
    accessLevel: "CurrentRead",
    userAccessLevel: "CurrentRead",
    // 0: a client may ask for every change.
    minimumSamplingInterval: 0,
  };
  const dataType = point.dataType;
  if (point.named) {
    const enumStrings = Object.keys(MACHINE_STATES);
    return namespace.addMultiStateDiscrete({ ...common, enumStrings }) as unknown as Variable;
  }
  const { engineeringUnit } = point;
  if (engineeringUnit === undefined) return namespace.addVariable({ ...common, dataType });
  const variable = namespace.addAnalogDataItem({
    ...common,
    dataType,
    engineeringUnitsRange: rangeOf(point),
    engineeringUnits: {
      namespaceUri: UNIT_NAMESPACE_URI,
      unitId: unitId(engineeringUnit.code),
      displayName: { text: engineeringUnit.symbol },
      description: { text: engineeringUnit.name },
    },
  }) as unknown as Variable;
  // The library lets clients write the range and the unit of an analog item.
  for (const name of ["EURange", "EngineeringUnits"]) {
    const property = variable.getPropertyByName(name);
    if (property === null) throw new Error(`${point.name} has no ${name}`);
    property.accessLevel = CURRENT_READ;
    property.userAccessLevel = CURRENT_READ;
  }
  return variable;
}

/** Adds a plant's folders and variables. Gives what writes a cell of the memory into its variable. */
export function addPlant(addressSpace: AddressSpace, map: OpcuaMap): CellListener {
  const namespace = addressSpace.registerNamespace(OPCUA_NAMESPACE_URI);
  const plant = namespace.addObject({
    organizedBy: addressSpace.rootFolder.objects,
    browseName: "Plant",
    nodeId: `ns=${namespace.index};s=plant`,
    typeDefinition: "FolderType",
  });
  const variables = new Map<string, Variable>();
  for (const { device, label, points } of map.devices) {
    const folder = namespace.addObject({
      organizedBy: plant,
      browseName: device,
      displayName: [
        { locale: "en", text: label.en },
        { locale: "zh-CN", text: label.zh },
      ],
      nodeId: `ns=${namespace.index};s=${device}`,
      typeDefinition: "FolderType",
    });
    for (const point of points) variables.set(point.name, addVariable(namespace, folder, point));
  }
  return ({ name, type, dataType }, { raw, status, valuesTimeMs }) => {
    const variant = raw === null ? { dataType: "Null" } : { dataType, arrayType: SCALAR, value: toWire(type, raw) };
    variables.get(name)?.setValueFromSource(variant, statusCodeOf(status), new Date(valuesTimeMs));
  };
}
