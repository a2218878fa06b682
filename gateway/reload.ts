import { isDeepStrictEqual } from "node:util";
import type { DeviceConfig, GatewayConfig } from "./config.ts";

/** What another configuration asks for, beside the one in use. */
export type Difference = {
  /** Keys that take effect with the next start alone: a file that is open, an identity that was told. */
  readonly restart: readonly string[];
  /** Keys for which the connection to the broker and all devices begin anew. */
  readonly whole: readonly string[];
  /** Lines by id that are added, changed or removed. Devices on a changed one are among the changed. */
  readonly lines: readonly string[];
  /** Whether what OPC UA devices share is another; they are among the changed then. */
  readonly opcua: boolean;
  /** Devices by id. Those that are in none of these go on as if nothing had happened. */
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
};

/** Everything but these and what is told in parts begins anew where it changes. */
const fixed: readonly (keyof GatewayConfig)[] = ["group", "node", "outbox", "history", "ops", "logLevel"];

/** Of these the parts that differ begin anew, with the devices that they concern. */
const inParts: readonly (keyof GatewayConfig)[] = ["devices", "lines", "opcua"];

const byId = <T extends { readonly id: string }>(all: readonly T[] = []): ReadonlyMap<string, T> =>
  new Map(all.map((one) => [one.id, one]));

/** What is shared or is one's own: a device begins anew with its line, or with the section of its protocol. */
function isTouched(device: DeviceConfig, lines: readonly string[], opcua: boolean): boolean {
  return "line" in device ? lines.includes(device.line) : opcua && device.driver === "opcua";
}

/** Compares two checked configurations: with every default filled in, so that writing one out is no change. */
export function difference(before: GatewayConfig, after: GatewayConfig): Difference {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)] as (keyof GatewayConfig)[]);
  const differ = [...keys].filter((key) => !isDeepStrictEqual(before[key], after[key]));
  const [lineWas, lineIs] = [byId(before.lines), byId(after.lines)];
  const lineIds = new Set([...lineWas.keys(), ...lineIs.keys()]);
  const lines = [...lineIds].filter((id) => !isDeepStrictEqual(lineWas.get(id), lineIs.get(id)));
  const opcua = differ.includes("opcua");
  const [was, is] = [byId<DeviceConfig>(before.devices), byId<DeviceConfig>(after.devices)];
  const isChanged = (device: DeviceConfig) =>
    was.has(device.id) && (isTouched(device, lines, opcua) || !isDeepStrictEqual(was.get(device.id), device));
  return {
    restart: differ.filter((key) => fixed.includes(key)),
    whole: differ.filter((key) => !fixed.includes(key) && !inParts.includes(key)),
    lines,
    opcua,
    added: [...is.keys()].filter((id) => !was.has(id)),
    changed: after.devices.filter(isChanged).map(({ id }) => id),
    removed: [...was.keys()].filter((id) => !is.has(id)),
  };
}

/** Whether there is nothing to do. */
export function isSame({ restart, whole, lines, opcua, added, changed, removed }: Difference): boolean {
  return !opcua && [restart, whole, lines, added, changed, removed].every(({ length }) => length === 0);
}
