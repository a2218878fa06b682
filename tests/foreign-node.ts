import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

/**
 * A Sparkplug edge node of other make: pysparkplug and its protobuf encode, paho carries. It keeps none of our habits: no properties, no
 * commit metric, no uuid, names instead of aliases, metrics of every datatype. It tells which readings it sent as good ones, and how often it
 * was asked for its births.
 */
const script = `
import base64, datetime, gzip, json, struct, sys, threading, time, zlib
import paho.mqtt.client as mqtt
from pysparkplug import DataType as T, Metric
from pysparkplug._protobuf import Metric as Raw, Payload

setting = json.load(sys.stdin)
group, node = setting["user"].split("/")
GOOD, BAD, STALE = 0, 0x80000000, 0x40900000
start = int(time.time() * 1000) - 60_000
sent, seq, asked = [], 0, []

def wait_for(event, what):
    if not event.wait(10): sys.exit("not within 10 s: " + what)

def payload(metrics, types, numbered=True, stamp=None):
    global seq
    found = Payload(timestamp=stamp or start)
    if numbered:
        found.seq = seq
        seq = (seq + 1) % 256
    for metric in metrics:
        found.metrics.append(metric if isinstance(metric, Raw) else metric.to_pb(include_dtype=types))
    return found

def publish(kind, device, found, qos=0):
    topic = "/".join(["spBv1.0", group, kind, node] + ([device] if device else []))
    body = found if isinstance(found, bytes) else found.SerializeToString()
    client.publish(topic, body, qos).wait_for_publish(10)

def text(value, kind):
    if value is None: return None
    if isinstance(value, bool): return "boolean " + ("true" if value else "false")
    if isinstance(value, datetime.datetime): return "bigint %d" % round(value.timestamp() * 1000)
    if kind in (T.INT64, T.UINT64): return "bigint %d" % value
    if isinstance(value, int): return "number %d" % value
    if isinstance(value, float): return "number " + repr(value)
    if isinstance(value, bytes): return "string " + base64.b64encode(value).decode()
    if isinstance(value, str): return "string " + value
    def element(one): return round(one.timestamp() * 1000) if isinstance(one, datetime.datetime) else one
    return "string " + json.dumps([element(one) for one in value], separators=(",", ":"), ensure_ascii=False)

def keep(device, name, kind, value, at, status=GOOD):
    sent.append([device, name, at, text(value, kind), status if value is not None or status != GOOD else BAD])

single = struct.unpack("f", struct.pack("f", 0.1))[0]
moment = datetime.datetime(2026, 1, 5, 2, 3, 4, 567000, tzinfo=datetime.timezone.utc)
types = [
    (T.INT8, -128, 127), (T.INT16, -32768, 5), (T.INT32, -2**31, 2**31 - 1), (T.INT64, -2**63, 2**63 - 1), (T.UINT8, 0, 255),
    (T.UINT16, 1, 65535), (T.UINT32, 7, 2**32 - 1), (T.UINT64, 2**53 + 1, 2**63 - 1), (T.FLOAT, single, -2.5), (T.DOUBLE, 0.1, -1e+300),
    (T.BOOLEAN, False, True), (T.STRING, "温度", "a\\nb"), (T.DATETIME, moment, moment), (T.TEXT, "", "长" * 20000),
    (T.UUID, "00000000-0000-4000-8000-000000000001", "x"), (T.BYTES, b"\\x00\\xff", b""), (T.FILE, b"%PDF", b"\\x80"),
    (T.INT8_ARRAY, (-17, 123), ()), (T.INT16_ARRAY, (-30000, 30000), (1,)), (T.INT32_ARRAY, (-1, 315338746), (2,)),
    (T.INT64_ARRAY, (-4270929666821191986, 2**63 - 1), (3,)), (T.UINT8_ARRAY, (23, 250), (4,)), (T.UINT16_ARRAY, (30, 52360), (5,)),
    (T.UINT32_ARRAY, (52, 3293969225), (6,)), (T.UINT64_ARRAY, (52, 2**64 - 1), (7,)), (T.FLOAT_ARRAY, (1.5, -0.25), (0.5,)),
    (T.DOUBLE_ARRAY, (12.354213, 1022.9123213), (0.1,)), (T.BOOLEAN_ARRAY, (False, False, True, True, False, True, False, False, True), (True,)),
    (T.STRING_ARRAY, ("ABC", "温", ""), ("x",)), (T.DATETIME_ARRAY, (moment, moment), (moment,)),
]

def dataset(name, at):
    found = Raw(name=name, datatype=16, timestamp=at)
    table = found.dataset_value
    table.num_of_columns = 3
    table.columns.extend(["一", "b", "c"])
    table.types.extend([T.INT8, T.STRING, T.DOUBLE])
    for number in (-1, 7):
        elements = table.rows.add().elements
        elements.add().int_value = number % 256
        elements.add().string_value = str(number)
        elements.add().double_value = number / 8
    keep("meter-1", name, T.STRING, '{"columns":["一","b","c"],"types":["Int8","String","Double"],"rows":[[-1,"-1",-0.125],[7,"7",0.875]]}', at)
    return found

def template(name, is_definition):
    found = Raw(name=name, datatype=19, timestamp=start)
    found.template_value.is_definition = is_definition
    found.template_value.metrics.add(name="speed", datatype=3, int_value=5)
    return found

def uncarried():
    return [template("motor", False), Raw(name="properties", datatype=20, timestamp=start), Raw(name="lists", datatype=21),
            Raw(name="of later years", datatype=35, int_value=1), Raw(name="of no type", int_value=1)]

names = ["Temp", "temp", "TEMP", "a/b/c", "温度/一号", "n" * 300, 'quote"\\'', "ends with \\\\", "tab\\tand = , space", "#+", "__proto__", "💡", "zero\\0within", "zero"]
births = 0

def birth():
    global seq, births
    births += 1
    seq = 0
    at = start + births
    death = Metric(at, "bdSeq", T.INT64, value=0)
    publish("NBIRTH", None, payload([
        death, Metric(at, "Node Control/Rebirth", T.BOOLEAN, value=False), Metric(at, "Properties/OS", T.STRING, value="TempleOS"),
        template("_types_/Motor", True),
    ], True))
    keep("", "Properties/OS", T.STRING, "TempleOS", at)
    publish("DBIRTH", "meter-1", payload([Metric(at, kind.name, kind, value=first) for kind, first, _ in types] + [dataset("set", at)] + uncarried(), True))
    for kind, first, _ in types: keep("meter-1", kind.name, kind, first, at)
    publish("DBIRTH", "meter-2", payload([Metric(at, kind.name, kind, alias=2**63 + i) for i, (kind, _, _) in enumerate(types)], True))
    publish("DBIRTH", "feeder-1", payload([Metric(at, name, T.INT32, value=i) for i, name in enumerate(names)], True))
    for i, name in enumerate(names): keep("feeder-1", name, T.INT32, i, at)

def quality(metric, value, types=False):
    found = metric.to_pb(include_dtype=types)
    found.properties.keys.extend(["Quality", "nested"])
    found.properties.values.add(type=3, int_value=value)
    found.properties.values.add(type=20).propertyset_value.keys.append("x")
    return found

def data():
    at = start + 10_000
    publish("DDATA", "meter-1", payload([Metric(at, kind.name, kind, value=second) for kind, _, second in types] + [dataset("set", at)] + uncarried(), False))
    for kind, _, second in types: keep("meter-1", kind.name, kind, second, at)
    publish("DDATA", "meter-2", payload([Metric(at, None, kind, value=second, alias=2**63 + i) for i, (kind, _, second) in enumerate(types)], False))
    for kind, _, second in types: keep("meter-2", kind.name, kind, second, at)
    for device in ("meter-1", "meter-2"):
        metrics = [Metric(at + 1, kind.name, kind, is_null=True, alias=2**63 + i if device == "meter-2" else None) for i, (kind, _, _) in enumerate(types)]
        publish("DDATA", device, payload(metrics, False))
        for kind, _, _ in types: keep(device, kind.name, kind, None, at + 1)
    told = [(0, BAD), (192, GOOD), (500, STALE)]
    publish("DDATA", "feeder-1", payload([quality(Metric(at + i, "temp", T.INT32, value=i), said) for i, (said, _) in enumerate(told)], False))
    for i, (_, status) in enumerate(told): keep("feeder-1", "temp", T.INT32, i, at + i, status)
    publish("DDATA", "feeder-1", payload([Metric(at, "TEMP", T.INT32, value=8, is_transient=True), Metric(at - 5000, "TEMP", T.INT32, value=9, is_historical=True)], False))
    keep("feeder-1", "TEMP", T.INT32, 9, at - 5000)
    # Its own time is the payload's; and a datatype of 0 where none is meant.
    publish("DDATA", "feeder-1", payload([Raw(name="Temp", int_value=4, datatype=0)], False, stamp=at + 77))
    keep("feeder-1", "Temp", T.INT32, 4, at + 77)
    for i, (algorithm, pack) in enumerate([("GZIP", gzip.compress), ("DEFLATE", zlib.compress)]):
        inner = payload([Metric(at + 500 + i, "Temp", T.INT32, value=50 + i)], False)
        outer = Payload(timestamp=at, uuid="SPBV1.0_COMPRESSED", body=pack(inner.SerializeToString()))
        outer.metrics.append(Metric(at, "algorithm", T.STRING, value=algorithm).to_pb(include_dtype=True))
        publish("DDATA", "feeder-1", outer)
        keep("feeder-1", "Temp", T.INT32, 50 + i, at + 500 + i)
    publish("NDATA", None, payload([Metric(at, "Properties/OS", T.STRING, value="other")], False))
    keep("", "Properties/OS", T.STRING, "other", at)
    publish("DDATA", "meter-1", b"no protobuf at all")

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=setting["user"])
client.username_pw_set(setting["user"], setting["password"])
client.will_set("spBv1.0/%s/NDEATH/%s" % (group, node), payload([Metric(start, "bdSeq", T.INT64, value=0)], True, False).SerializeToString(), 1)
connected, subscribed, rebirth = threading.Event(), threading.Event(), threading.Event()
client.on_connect = lambda c, u, flags, reason, properties: connected.set() if reason == 0 else sys.exit(str(reason))
client.on_subscribe = lambda *args: subscribed.set()
def on_message(c, u, message):
    asked.extend(m.name for m in Payload.FromString(message.payload).metrics if m.boolean_value)
    rebirth.set()
client.on_message = on_message
client.connect("127.0.0.1", setting["port"], 30)
client.loop_start()
wait_for(connected, "CONNACK")
client.subscribe("spBv1.0/%s/NCMD/%s" % (group, node), 1)
wait_for(subscribed, "SUBACK")
birth()
data()
# A device that it forgets to give birth to: it is asked, does not better itself, and goes on.
for i in range(40):
    publish("DDATA", "ghost", payload([Metric(start + i, "x", T.INT32, value=i)], False))
    publish("DDATA", "feeder-1", payload([Metric(start + 20_000 + i, "Temp", T.INT32, value=i)], False))
    keep("feeder-1", "Temp", T.INT32, i, start + 20_000 + i)
    if rebirth.is_set():
        rebirth.clear()
        birth()
    time.sleep(0.02)
publish("NDEATH", None, payload([Metric(start, "bdSeq", T.INT64, value=0)], True, False), 1)
client.disconnect()
client.loop_stop()
print(json.dumps({"sent": sent, "asked": asked, "births": births}))
`;

