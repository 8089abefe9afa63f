// A connection of the stock `ws` client, with everything it hears kept in order, and the case runner.

import WebSocket from "ws";

const WAIT_MS = 5000;
const CLOSE_MS = 10_000; // the library reports a close only when the server has shut the socket

/** What a case throws: `got X, expected Y`. */
export class Mismatch extends Error {
  constructor(got, expected) {
    super(`got ${show(got)}, expected ${show(expected)}`);
  }
}

const show = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export function same(got, expected) {
  if (JSON.stringify(got) !== JSON.stringify(expected)) throw new Mismatch(got, expected);
}

export function matches(got, pattern) {
  if (typeof got !== "string" || !pattern.test(got)) throw new Mismatch(got ?? "nothing", String(pattern));
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Peer {
  pings = 0;
  closed = null; // { code, reason, afterMs }
  #socket;
  #heard = [];
  #waiting = [];
  #openedAt = 0;

  /** Opens a connection. Fails with a Mismatch if the server does not upgrade it. */
  static async open(url, options) {
    const peer = new Peer();
    const status = await peer.#connect(url, options);
    if (status !== 101) throw new Mismatch(`HTTP ${status}`, "HTTP 101");
    return peer;
  }

  /** The status of the handshake, whatever it is. */
  static async handshake(url, options) {
    const peer = new Peer();
    const status = await peer.#connect(url, options);
    peer.drop();
    return status;
  }

  async #connect(url, options) {
    const socket = new WebSocket(url, { handshakeTimeout: WAIT_MS, ...options });
    this.#socket = socket;
    socket.on("message", (data, binary) => this.#hear(binary ? { binary: data.length } : JSON.parse(String(data))));
    socket.on("ping", () => (this.pings += 1));
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason), afterMs: performance.now() - this.#openedAt };
      for (const wake of this.#waiting.splice(0)) wake(null);
    });
    return new Promise((resolve, reject) => {
      socket.on("open", () => {
        this.#openedAt = performance.now();
        resolve(101);
      });
      socket.on("unexpected-response", (request, response) => {
        resolve(response.statusCode);
        request.destroy();
      });
      // After the handshake, a reset while we are still writing; `close` says the rest.
      socket.on("error", reject);
    });
  }

  #hear(message) {
    const wake = this.#waiting.shift();
    if (wake) wake(message);
    else this.#heard.push(message);
  }

  send(message) {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  sendRaw(bytes, options) {
    this.#socket.send(bytes, options);
  }

  /** The next message. */
  async next() {
    if (this.#heard.length) return this.#heard.shift();
    if (this.closed) throw new Mismatch(`close ${this.closed.code} ${this.closed.reason}`, "a message");
    const message = await within(WAIT_MS, "a message", new Promise((resolve) => this.#waiting.push(resolve)));
    if (!message) throw new Mismatch(`close ${this.closed.code} ${this.closed.reason}`, "a message");
    return message;
  }

  /** The next message, which must be of this type. */
  async expect(type) {
    const message = await this.next();
    if (message.type !== type) throw new Mismatch(message, type);
    return message;
  }

  async silence(ms) {
    await sleep(ms);
    if (this.#heard.length) throw new Mismatch(this.#heard[0], `${ms} ms of silence`);
    if (this.closed) throw new Mismatch(`close ${this.closed.code} ${this.closed.reason}`, `${ms} ms of silence`);
  }

  ping() {
    this.#socket.ping("", true, () => {}); // the callback takes the error of a closing socket
  }

  /** Sends a protocol ping and returns the payload of its pong. */
  async protocolPing(payload) {
    const pong = new Promise((resolve) => this.#socket.once("pong", (data) => resolve(String(data))));
    this.#socket.ping(payload);
    return within(WAIT_MS, "a pong", pong);
  }

  /** How the connection ended. */
  async end(ms = CLOSE_MS) {
    if (!this.closed) await within(ms, "a close", new Promise((resolve) => this.#socket.once("close", resolve)));
    return this.closed;
  }

  async expectClose(code, reason) {
    const closed = await this.end();
    if (closed.code !== code) throw new Mismatch(`${closed.code} ${closed.reason}`, `${code} ${reason ?? ""}`.trim());
    if (reason !== undefined) same(closed.reason, reason);
  }

  drop() {
    this.#socket.terminate();
  }
}

function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Mismatch(`nothing in ${ms} ms`, what)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Runs the cases one after the other and prints a line for each. Returns the exit code. */
export async function run(cases) {
  let failed = 0;
  for (const [name, check] of cases) {
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      const why = error instanceof Mismatch ? error.message : `got ${error.message || error.code}, expected no error`;
      console.log(`FAIL ${name}: ${why}`);
    }
  }
  console.log(`${cases.length - failed} passed, ${failed} failed`);
  return failed ? 1 : 0;
}
