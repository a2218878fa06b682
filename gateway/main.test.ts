import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { controlPath } from "./control.ts";
import { type Host, startHost } from "./test-host.ts";
import { programs } from "./test-program.ts";

let bench: ReturnType<typeof programs>;
let folder: string;
let host: Host;
const program = (args: string[], env: Record<string, string> = {}) => bench.start(args, env);

beforeEach(async () => {
  bench = programs();
  folder = bench.folder;
  host = await startHost();
});
afterEach(async () => {
  await bench.end();
  await host.close();
});

/** A port on which nothing listens: the PLC that is not there. */
const deadPort = 9;

function write(text: string): string {
  const file = join(folder, "gateway.yaml");
  writeFileSync(file, text);
  return file;
}

const config = (lines: { broker?: string; device?: string; devices?: string } = {}) => `
group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port}, reconnectMinMs: 20, reconnectMaxMs: 100${lines.broker ?? ""} }
outbox: { path: outbox.db }
devices:
  - id: press
    driver: modbus-tcp
    host: 127.0.0.1
    port: ${deadPort}
    unitId: 1${lines.device ?? ""}
    tags:
      - { name: temperature, table: holding, address: 0, type: int16, unit: °C }
${lines.devices ?? ""}`;

describe("refuses with exit code 2, before it opens anything", () => {
  test("a wrong configuration, with every fault", async () => {
    const file = write(config({ device: "\n    pollIntervalMs: 0\n    timeout: 5", broker: ", keepaliveMs: soon" }));
    const { ended, output } = program(["run", "--config", file]);
    expect(await ended).toBe(2);
    for (const path of ["/broker/keepaliveMs", "/devices/0/pollIntervalMs", "/devices/0/timeout"])
      expect(output.err).toContain(path);
    expect(output.err).toContain("3 faults; nothing was started.");
    expect(host.seen).toEqual([]);
  });

  test.each([
    ["an unknown command", ["start"], /unknown: start[\s\S]*jilian-gateway run/],
    ["no command", [], /a command is missing/],
    ["an unknown option", ["run", "--confg", "x"], /Unknown option '--confg'/],
    ["no configuration", ["run"], /--config is missing/],
    ["two configurations", ["run", "a.yaml", "b.yaml"], /unknown: b\.yaml/],
    ["a file without --config that is not there", ["run", "/nowhere/g.yaml"], /\/nowhere\/g\.yaml: cannot be read/],
    [
      "a file that is not there",
      ["run", "--config", "/nowhere/gateway.yaml"],
      /\/nowhere\/gateway.yaml: cannot be read/,
    ],
  ])("%s", async (_what, args, expected) => {
    const { ended, output } = program(args);
    expect(await ended).toBe(2);
    expect(output.err).toMatch(expected);
    expect(output.out).toBe("");
  });

  test("a password file that is missing, as a fault with its line", async () => {
    const file = write(config({ broker: ", username: gw, passwordFile: secret" }));
    const { ended, output } = program(["run", "--config", file]);
    expect(await ended).toBe(2);
    expect(output.err).toMatch(/gateway\.yaml:4 \/broker\/passwordFile\n {2}found: .*ENOENT/);
  });

  test("a simulated clock beside a real device, and one that is none", async () => {
    const real = program(["run", "--config", write(config())], { JILIAN_CLOCK: "60,0,0" });
    expect(await real.ended).toBe(2);
    expect(real.output.err).toMatch(/not simulated: press/);
    const file = write(config({ device: "\n    simulated: true" }));
    const wrong = program(["check", "--config", file], { JILIAN_CLOCK: "fast" });
    expect(await wrong.ended).toBe(2);
    expect(wrong.output.err).toMatch(/JILIAN_CLOCK is "fast"/);
  });
});

test("check says that there is no fault and starts nothing", async () => {
  const { ended, output } = program(["check", "--config", write(config())]);
  expect([await ended, output.out]).toEqual([0, expect.stringContaining("no fault. 1 devices.")]);
});

describe("runs", () => {
  test("with a PLC that is not there: ready, born, tells why; ends on SIGTERM with NDEATH and code 0", async () => {
    writeFileSync(join(folder, "secret"), "s3cret\n");
    let login: unknown[] = [];
    host.broker.authenticate = (_client, user, password, done) => {
      login = [user, String(password)];
      done(null, true);
    };
    const file = write(config({ broker: ", username: gw, passwordFile: secret" }));
    const { child, ended, output } = program(["run", "--config", file]);
    expect((await once(child, "message"))[0]).toEqual({ type: "ready" });
    await host.until("the reason", () =>
      host.seen.find((m) => String(m.values["Devices/press/Reason"] ?? "").includes("MODBUS_")),
    );
    expect(login).toEqual(["gw", "s3cret"]);
    expect(host.ofType("DBIRTH")).toEqual([]);
    const startedMs = performance.now();
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(2000);
    expect(host.ofType("NDEATH")).toHaveLength(1);
    expect(output.out).not.toContain("s3cret");
    expect(
      output.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).node),
    ).toContain("gateway-1");
    expect(output.err).toBe("");
  });

  test("without a broker, and ends when its parent lets go of it", async () => {
    const { port } = host;
    await host.close();
    const { child, output } = program(["run", "--config", write(config())]);
    await once(child, "message");
    await vi.waitFor(() => expect(output.out).toContain("BROKER_UNREACHABLE"), { timeout: 5000 });
    const exit = once(child, "exit");
    child.disconnect();
    expect((await exit)[0]).toBe(0);
    host = await startHost(port);
  });

  test("not twice on one outbox: the second says so and ends with code 1", async () => {
    const file = write(config());
    const first = program(["run", "--config", file]);
    await once(first.child, "message");
    const second = program(["run", "--config", file]);
    expect(await second.ended).toBe(1);
    expect(second.output.out).toContain("OUTBOX_LOCKED");
  });
});

test("a command that only asks ends at once on Ctrl-C, and quietly when its reader has seen enough", async () => {
  const silent = createServer();
  silent.listen(controlPath(join(folder, "outbox.db")));
  await once(silent, "listening");
  try {
    const file = write(config());
    const asking = once(silent, "connection");
    const { child } = program(["status", "--config", file]);
    const [socket] = await asking;
    const exit = once(child, "exit");
    child.kill("SIGINT");
    expect(await exit).toEqual([null, "SIGINT"]);
    socket.destroy();

    const schema = program(["schema"]);
    schema.child.stdout?.destroy();
    await schema.ended;
    expect(schema.output.err).toBe("");
  } finally {
    silent.close();
  }
});
