/** Turns the JSON lines of pino into lines for people: time, who, level, message, the fields that say something. */

const levels: Record<number, string> = { 10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "ERROR", 60: "FATAL" };
const hidden = new Set(["level", "time", "pid", "hostname", "name", "msg", "service"]);

function field(value: unknown): string {
  // An error as pino writes it: people get its message; its stack is in the JSON line.
  if (typeof value === "object" && value !== null && "message" in value) return field(value.message);
  return typeof value === "string" && !/\s/.test(value) ? value : JSON.stringify(value);
}

/** One line; a line that is not JSON is passed on as it is. */
export function readableLine(who: string, line: string): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return `         ${who.padEnd(13)} ${line}`;
  }
  if (typeof entry !== "object" || entry === null || typeof entry.level !== "number") return line;
  const time = new Date(Number(entry.time)).toTimeString().slice(0, 8);
  const service = typeof entry.service === "string" ? entry.service : "";
  const fields = Object.entries(entry).filter(([key]) => !hidden.has(key));
  const rest = fields.map(([key, value]) => `${key}=${field(value)}`).join(" ");
  return `${time} ${(service || who).padEnd(13)} ${(levels[entry.level] ?? "").padEnd(5)} ${String(entry.msg ?? "")} ${rest}`.trimEnd();
}

/** Cuts a stream of bytes into lines, whatever its chunks. */
export function eachLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") take(line);
  });
  stream.on("end", () => {
    if (rest.trim() !== "") take(rest);
  });
}
