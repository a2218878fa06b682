/** `npm run simulate`: simulated plants for any Modbus TCP or OPC UA client, until SIGINT, SIGTERM or the parent's end. */
import { readFileSync } from "node:fs";
import { parseSimulateArguments, type SimulateArguments, USAGE } from "./arguments.ts";
import { startControl } from "./control.ts";
import { opcuaMapOf } from "./opcua-map.ts";
import { printColumns, printMarkdown, printOpcuaColumns, updateReadme } from "./print-map.ts";
import { registerMapOf, toJson } from "./register-map.ts";
import { type PlantHandle, type SimulatorOptions, scaledNow, startSimulator } from "./simulator.ts";

const README = new URL("./README.md", import.meta.url);

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function printMap({ printMap: form, profile }: SimulateArguments): Promise<void> {
  if (form === "json") print(toJson({ ...registerMapOf(profile), opcua: opcuaMapOf(profile) }, 2));
  else if (form === "markdown") print(printMarkdown(profile));
  else if (form === "readme") await updateReadme(README);
  else print(`${printColumns(profile)}\n\n${printOpcuaColumns(profile)}`);
}

/** What to type into two common clients, taken from the map so that it is never out of date. */
function printExamples({ host, port, registerMap }: PlantHandle): void {
  if (port === null) return;
  const target = host === "0.0.0.0" ? "127.0.0.1" : host;
  const energy = registerMap.points.find((point) => point.name === "incoming-meter/energy-import");
  const total = registerMap.points.find((point) => point.name === "machine-1/production-total");
  if (energy === undefined || total === undefined) return;
  print(
    `Try (mbpoll counts from 1 unless -0 is given; both show words, in the order ${total.order} for ${total.name}):`,
  );
  print(`  mbpoll -0 -a ${total.unitId} -r ${total.address} -c ${total.quantity} -t 4:hex -p ${port} ${target}`);
  print(`  mbpoll -0 -a ${energy.unitId} -r ${energy.address} -c ${energy.quantity} -t 4:hex -p ${port} ${target}`);
  const read = `read_holding_registers(${total.address}, count=${total.quantity}, device_id=${total.unitId})`;
  const client = `c = ModbusTcpClient('${target}', port=${port}); c.connect()`;
  print(`  python3 -c "from pymodbus.client import ModbusTcpClient; ${client}; print(c.${read}.registers)"`);
}

function announce({ id, host, port, profile, registerMap, opcua }: PlantHandle, rate: number): void {
  const { label } = registerMap;
  print(`SIMULATED plant ${id}: ${label.en} (${label.zh}), rate ${rate}`);
  if (port !== null) {
    print(`Modbus TCP on ${host}:${port}, read only (functions 1, 2, 3, 4, 43/14); addresses count from 0`);
    print(`\n${printColumns(profile)}\n`);
  }
  if (opcua !== undefined) {
    print(`OPC UA on ${opcua.endpointUrl}, read only; the server's certificate is ${opcua.certificatePath}`);
    print(`\n${printOpcuaColumns(profile)}\n`);
  }
}

/** The OPC UA servers' common options. Throws where the password's file cannot be read. */
function opcuaOptions({ opcuaPki, opcuaUser }: SimulateArguments): NonNullable<SimulatorOptions["opcua"]> {
  const [password = ""] = opcuaUser === undefined ? [] : readFileSync(opcuaUser.passwordFile, "utf8").split(/\r?\n/);
  return {
    ...(opcuaPki === undefined ? {} : { pkiDir: opcuaPki }),
    ...(opcuaUser === undefined ? {} : { user: { name: opcuaUser.name, password } }),
  };
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
    if (process.send !== undefined) process.once("disconnect", resolve);
  });
}

async function run(options: SimulateArguments): Promise<void> {
  // Listened for before anything is started, so that a stop during the start is not lost.
  const stopped = untilStopped();
  const { plants, unknownUnits, controlPort, rate } = options;
  await using simulator = await startSimulator({
    plants,
    now: scaledNow(options),
    unknownUnits,
    opcua: opcuaOptions(options),
  });
  const control = controlPort === undefined ? undefined : await startControl({ simulator, port: controlPort });
  try {
    for (const plant of simulator.plants) announce(plant, rate);
    const [first] = simulator.plants;
    if (first !== undefined) printExamples(first);
    if (control !== undefined) print(`Control interface on http://${control.host}:${control.port}/plants`);
    const opcua = simulator.plants.map(({ opcua: server }) =>
      server === undefined ? null : { endpointUrl: server.endpointUrl, certificatePath: server.certificatePath },
    );
    process.send?.({ type: "ready", ports: simulator.ports, opcua, controlPort: control?.port });
    await stopped;
  } finally {
    await control?.close();
  }
}

async function main(): Promise<void> {
  const parsed = parseSimulateArguments(process.argv.slice(2), Date.now());
  if ("errors" in parsed) {
    process.stderr.write(`${parsed.errors.map((error) => `simulate: ${error}`).join("\n")}\n\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  if (parsed.value.help) print(USAGE);
  else if (parsed.value.printMap !== undefined) await printMap(parsed.value);
  else await run(parsed.value);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`simulate: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  if (process.connected) process.disconnect();
}
