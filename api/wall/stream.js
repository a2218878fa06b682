/** Reads the server's stream of the state. EventSource could not send a key in a header, so this reads the stream of a fetch. */

const firstWaitMs = 1000;
const longestWaitMs = 15_000;

/** Splits a stream's text into events (WHATWG HTML, 9.2.6) and gives each one's name and data. Holds at most one unfinished event. */
export function eventParser(onEvent) {
  let rest = "";
  return (text) => {
    const from = Math.max(0, rest.length - 1);
    rest += text;
    let start = 0;
    for (let end = rest.indexOf("\n\n", from); end >= 0; end = rest.indexOf("\n\n", start)) {
      const fields = { event: "message", data: "" };
      for (const line of rest.slice(start, end).split("\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
      }
      start = end + 2;
      if (fields.data !== "") onEvent(fields.event, fields.data);
    }
    rest = rest.slice(start);
  };
}

/**
 * Keeps a stream of states. `keepOpen`, called once a second, opens it when its waiting time is over and ends it when it is silent:
 * attempts that fail come less and less often, a display must not be a burden to a platform in trouble.
 */
export function followState(url, { headers, silentAfterMs, onState, onNow }) {
  let current;
  /** When the present attempt began or last said something. */
  let heardMs = 0;
  let waitMs = firstWaitMs;
  let retryAtMs = 0;

  async function read(attempt) {
    const response = await fetch(url, { cache: "no-store", headers: headers(), signal: attempt.abort.signal });
    if (!response.ok || !response.body) throw new Error(`${response.status}`);
    const take = eventParser((event, data) => {
      if (current !== attempt) return;
      [attempt.heard, heardMs, waitMs] = [true, performance.now(), firstWaitMs];
      if (event === "state") onState(JSON.parse(data));
      if (event === "now") onNow(JSON.parse(data).nowMs);
    });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) take(part.value);
  }

  function open() {
    const attempt = { abort: new AbortController(), heard: false };
    current = attempt;
    heardMs = performance.now();
    read(attempt)
      .catch(() => undefined)
      .finally(() => {
        if (current === attempt) end();
      });
  }

  function end() {
    const ended = current;
    current = undefined;
    // Not all displays at the same moment.
    retryAtMs = performance.now() + waitMs * (0.75 + Math.random() / 2);
    waitMs = Math.min(waitMs * 2, longestWaitMs);
    ended?.abort.abort();
  }

  return {
    isLive: () => current?.heard === true && performance.now() - heardMs < silentAfterMs,
    keepOpen: () => {
      if (current && performance.now() - heardMs > silentAfterMs) end();
      if (!current && performance.now() >= retryAtMs) open();
    },
    openNow: () => {
      [waitMs, retryAtMs] = [firstWaitMs, 0];
    },
  };
}
