export type BacklogRateSettings = {
  /** Ceilings: the backlog is never sent faster than either. */
  recordsPerSecond: number;
  bytesPerSecond: number;
  /** Time after which a record counts as not committed. */
  commitTimeoutMs: number;
};

/** Where the rate begins with each connection: a pace that any store and uplink takes for the moment until the delay tells. */
const start = { recordsPerSecond: 100, bytesPerSecond: 65_536 };
/** How low it can fall, and where it begins at least, as a share of the ceilings. */
const floorShare = 0.01;
const floorRecordsPerSecond = 2;
/**
 * Growth in a second of good commits: quick at first, so that a small outage is made up for within seconds, and with care after a delay
 * has grown too long, since what the way and the store can take is then near. Half as fast after each such delay.
 */
const quickRise = 2;
const carefulRise = 1.1;
const fallTo = 0.5;
/** A record that is larger than the rate allows for is paid off within this, or within what it takes at the ceiling. */
const longestPaySeconds = 10;
/** Longest time between two commits that counts as time in which the rate proved itself. */
const longestRiseMs = 1000;
/** What records may wait longer than the shortest delay seen lately: about that is what a backlog adds to the delay of live data. */
const queueMs = 500;
/** This part of it ends the quick start, and is what the window leaves room for: so the queue stops growing before the delay tells of it. */
const earlyShare = 0.45;
/** No delay beyond this share of the time-out is taken for good, however slow the store is. */
const timeoutShare = 0.7;
/**
 * The shortest delay within this judges the rate (as in CoDel, RFC 8289): where a queue stands every record waits in it, while a store that
 * pauses now and then commits the records at once that came last.
 */
const judgedMs = 500;
/** With no commit at all for so much longer than usual, the rate falls without one. */
const silenceMs = 3000;
/** "Lately" is one to two of these: a store that has become slower for good is believed after it. */
const bestForMs = 60_000;
const smoothing = 1 / 8;

/**
 * How fast a backlog may go, by the delay from send to commit, as congestion control in the Internet does: a quick start, halving when
 * the delay grows beyond the shortest one (RFC 6817), careful growth. Shares of both ceilings are adapted alike, so that a thin uplink is
 * spared by bytes and a slow store by records; a window of what may be in flight at this rate stops at once when nothing comes back.
 * Pure: times are given, of a monotonic clock in ms.
 */
