// Outbox: what a person has written, until it is known what became of it. Part of client.mjs.
//
// A message is in exactly one of two places:
//   queue    never handed to a socket; may be sent on the next connection
//   pending  handed to the socket of this connection, and not echoed by the server yet
// Nothing ever moves back from pending to queue: that would be sending it twice.
//
// Each change is reported as (requestId, status), one microtask later, so that the caller of push()
// knows the id before it hears of it:
//   queued → sent → confirmed | refused    the echo came, or the server's error reply
//                 → unconfirmed            no echo in time, or the connection went first; it may have arrived
//   queued → unsent                        given up; it certainly did not arrive

import { Refused, checkRoom, checkText } from "./rules.mjs";

const QUEUE_LIMIT = 20; // more than a person writes while a connection is made again
const PENDING_LIMIT = 200; // ids that are kept for a late echo; the oldest go first
const ECHO_MS = 10_000; // how long an echo may take

export class Outbox {
  #queue = []; // { requestId, roomId, text }
  #pending = new Map(); // requestId → when it was handed over, or 0 once reported as unconfirmed
  #report;

  constructor(report) {
    this.#report = (requestId, status) => queueMicrotask(() => report(requestId, status));
  }

  /** Takes a message and returns its requestId, or throws Refused. Call flush() next. */
  push(roomId, text) {
    checkRoom(roomId);
    checkText(text);
    if (this.#queue.length >= QUEUE_LIMIT) {
      throw new Refused(`Not sent: ${QUEUE_LIMIT} messages are waiting already.`);
    }
    const requestId = randomId();
    this.#queue.push({ requestId, roomId, text });
    this.#report(requestId, "queued");
    return requestId;
  }

  /** Hands over, in order, what `ready(roomId)` lets through; it is asked before every single message. */
  flush(ready, send) {
    this.#queue = this.#queue.filter((entry) => {
      if (!ready(entry.roomId)) return true;
      this.#pending.set(entry.requestId, performance.now());
      this.#report(entry.requestId, "sent");
      this.#forgetOldest();
      send({ type: "chat", ...entry });
      return false;
    });
  }

  /** The server answered with an echo ("confirmed") or an error ("refused"). False if it is not ours. */
  settle(requestId, status) {
    if (!this.#pending.delete(requestId)) return false;
    this.#report(requestId, status);
    return true;
  }

  /** Reports what has waited too long. It stays pending: a late echo still confirms it. */
  checkOverdue(now = performance.now()) {
    for (const [requestId, sentAt] of this.#pending) {
      if (!sentAt || now - sentAt <= ECHO_MS) continue;
      this.#pending.set(requestId, 0);
      this.#report(requestId, "unconfirmed");
    }
  }

  /** A server that never echoes must not make this grow. */
  #forgetOldest() {
    if (this.#pending.size <= PENDING_LIMIT) return;
    const [[requestId, sentAt]] = this.#pending;
    this.#pending.delete(requestId);
    if (sentAt) this.#report(requestId, "unconfirmed");
  }

  /** No more echoes will come. */
  connectionLost() {
    for (const [requestId, sentAt] of this.#pending) {
      if (sentAt) this.#report(requestId, "unconfirmed");
    }
    this.#pending.clear();
  }

  /** Gives up what is still queued, for one room or for all. */
  drop(roomId) {
    this.#queue = this.#queue.filter((entry) => {
      if (roomId !== undefined && entry.roomId !== roomId) return true;
      this.#report(entry.requestId, "unsent");
      return false;
    });
  }
}

/** crypto.randomUUID() exists only on https and localhost, and a phone on the LAN has neither. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
