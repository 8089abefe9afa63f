// A clock that stands still until advance(), and a WebSocket that is driven from the test. Importing
// this replaces the real ones, so import it before the client.

export let now = 1000;
export let timers = []; // { id, at, run, every? }
export let sockets = []; // all that were made since reset(), oldest first
let lastId = 0;

performance.now = () => now;
Date.now = () => 1e12 + now;
Math.random = () => 0.999999; // the longest wait that jitter allows
globalThis.setTimeout = (run, ms) => (timers.push({ id: ++lastId, at: now + ms, run }), lastId);
globalThis.setInterval = (run, ms) => (timers.push({ id: ++lastId, at: now + ms, run, every: ms }), lastId);
globalThis.clearTimeout = globalThis.clearInterval = (id) => {
  timers = timers.filter((timer) => timer.id !== id);
};

/** Lets what was queued as a microtask happen. */
export async function settle() {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** Lets `ms` pass, with every timer that is due in between. */
export async function advance(ms) {
  const end = now + ms;
  for (;;) {
    timers.sort((a, b) => a.at - b.at);
    const next = timers[0];
    if (!next || next.at > end) break;
    now = Math.max(now, next.at);
    if (next.every) next.at += next.every;
    else timers.shift();
    next.run();
    await settle();
  }
  now = end;
  await settle();
}

/** Lets `ms` pass in which nothing runs, as in a laptop that sleeps. */
export function standStill(ms) {
  now += ms;
}

export function reset() {
  sockets = [];
  timers = [];
}

globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 0;
  bufferedAmount = 0;
  sent = []; // what the client said, parsed
  closed = null; // the code it closed with
  stuck = false; // the network takes nothing

  constructor(url) {
    this.url = url;
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
    if (this.stuck) this.bufferedAmount += text.length;
  }

  close(code) {
    this.closed ??= code ?? 1005;
    this.readyState = 2;
  }

  // From here on, what the server does.

  open() {
    this.readyState = 1;
    this.onopen();
  }

  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
};