export function backlogRate({ recordsPerSecond, bytesPerSecond, commitTimeoutMs }: BacklogRateSettings) {
  const floor = Math.min(1, Math.max(floorShare, floorRecordsPerSecond / recordsPerSecond));
  const atStart = {
    records: Math.min(1, Math.max(floor, start.recordsPerSecond / recordsPerSecond)),
    bytes: Math.min(1, Math.max(floor, start.bytesPerSecond / bytesPerSecond)),
  };
  const share = { ...atStart };
  const rate = {
    records: 0,
    bytes: 0,
    filledMs: 0,
    fellMs: 0,
    provedMs: 0,
    isUsed: false,
    isQuick: true,
  };
  const judged = { sinceMs: 0, shortestMs: Number.POSITIVE_INFINITY, sentMs: 0 };
  const delay = { best: 0, before: Number.POSITIVE_INFINITY, sinceMs: 0, smoothed: Number.NaN };

  /** The shortest delay with this much above it. Before the first commit nothing is known and little is allowed. */
  function aboveBest(waitMs: number): number {
    const best = Math.min(delay.best, delay.before);
    return Math.min((Number.isFinite(best) ? best : 0) + waitMs, commitTimeoutMs * timeoutShare);
  }

  function refill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - rate.filledMs) / 1000;
    rate.filledMs = nowMs;
    const perSecond = { records: share.records * recordsPerSecond, bytes: share.bytes * bytesPerSecond };
    rate.records = Math.min(Math.max(1, perSecond.records / 4), rate.records + seconds * perSecond.records);
    rate.bytes = Math.min(perSecond.bytes / 4, rate.bytes + seconds * perSecond.bytes);
  }

  function scale(by: number): void {
    share.records = Math.min(1, Math.max(floor, share.records * by));
    share.bytes = Math.min(1, Math.max(floor, share.bytes * by));
  }

  /** Only what was sent after the last fall says something about the rate since then. */
  function fall(sentMs: number, nowMs: number): void {
    if (sentMs < rate.fellMs) return;
    scale(fallTo);
    rate.isQuick = share.records === floor && share.bytes === floor;
    rate.fellMs = nowMs;
  }

  /** A rate that was not made use of has not proved itself. */
  function rise(nowMs: number): void {
    const provedMs = Math.min(longestRiseMs, Math.max(0, nowMs - rate.provedMs));
    const perSecond = rate.isQuick ? quickRise : carefulRise;
    if (rate.isUsed) scale(perSecond ** (provedMs / 1000));
    rate.isUsed = false;
    rate.provedMs = nowMs;
  }

  function judge(nowMs: number): void {
    const { shortestMs, sentMs } = judged;
    if (shortestMs > aboveBest(queueMs * earlyShare)) rate.isQuick = false;
    if (shortestMs > aboveBest(queueMs)) fall(sentMs, nowMs);
    else rise(nowMs);
    Object.assign(judged, { sinceMs: nowMs, shortestMs: Number.POSITIVE_INFINITY });
  }

  function measure(delayMs: number, nowMs: number): void {
    if (nowMs - delay.sinceMs >= bestForMs) {
      delay.before = delay.best;
      delay.best = Number.POSITIVE_INFINITY;
      delay.sinceMs = nowMs;
    }
    delay.best = Math.min(delay.best, delayMs);
    delay.smoothed = Number.isNaN(delay.smoothed) ? delayMs : delay.smoothed + (delayMs - delay.smoothed) * smoothing;
  }

  return {
    /** A connection is new: what was true of the one before it counts no more. */
    begin: (nowMs: number): void => {
      const { POSITIVE_INFINITY: unknown, NaN: none } = Number;
      Object.assign(share, atStart);
      Object.assign(rate, { records: 1, bytes: 1, isUsed: false, isQuick: true });
      Object.assign(rate, { filledMs: nowMs, fellMs: nowMs, provedMs: nowMs });
      Object.assign(judged, { sinceMs: nowMs, shortestMs: unknown });
      Object.assign(delay, { best: unknown, before: unknown, sinceMs: nowMs, smoothed: none });
    },
    /** Whether one more record may go now, beside what of the backlog is in flight. At least one always may be. */
    mayTake: (inFlight: { records: number; bytes: number }, nowMs: number): boolean => {
      refill(nowMs);
      const windowS = aboveBest(queueMs * earlyShare) / 1000;
      const mostRecords = windowS * share.records * recordsPerSecond;
      const fits = inFlight.records + 1 <= mostRecords && inFlight.bytes < windowS * share.bytes * bytesPerSecond;
      return rate.records >= 1 && rate.bytes > 0 && (fits || inFlight.records === 0);
    },
    /** One has gone. Its bytes are known afterwards: one that was larger than what was left is paid off before the next. */
    take: (bytes: number): void => {
      rate.records -= 1;
      rate.bytes -= Math.min(bytes, share.bytes * Math.max(bytes, longestPaySeconds * bytesPerSecond));
      rate.isUsed = true;
    },
    /** A record was committed that had been sent once, so that the delay is known. */
    committed: (sentMs: number, nowMs: number): void => {
      const delayMs = nowMs - sentMs;
      measure(delayMs, nowMs);
      if (delayMs < judged.shortestMs) Object.assign(judged, { shortestMs: delayMs, sentMs });
      if (nowMs - judged.sinceMs >= judgedMs) judge(nowMs);
    },
    /** A record is not committed yet; it was sent at this time. */
    waiting: (sentMs: number, nowMs: number): void => {
      if (nowMs - sentMs > aboveBest(silenceMs)) fall(sentMs, nowMs);
    },
    stats: () => ({
      /** What the backlog may take now, by records; by bytes it may be less. */
      recordsPerSecond: share.records * recordsPerSecond,
      bytesPerSecond: share.bytes * bytesPerSecond,
      /** From send to commit, smoothed; undefined before the first commit of a connection. */
      commitDelayMs: Number.isNaN(delay.smoothed) ? undefined : delay.smoothed,
    }),
  };
}
