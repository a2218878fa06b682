import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, it } from "vitest";
import { secrets, type TestBroker, testBroker, until } from "./test-broker.ts";

/**
 * A hostile client of other make. It has the credentials of gateway f1/gw-1 and of the viewer of ea, and tries what is not theirs: each
 * attempt is one line, the answer of the broker or what became of the connection.
 */
const script = `
import json, sys, threading
import paho.mqtt.client as mqtt

setting = json.load(sys.stdin)
found = []
death = ("spBv1.0/f1/NDEATH/gw-1", b"death", 1, False)

def connect(user, password, client_id=None, will=None, clean=True, keepalive=30, protocol=mqtt.MQTTv311):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id or user,
                         **({"clean_session": clean} if protocol != mqtt.MQTTv5 else {}), protocol=protocol, reconnect_on_failure=False)
    client.username_pw_set(user, password)
    if will: client.will_set(*will)
    client.answer, client.gone, client.acks, client.heard = threading.Event(), threading.Event(), [], []
    client.acked = threading.Event()
    def on_connect(c, u, flags, reason, properties): c.code = str(reason); c.answer.set()
    def on_disconnect(c, u, flags, reason, properties): c.answer.set(); c.gone.set()
    def on_subscribe(c, u, mid, reasons, properties): c.acks.extend(r.value for r in reasons); c.acked.set()
    def on_message(c, u, message): c.heard.append(message.topic)
    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    client.on_subscribe, client.on_message = on_subscribe, on_message
    client.code = "closed"
    client.connect("127.0.0.1", setting["port"], keepalive)
    client.loop_start()
    client.answer.wait(5)
    return client

def ends(name, client, act):
    act(client)
    found.append([name, "ended" if client.gone.wait(5) else "goes on"])
    client.loop_stop()

def refused(name, *args, **more):
    client = connect(*args, **more)
    found.append([name, client.code])
    client.disconnect(); client.loop_stop()

gateway, viewer = ("f1/gw-1", setting["gateway"]), ("wall@ea", setting["viewer"])
as_gateway = lambda: connect(*gateway, will=death)
refused("the id of another gateway", *gateway, client_id="f3/gw-1", will=death)
refused("the will of another gateway", *gateway, will=("spBv1.0/f3/NDEATH/gw-1", b"", 1, False))
refused("a retained will", *gateway, will=("spBv1.0/f1/NDEATH/gw-1", b"", 1, True))
refused("a wrong password", "f1/gw-1", "guess", will=death)
refused("a session that is kept", *viewer, clean=False)
refused("a keep-alive of an hour", *viewer, keepalive=3600)
refused("MQTT 5", *viewer, protocol=mqtt.MQTTv5)
refused("a viewer with a will", *viewer, will=("spBv1.0/STATE/ingest", b"{}", 1, True))
for name, topic, qos, retain in [
    ("data of another enterprise", "spBv1.0/f3/NDATA/gw-1", 0, False),
    ("a command", "spBv1.0/f3/NCMD/gw-1", 1, False),
    ("retained data", "spBv1.0/f1/NDATA/gw-1", 1, True),
    ("QoS 2", "spBv1.0/f1/NDATA/gw-1", 2, False),
    ("a kept birth", "$sparkplug/certificates/spBv1.0/f3/NBIRTH/gw-1", 0, True),
    ("$SYS", "$SYS/broker/x", 0, False),
    ("the state of a host", "spBv1.0/STATE/ingest", 1, True),
    ("a large message", "spBv1.0/f1/NDATA/gw-1", 0, False),
]:
    payload = b"x" * (2000000 if name == "a large message" else 1)
    ends(name, as_gateway(), lambda c: c.publish(topic, payload, qos, retain))
ends("a viewer that publishes", connect(*viewer), lambda c: c.publish("spBv1.0/f1/NCMD/gw-1", b"x"))

spy = connect(*viewer)
spy.subscribe([("#", 0), ("$SYS/#", 0), ("spBv1.0/f3/#", 1), ("spBv1.0/f8/#", 1), ("spBv1.0/+/NCMD/+", 1),
               ("$share/g/spBv1.0/#", 1), ("spBv1.0/#", 1), ("$sparkplug/certificates/#", 1)])
spy.acked.wait(5)
found.append(["filters", spy.acks])
print("listening", flush=True)
import time
deadline = time.time() + 10
while time.time() < deadline and not any("last" in topic for topic in spy.heard): time.sleep(0.02)
found.append(["heard", sorted(set(spy.heard))])
spy.disconnect(); spy.loop_stop()
print(json.dumps(found))
`;

