import { spawn } from "node:child_process";
import { once } from "node:events";

/**
 * A Sparkplug host application of other make (pysparkplug, paho). It understands a gateway by its births alone, asks for them, says its STATE in
 * both ways, and tries to write: to a device, to the node, to what frees the outbox. It tells what it has understood.
 */
const script = `
import json, sys, threading, time
import paho.mqtt.client as mqtt
from pysparkplug import DataType as T, DBirth, DData, Metric, NBirth, NCmd, NData
from pysparkplug._protobuf import Payload

setting = json.load(sys.stdin)
births, log, told = {}, [], []
arrived = threading.Condition()

def on_message(c, u, message):
    parts = message.topic.split("/")
    if parts[1] == "STATE" or parts[2].endswith("CMD"): return
    kind, device = parts[2], parts[4] if len(parts) > 4 else ""
    found = None
    if kind in ("NBIRTH", "DBIRTH"):
        found = births[device] = (NBirth if kind == "NBIRTH" else DBirth).decode(message.payload)
    elif kind in ("NDATA", "DDATA") and device in births:
        found = (NData if kind == "NDATA" else DData).decode(message.payload, birth=births[device])
    values = []
    for metric, raw in zip(found.metrics, Payload.FromString(message.payload).metrics) if found else []:
        qualities = [v.int_value for k, v in zip(raw.properties.keys, raw.properties.values) if k == "Quality"]
        value = metric.value.timestamp() * 1000 if metric.datatype == T.DATETIME and metric.value else metric.value
        values.append([metric.name, None if metric.is_null or value is None else str(value), metric.timestamp, qualities])
    with arrived:
        log.append([kind, device, values])
        arrived.notify_all()

def wait_for(what, check):
    with arrived:
        if not arrived.wait_for(check, 10): sys.exit("not within 10 s: " + what)

def count(kind): return sum(1 for one in log if one[0] == kind)
def command(kind, device, *metrics):
    now = int(time.time() * 1000)
    payload = NCmd(now, [Metric(now, name, datatype, value=value) for name, datatype, value in metrics]).encode(include_dtypes=True)
    topic = "/".join(["spBv1.0/factory-1", kind, "gateway-1"] + ([device] if device else []))
    client.publish(topic, payload, 1).wait_for_publish(10)

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="other host")
client.on_message = on_message
subscribed = threading.Event()
client.on_subscribe = lambda *args: subscribed.set()
client.connect("127.0.0.1", setting["port"], 30)
client.loop_start()
client.subscribe("spBv1.0/#", 1)
if not subscribed.wait(10): sys.exit("no SUBACK")
now = int(time.time() * 1000)
# As it was before Sparkplug 3.0, and as it is; and what is neither.
client.publish("STATE/other", b"ONLINE", 1, True)
client.publish("spBv1.0/STATE/other", b"ONLINE", 1, True)
client.publish("spBv1.0/STATE/other", json.dumps({"online": True, "timestamp": now}).encode(), 1, True)
# It came after the births. The datatype is written as 0: some encoders cannot leave it out.
ask = Payload(timestamp=now)
ask.metrics.add(name="Node Control/Rebirth", datatype=0, boolean_value=True, timestamp=now)
client.publish("spBv1.0/factory-1/NCMD/gateway-1", ask.SerializeToString(), 1).wait_for_publish(10)
wait_for("a rebirth", lambda: count("NBIRTH") >= 1 and count("DBIRTH") >= 1)
print("born", flush=True)
wait_for("data", lambda: count("DDATA") >= setting["messages"])
before = count("NBIRTH")
command("DCMD", "press", ("a", T.INT64, 1), ("b", T.STRING, "x"))
command("DCMD", "press", ("Node Control/Rebirth", T.BOOLEAN, True))
for name, datatype, value in [("Node Control/Reboot", T.BOOLEAN, True), ("Node Control/Next Server", T.BOOLEAN, True),
        ("Node Control/Scan Rate", T.INT64, 1), ("Outbox/PendingRecords", T.INT64, 0), ("Properties/Epoch", T.STRING, "0" * 16),
        ("bdSeq", T.INT64, 9), ("Node Control/Rebirth", T.BOOLEAN, False), ("Node Control/Rebirth", T.INT32, 1)]:
    command("NCMD", "", (name, datatype, value))
for forged in ["", "{}", "null", '{"v":1,"epoch":"%s","ranges":[[0,99]],"atMs":1}' % ("0" * 16), '{"v":1,"epoch":"%s","ranges":[[5,99]],"atMs":1}' % setting["epoch"]]:
    command("NCMD", "", ("Jilian/Commit", T.STRING, forged))
client.publish("spBv1.0/factory-1/NCMD/gateway-1", b"\\xff\\xff", 1).wait_for_publish(10)
# What is wrong in a command does not stand before what is right in it.
command("NCMD", "", ("Jilian/Commit", T.STRING, "forged"), ("Node Control/Scan Rate", T.INT64, 1), ("Node Control/Rebirth", T.BOOLEAN, True))
wait_for("the second rebirth", lambda: count("NBIRTH") > before)
rebirths = count("NBIRTH")
time.sleep(0.3)
print(json.dumps({"log": log, "births": [rebirths - before, count("NBIRTH") - before]}))
client.disconnect()
`;

type Value = [name: string, value: string | null, atMs: number, qualities: number[]];
export type ForeignHost = {
  log: [type: string, device: string, values: Value[]][];
  /** NBIRTHs that the one rebirth request amid all other commands gave, and how many there were a little later. */
  births: [number, number];
};

/** Runs it to its end. @param onBorn called when it has understood the births @throws Error with what it complained of */
export async function runForeignHost(
  setting: { port: number; epoch: string; messages: number },
  onBorn: () => void,
): Promise<ForeignHost> {
  const python = spawn("python3", ["-c", script], { stdio: ["pipe", "pipe", "pipe"], timeout: 60_000 });
  const closed = once(python, "close");
  const err: string[] = [];
  let out = "";
  python.stdout.on("data", (chunk) => {
    const wasBorn = out.includes("born\n");
    out += String(chunk);
    if (!wasBorn && out.includes("born\n")) onBorn();
  });
  python.stderr.on("data", (chunk) => err.push(String(chunk)));
  python.stdin.end(JSON.stringify(setting));
  await closed;
  if (err.length > 0) throw new Error(err.join(""));
  return JSON.parse(out.slice(out.indexOf("{"))) as ForeignHost;
}
