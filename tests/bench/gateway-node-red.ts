import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Node-RED and its Modbus nodes as npm gives them now: no part of the product, and not installed by it. */
export function installNodeRed(dir: string): { version: string; start: (folder: string) => ChildProcess } {
  const home = join(dir, "node-red");
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), JSON.stringify({ name: "bench", private: true }));
  // Later versions of the Modbus nodes have a dependency that is not on npm.
  const packages = ["node-red", "node-red-contrib-modbus@5.23.3"];
  execFileSync("npm", ["install", "--no-audit", "--no-fund", ...packages], {
    cwd: home,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [version, modbus] = packages.map((name) => {
    const file = join(home, "node_modules", name.split("@")[0] as string, "package.json");
    return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  });
  return {
    version: `${version} with node-red-contrib-modbus ${modbus}`,
    start: (folder) => {
      symlinkSync(join(home, "node_modules"), join(folder, "node_modules"));
      writeFileSync(join(folder, "package.json"), readFileSync(join(home, "package.json")));
      const settings =
        "module.exports = { uiPort: 0, uiHost: '127.0.0.1', httpAdminRoot: false, httpNodeRoot: false, logging: { console: { level: 'error' } } };\n";
      writeFileSync(join(folder, "settings.js"), settings);
      const program = join(home, "node_modules/node-red/red.js");
      const words = [
        program,
        "--userDir",
        folder,
        "--settings",
        join(folder, "settings.js"),
        join(folder, "flow.json"),
      ];
      return spawn(process.execPath, words, { stdio: ["ignore", "ignore", "inherit"] });
    },
  };
}

/** A flow that reads 100 registers of each unit once a second and publishes each answer as JSON. */
export function nodeRedFlow(modbusPort: number, brokerPort: number, units: number): object[] {
  const flow: object[] = [
    { id: "tab", type: "tab", label: "bench" },
    {
      id: "broker",
      type: "mqtt-broker",
      broker: "127.0.0.1",
      port: String(brokerPort),
      clientid: "",
      protocolVersion: "4",
      keepalive: "60",
      cleansession: true,
      autoConnect: true,
    },
    {
      id: "out",
      type: "mqtt out",
      z: "tab",
      topic: "bench/values",
      qos: "0",
      retain: "false",
      broker: "broker",
      wires: [],
    },
  ];
  for (let i = 1; i <= units; i += 1) {
    flow.push(
      {
        id: `client${i}`,
        type: "modbus-client",
        clienttype: "tcp",
        bufferCommands: true,
        tcpHost: "127.0.0.1",
        tcpPort: String(modbusPort),
        tcpType: "DEFAULT",
        unit_id: i,
        commandDelay: 1,
        clientTimeout: 1000,
        reconnectOnTimeout: true,
        reconnectTimeout: 2000,
        parallelUnitIdsAllowed: true,
      },
      {
        id: `read${i}`,
        type: "modbus-read",
        z: "tab",
        dataType: "HoldingRegister",
        adr: "0",
        quantity: "100",
        rate: "1",
        rateUnit: "s",
        server: `client${i}`,
        useIOFile: false,
        ioFile: "",
        useIOForPayload: false,
        wires: [["out"], []],
      },
    );
  }
  return flow;
}
