/**
 * A time-out that looks once more: where the process stood still (a slow disk, a sleeping box), timers fire before the sockets are read,
 * and an answer that came in time would be taken for none.
 */
export function onTimeout(afterMs: number, expire: () => void): NodeJS.Timeout {
  return setTimeout(() => setImmediate(expire), afterMs);
}
