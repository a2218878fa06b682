import { copyFileSync, existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "@jilian/domain/clock.ts";
import { openOutbox } from "@jilian/gateway/outbox.ts";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { tarGz } from "./tar.ts";
import { filledIn, nodeScript, noNode, testBox } from "./test-box.ts";

let box: ReturnType<typeof testBox>;
beforeEach(() => {
  box = testBox();
});
afterEach(() => box.close());
// Bundling takes a second of a core that others use too.
vi.setConfig({ testTimeout: 120_000 });

const opt = "opt/jilian-gateway";
const config = "etc/jilian-gateway/gateway.yaml";
const text = (path: string) => readFileSync(box.inRoot(path), "utf8");

test("installs, tells every gap of the example, then checks what was filled in; again and again", async () => {
  const { folder } = await box.unpack(nodeScript);
  const first = box.install(folder);
  expect(first.code).toBe(0);
  // The example is not to be started by mistake: its gaps are faults.
  for (const gap of ["/group", "/node"]) expect(first.err).toContain(`${gap}\n  found:    "【必填】`);
  expect(first.out).toMatch(/已安装 \/ installed: jilian-gateway \d+\.\d+\.\d+ .*下一步:/s);
  expect(statSync(box.inRoot(config)).mode & 0o777).toBe(0o640);
  expect(statSync(box.inRoot("var/lib/jilian-gateway")).mode & 0o777).toBe(0o700);

  box.configure(filledIn);
  const second = box.install(folder);
  expect(second.code).toBe(0);
  expect(second.out).toContain("no fault. 1 devices.");
  const before = [text(config), text("etc/passwd"), text("etc/group"), readdirSync(box.inRoot(opt)).sort()];
  expect(box.install(folder).code).toBe(0);
  expect([text(config), text("etc/passwd"), text("etc/group"), readdirSync(box.inRoot(opt)).sort()]).toEqual(before);
  expect(text("etc/passwd").match(/^jilian:/gm)).toHaveLength(1);
  const unit = "etc/systemd/system/jilian-gateway.service";
  expect(text(unit)).toContain("WatchdogSec=");
  expect(readlinkSync(box.inRoot("etc/systemd/system/multi-user.target.wants/jilian-gateway.service"))).toBe(
    `/${unit}`,
  );
});

test("refuses a damaged package, a missing file and another architecture, and leaves nothing behind", async () => {
  const { folder } = await box.unpack(noNode);
  const main = `${folder}/lib/main.mjs`;
  const good = readFileSync(main);
  writeFileSync(main, Buffer.concat([good, Buffer.from(" ")]));
  const damaged = box.install(folder);
  expect(damaged).toMatchObject({
    code: 1,
    err: expect.stringMatching(/lib\/main\.mjs: FAILED[\s\S]*copy the package again/),
  });
  writeFileSync(main, good);
  const version = readFileSync(`${folder}/VERSION`, "utf8");
  const [here, other] = process.arch === "arm64" ? ["arm64", "x64"] : ["x64", "arm64"];
  writeFileSync(`${folder}/VERSION`, version.replace(`arch=${here}`, `arch=${other}`));
  const wrong = box.install(folder);
  expect(wrong).toMatchObject({
    code: 1,
    err: expect.stringContaining(`this package is for ${other}, this machine is ${here}`),
  });
  writeFileSync(`${folder}/VERSION`, version);
  // A Node.js that does not run here: the wrong C library shows like this.
  expect(box.install(folder)).toMatchObject({ code: 1, err: expect.stringContaining("does not run here") });
  expect(readdirSync(box.inRoot(""))).toEqual(["opt"]);
  expect(readdirSync(box.inRoot(opt))).toEqual([]);
  expect(box.install(folder, ["--what"])).toMatchObject({ code: 2 });
});

test("updates keep the version before, go without Node.js where it is the same, and stop at a wrong configuration", async () => {
  const full = await box.unpack(nodeScript, { version: "1.0.0" });
  box.install(full.folder);
  box.configure(filledIn);
  expect(box.install(full.folder).code).toBe(0);
  const bundle = await box.unpack(nodeScript, { version: "1.1.0", bundleOnly: true });
  expect(bundle.pack.entries.some(({ path }) => path === "runtime/node")).toBe(false);
  expect(tarGz(bundle.pack.entries).length).toBeLessThan(2e6);
  expect(box.install(bundle.folder).code).toBe(0);
  expect(readlinkSync(box.inRoot(`${opt}/current`))).toBe("1.1.0");
  // One file on disk for both versions.
  expect(statSync(box.inRoot(`${opt}/1.1.0/runtime/node`)).ino).toBe(
    statSync(box.inRoot(`${opt}/1.0.0/runtime/node`)).ino,
  );

  const foreign = await box.unpack(
    { ...nodeScript, content: Buffer.from("another") },
    { version: "1.2.0", bundleOnly: true },
  );
  expect(box.install(foreign.folder)).toMatchObject({ code: 1, err: expect.stringContaining("use the full package") });
  expect(readlinkSync(box.inRoot(`${opt}/current`))).toBe("1.1.0");

  const next = await box.unpack(nodeScript, { version: "1.3.0", bundleOnly: true });
  expect(box.install(next.folder).code).toBe(0);
  expect(readdirSync(box.inRoot(opt)).sort()).toEqual(["1.1.0", "1.3.0", "current"]);

  // A version that refuses what the one before accepts.
  const strict = await box.unpack(nodeScript, { version: "2.0.0", bundleOnly: true });
  const installed = box.inRoot(`${opt}/1.3.0/lib/main.mjs`);
  copyFileSync(installed, `${installed}.kept`);
  writeFileSync(installed, "process.exit(0)");
  box.configure((yaml) => yaml.replace("unitId: 1 ", "unitId: 999 "));
  const refused = box.install(strict.folder);
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(/\/devices\/0\/unitId[\s\S]*not updated, 1\.3\.0 runs on/);
  expect(readdirSync(box.inRoot(opt)).sort()).toEqual(["1.1.0", "1.3.0", "current"]);
});

test("uninstalling keeps configuration and data, and does not throw pending readings away unasked", async () => {
  const { folder } = await box.unpack(nodeScript);
  box.install(folder);
  box.configure(filledIn);
  const path = box.inRoot("var/lib/jilian-gateway/outbox.sqlite");
  const log = pino({ level: "silent" });
  const setting = { path, maxBytes: 1e8, fsyncMs: 20, group: "factory-1", node: "gateway-1", clock: systemClock, log };
  const outbox = openOutbox(setting);
  const definition = { name: "a", datatype: 10, simulated: false };
  const [metricId = 0] = outbox.declare("press", [definition as never]);
  const time = { sourceTimeMs: 1, gatewayTimeMs: 1 };
  for (let i = 0; i < 3; i += 1)
    outbox.write("press", [{ metricId, value: i, status: 0, ...time, sourceTimeMs: i + 1 }]);
  await outbox.close();

  const refused = box.uninstall("--purge");
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("3 records in the outbox have not reached") });
  expect(existsSync(box.inRoot(`${opt}/current`))).toBe(true);
  const kept = box.uninstall();
  expect(kept).toMatchObject({
    code: 0,
    err: expect.stringContaining("3 records"),
    out: expect.stringContaining("are kept"),
  });
  expect(existsSync(box.inRoot(opt))).toBe(false);
  expect(existsSync(box.inRoot("etc/systemd/system/jilian-gateway.service"))).toBe(false);
  expect(text(config)).toContain("factory-1");
  const db = new DatabaseSync(path);
  expect(db.prepare("SELECT count(*) AS n FROM record").get()).toEqual({ n: 3 });
  db.close();

  expect(box.install(folder).code).toBe(0);
  expect(text(config)).toContain("factory-1");
  expect(box.uninstall("--purge", "--force").code).toBe(0);
  expect([existsSync(path), existsSync(box.inRoot(config))]).toEqual([false, false]);
});
