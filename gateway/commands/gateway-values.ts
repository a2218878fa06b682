import { askGateway } from "../control-client.ts";
import type { DeviceView, ValueView } from "../last-values.ts";
import { plainText, spanText, tableLines } from "./io.ts";

/**
 * What a running gateway has read last of devices on lines, shown in place of a read of one's own. On a line every master hears every
 * answer, and one of RTU does not say what it answers: the gateway would take one to a command for its own, and the command one to the
 * gateway.
 */
export type GatewayViews = ReadonlyMap<string, DeviceView>;

/**
 * @returns the devices that the gateway has; "nobody" where none runs, so that the devices are free; "unanswered" where one runs, most
 * likely, that cannot be asked: another user's, or of another version
 */
export async function gatewayValues(
  outboxPath: string,
  devices: readonly string[],
): Promise<GatewayViews | "nobody" | "unanswered"> {
  const views = new Map<string, DeviceView>();
  let isWhole = false;
  try {
    const isRunning = await askGateway(outboxPath, { v: 1, command: "values", devices }, (line) => {
      if (line.type === "values") views.set(line.device.device, line.device);
      isWhole ||= line.type === "done";
    });
    if (!isRunning) return "nobody";
  } catch {
    return "unanswered";
  }
  return isWhole ? views : "unanswered";
}

function cellsOf({ value, unit, quality, status, ageMs }: ValueView): string[] {
  const text = typeof value === "string" ? plainText(JSON.stringify(value), 40) : String(value ?? "none");
  const [shown, age] = ageMs === undefined ? ["-", "-"] : [text, spanText(ageMs)];
  return [shown, plainText(unit ?? "", 20), quality === "good" ? quality : `${quality} ${status}`, age];
}

/** Why a device of the gateway has no values now; undefined where it has. */
export function gatewayFailure(view: DeviceView | undefined): string | undefined {
  if (view === undefined) return "the running gateway does not have it: is this the configuration that it runs with?";
  return view.connected ? undefined : "the running gateway cannot read it: jilian-gateway status says why";
}

/** A table of them, and below it what fails. */
export function gatewayText(ids: readonly string[], views: GatewayViews): string {
  const rows = ids.flatMap((id) => {
    return (views.get(id)?.values ?? []).map((one) => [id, one.tag, ...cellsOf(one)]);
  });
  const simulated = ids.filter((id) => views.get(id)?.simulated);
  const failed = ids.flatMap((id) => {
    const why = gatewayFailure(views.get(id));
    return why === undefined ? [] : [`${id}: ${why}`];
  });
  return [
    `as the running gateway read it last, which has the line of ${ids.join(", ")}:`,
    ...(rows.length > 0 ? tableLines(["DEVICE", "TAG", "VALUE", "UNIT", "QUALITY", "AGE"], rows) : []),
    ...(simulated.length > 0 ? [`simulated, no plant: ${simulated.join(", ")}`] : []),
    ...failed,
  ].join("\n");
}

/** The same as lines of JSON. @param isNew whether a value is to be told: one is told once */
export function gatewayJson(
  ids: readonly string[],
  views: GatewayViews,
  isNew: (device: string, value: ValueView) => boolean,
): string[] {
  return ids.flatMap((device) => {
    const view = views.get(device);
    const reason = gatewayFailure(view);
    const common = { device, from: "gateway", ...(view?.simulated ? { simulated: true } : {}) };
    const values = (view?.values ?? []).filter((one) => isNew(device, one));
    const lines = values.map(({ tag, ...one }) => JSON.stringify({ ...common, tag, ...one }));
    return reason === undefined ? lines : [...lines, JSON.stringify({ ...common, failed: true, reason })];
  });
}
