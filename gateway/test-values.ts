import { type GatewayConfig, readGatewayConfig } from "./config.ts";
import type { ModbusDevice } from "./drivers/modbus-config.ts";

/** Devices with given tags, for tests of values. */

function textOf(tags: readonly string[], device: string): string {
  const list = tags.map((tag, i) => {
    const place = tag.includes("table:") ? "" : `table: holding, address: ${130 * i}, `;
    const name = tag.includes("name:") ? "" : `name: t${i}, `;
    return `      - { ${name}${place}${tag} }\n`;
  });
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const lines = device === "" ? "" : device.replaceAll(/^/gm, "    ").concat("\n");
  return `${head}  - id: d\n    driver: modbus-tcp\n    host: h\n    unitId: 1\n${lines}    tags:\n${list.join("")}`;
}

/**
 * A Modbus device; tags are YAML flow mappings, named t0, t1 ... and placed one after the other where they do not say otherwise.
 * @param device more lines of the device
 */
export function deviceWith(tags: readonly string[], device = ""): ModbusDevice {
  const read = readGatewayConfig(textOf(tags, device), "test.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.faults, null, 1));
  return (read.value as GatewayConfig).devices[0] as ModbusDevice;
}

/** What is wrong with such a device, as `path: expected | remedy`, the path below the device. */
export function faultsWith(tags: readonly string[], device = ""): string[] {
  const read = readGatewayConfig(textOf(tags, device), "test.yaml");
  return read.ok ? [] : read.faults.map((f) => `${f.path.replace("/devices/0", "")}: ${f.expected} | ${f.remedy}`);
}
