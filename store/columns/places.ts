/** Where rows belong that are to be by span, and by time in each; and where each span ends among them. */
export type Places = { readonly of: Int32Array<ArrayBuffer>; readonly ends: Int32Array<ArrayBuffer> };

/** The rows of spans that are not in the order of time, by span, as they came. */
function strayRows(spanOf: Int32Array, isStray: Uint8Array): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (let row = 0; row < spanOf.length; row += 1) {
    const span = spanOf[row] as number;
    if (isStray[span] === 0) continue;
    const own = found.get(span);
    if (own) own.push(row);
    else found.set(span, [row]);
  }
  return found;
}

/**
 * Places of rows that mostly come in the order of time: one look at each, where a database would sort all of them with what they hold.
 * @param spanOf the span of each row, below `spans`
 */
export function placesOf(spanOf: Int32Array, timeOf: Float64Array, spans: number): Places {
  const ends = new Int32Array(spans);
  for (let row = 0; row < spanOf.length; row += 1) ends[spanOf[row] as number] = (ends[spanOf[row] as number] ?? 0) + 1;
  const next = new Int32Array(spans);
  for (let span = 0, end = 0; span < spans; span += 1) {
    next[span] = end;
    end += ends[span] as number;
    ends[span] = end;
  }
  const of = new Int32Array(spanOf.length);
  const lastMs = new Float64Array(spans).fill(Number.NEGATIVE_INFINITY);
  const isStray = new Uint8Array(spans);
  let strays = 0;
  for (let row = 0; row < spanOf.length; row += 1) {
    const span = spanOf[row] as number;
    const place = next[span] as number;
    const atMs = timeOf[row] as number;
    of[row] = place;
    next[span] = place + 1;
    if (atMs < (lastMs[span] as number) && isStray[span] === 0) {
      isStray[span] = 1;
      strays += 1;
    }
    lastMs[span] = atMs;
  }
  if (strays === 0) return { of, ends };
  for (const [span, rows] of strayRows(spanOf, isStray)) {
    // They come as a few sorted runs, which is what this sort is fast with.
    rows.sort((a, b) => (timeOf[a] as number) - (timeOf[b] as number));
    const first = (ends[span] as number) - rows.length;
    for (const [i, row] of rows.entries()) of[row] = first + i;
  }
  return { of, ends };
}
