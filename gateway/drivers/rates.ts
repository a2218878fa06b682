/** A group of tags with a rate of its own; a day where it says none. */
export type Groups = Readonly<Record<string, { readonly pollIntervalMs?: number }>>;

type Grouped = { readonly group?: string };
/** A tag, or one that is derived of others: `of`. */
type Rateable = Grouped & { readonly of?: readonly { readonly tag: string }[] };
type Rated = {
  readonly pollIntervalMs: number;
  readonly groups?: Groups;
  readonly tags?: readonly (Grouped & { readonly name: string })[];
};

const dayMs = 86_400_000;

/** How often a tag is read, ms: as its group, or as its device. What is derived of others is computed as often as the fastest of them is. */
export function intervalOf({ group, of }: Rateable, device: Rated): number {
  const { pollIntervalMs, groups = {}, tags = [] } = device;
  // Most tags are derived of nothing: asking each for that would take the square of them.
  const inputs = of === undefined ? [] : tags.filter(({ name }) => of.some(({ tag }) => tag === name));
  if (inputs.length > 0) return Math.min(...inputs.map((input) => intervalOf(input, device)));
  const own = group === undefined ? undefined : groups[group];
  return own ? (own.pollIntervalMs ?? dayMs) : pollIntervalMs;
}

/** How long a tag is silent at most while its value stands still, ms: no shorter than it is read. */
export function heartbeatOf(
  tag: Rateable & { readonly heartbeatMs?: number },
  device: Rated & { readonly heartbeatMs: number },
): number {
  return tag.heartbeatMs ?? Math.max(device.heartbeatMs, intervalOf(tag, device));
}