const available = spawnSync("python3", ["-c", "from paho.mqtt.client import CallbackAPIVersion"]).status === 0;
const title = available
  ? ""
  : " (skipped: python3 cannot import paho; install it with python3 -m pip install paho-mqtt)";

let test: TestBroker | undefined;
afterEach(() => test?.end());

it.skipIf(!available)(`a hostile client of other make (paho) gets nothing that is not its own${title}`, async () => {
  test = await testBroker();
  const { broker } = test;
  const victim = await test.connect("f3/gw-1");
  const host = await test.connect("ingest");
  let sawForeign = false;
  host.on("message", (topic) => {
    sawForeign ||= topic === "spBv1.0/f3/NDATA/gw-1";
  });
  await host.subscribeAsync("spBv1.0/#");
  const python = spawn("python3", ["-c", script], { stdio: ["pipe", "pipe", "pipe"], timeout: 60_000 });
  const closed = once(python, "close");
  const out: string[] = [];
  const err: string[] = [];
  python.stdout.on("data", (chunk) => out.push(String(chunk)));
  python.stderr.on("data", (chunk) => err.push(String(chunk)));
  python.stdin.end(JSON.stringify({ port: broker.port, gateway: secrets["f1/gw-1"], viewer: secrets["wall@ea"] }));
  await until(() => out.join("").includes("listening") || python.exitCode !== null, "its attempts are over", 60_000);
  expect(sawForeign).toBe(false);
  // What it may not hear, then what it may.
  await victim.publishAsync("spBv1.0/f3/NBIRTH/gw-1", "birth of eb", { qos: 1 });
  await victim.publishAsync("spBv1.0/f3/NDATA/gw-1", "data of eb", { qos: 1 });
  await host.publishAsync("spBv1.0/f1/NCMD/gw-1", "command", { qos: 1 });
  const own = await test.connect("f1/gw-2");
  await own.publishAsync("spBv1.0/f1/DDATA/gw-2/last", "data of ea", { qos: 1 });
  await closed;
  expect(err.join("")).toBe("");
  const found = new Map(JSON.parse(out.join("").split("listening\n")[1] ?? "[]") as [string, unknown][]);
  const ended = [...found].filter(([, answer]) => answer === "ended").map(([name]) => name);
  expect(ended).toEqual([
    "data of another enterprise",
    "a command",
    "retained data",
    "QoS 2",
    "a kept birth",
    "$SYS",
    "the state of a host",
    "a large message",
    "a viewer that publishes",
  ]);
  const answers = [...found].filter(([name]) => !ended.includes(name));
  expect(Object.fromEntries(answers)).toEqual({
    "the id of another gateway": "Client identifier not valid",
    "the will of another gateway": "Not authorized",
    "a retained will": "Not authorized",
    "a wrong password": "Bad user name or password",
    "a session that is kept": "Not authorized",
    "a keep-alive of an hour": "Not authorized",
    "MQTT 5": expect.stringMatching(/Unsupported protocol version|closed|Unspecified/),
    "a viewer with a will": "Not authorized",
    filters: [128, 128, 128, 128, 128, 128, 1, 1],
    heard: ["spBv1.0/f1/DDATA/gw-2/last"],
  });
  expect(broker.stats().clientsByKind).toMatchObject({ viewer: 0, gateway: 2, host: 1 });
});