export type ForeignNode = {
  /** Device ("" for the node), metric, source time, type and value as text, StatusCode. */
  sent: [device: string, metric: string, atMs: number, value: string | null, status: number][];
  /** Names of the metrics that were set true by command. */
  asked: string[];
  births: number;
};

export const hasForeignNode =
  spawnSync("python3", ["-c", "import pysparkplug; from paho.mqtt.client import CallbackAPIVersion"]).status === 0;
export const noForeignNode = hasForeignNode
  ? ""
  : " (skipped: python3 cannot import pysparkplug and paho; see .ci/run how they are installed)";

/** Runs it to its end. @throws Error with what it complained of */
export async function runForeignNode(setting: { port: number; user: string; password: string }): Promise<ForeignNode> {
  const python = spawn("python3", ["-c", script], { stdio: ["pipe", "pipe", "pipe"], timeout: 60_000 });
  const closed = once(python, "close");
  const [out, err]: [string[], string[]] = [[], []];
  python.stdout.on("data", (chunk) => out.push(String(chunk)));
  python.stderr.on("data", (chunk) => err.push(String(chunk)));
  python.stdin.end(JSON.stringify(setting));
  await closed;
  if (err.length > 0) throw new Error(err.join(""));
  return JSON.parse(out.join("")) as ForeignNode;
}
