// RoomClient: one person's connection to the room service. No dependencies, usable without the page:
//
//   const client = new RoomClient({ url: "wss://chat.example/ws", token: () => fetchTicket() });
//   client.addEventListener("chat", ({ detail }) => console.log(detail.userId, detail.text));
//   client.join("lobby");
//   client.connect();
//   const requestId = client.chat("lobby", "hello");
//
// What it promises:
//   1. It comes back by itself, with full jitter, and joins its rooms again. CLOSE_CODES says when.
//   2. A message goes out at most once (outbox.mjs).
//   3. It does not buffer without bound: above HIGH_WATER bytes in the socket, and while there is no
//      connection, a few messages wait; then chat() throws Refused.
//   4. Nothing that a person types ends the connection: what breaks a rule of the server is not sent but
//      thrown as Refused, which names the field and the limit (rules.mjs), and nothing goes out faster than
//      the server takes it (pace.mjs).
//
// Events, all with a `detail`:
//   state     { state, failures, code?, text?, retryAt?, patient? }; state is one of idle, connecting,
//             connected, waiting, stopped; patient: only one attempt a minute from here, tell the person
//   joined    { roomId, again, recovered }; again: after a lost connection. recovered: what was said meanwhile
//             follows, all of it; otherwise something may be missing
//   left      { roomId }
//   removed   { roomId }; somebody took this client out of the room, and it does not come back by itself
//   gap       { roomId }; this client could not keep up with the room: something is missing here, and the newest
//             follows
//   chat      what the server sent, and own: true if this client asked for it
//   delivery  { requestId, status }; queued sent confirmed unconfirmed unsent refused
//   refused   { code, requestId?, roomId?, field?, reason? }; the server's error reply
//   pong      { sentAt, rttMs }

import { Outbox } from "./outbox.mjs";
import { Pace } from "./pace.mjs";
import { Refused, checkRoom } from "./rules.mjs";

export { Refused };

// What to do after each close code; 1006 stands for every connection that was lost or never opened.
// A Rust test reads the next two tables line by line and compares them with `CloseReason`: one entry per
// line, exactly in this form. Actions: stop | backoff | fresh-ticket | retry-after.
export const CLOSE_CODES = {
  1000: { action: "stop", text: "The server ended the conversation." },
  1001: { action: "backoff", text: "The server is going away." },
  1002: { action: "stop", text: "The server saw a protocol error." },
  1003: { action: "stop", text: "The server does not take this kind of message." },
  1005: { action: "backoff", text: "The connection ended without a reason." },
  1006: { action: "backoff", text: "The connection was lost." },
  1007: { action: "stop", text: "The server saw text that is not UTF-8." },
  1008: { action: "stop", text: "The server refused a message." },
  1009: { action: "stop", text: "The server refused a message as too large." },
  1011: { action: "backoff", text: "The server had an internal error." },
  1012: { action: "retry-after", text: "The server is restarting." },
  1013: { action: "backoff", text: "The server is overloaded." },
  4401: { action: "fresh-ticket", text: "The session was not authenticated in time, or has ended." },
  4403: { action: "stop", text: "The server refused the token." },
  4409: { action: "stop", text: "You are connected from too many other places." },
};

// The reasons that change the action of their code.
export const CLOSE_REASONS = {
  "1001 idle": { action: "stop", text: "Nothing was said for too long." },
  "1013 too many connections": { action: "backoff", text: "You are connected from too many other places." },
  "1008 rate limited": { action: "backoff", text: "That was too fast for the server." },
};

// Codes in neither table: an application's own (3000 to 4999) stop, the rest may pass.
const OWN_CODE = { action: "stop", text: "The server closed the connection." };
const OTHER_CODE = { action: "backoff", text: "The connection was closed." };

const BASE_MS = 500; // the first wait is anywhere in 0..500 ms, the next in 0..1 s, ...
const CAP_MS = 30_000;
const PATIENT_AFTER = 10; // failures in a row, and then ...
const PATIENT_MS = 60_000; // ... one attempt a minute
const RETRY_AFTER_MAX_MS = 300_000; // the longest wait a server may ask for
const STABLE_MS = 10_000; // a connection that lived this long clears the record of failures
const OPEN_MS = 10_000; // for ticket, handshake and auth_ok; a browser alone would wait minutes
const PING_MS = 25_000; // a page cannot see protocol pings, so it asks for itself
const PONG_MS = 10_000;
const WAKE_MS = 1_000; // at most one early attempt a second, however often the tab flickers
const TICK_MS = 250;
const LATE_MS = 1_000; // a tick this late says that the page stood still, and so much longer it does not judge
const HIGH_WATER = 64 * 1024;

/** How long to wait after `failures` failures in a row: full jitter, then once a minute. */
export function backoffMs(failures, random = Math.random) {
  if (failures >= PATIENT_AFTER) return PATIENT_MS;
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.max(0, failures - 1));
}

/** What the tables say about a close. */
export function verdict(code, reason = "") {
  const otherwise = code >= 3000 && code <= 4999 ? OWN_CODE : OTHER_CODE;
  return CLOSE_REASONS[`${code} ${reason}`] ?? CLOSE_CODES[code] ?? otherwise;
}

export class RoomClient extends EventTarget {
  #url;
  #token;
  #outbox = new Outbox((requestId, status) => this.#emit("delivery", { requestId, status }));
  #pace = new Pace();
  #rooms = new Map(); // roomId → { asked, joined, before, at }: the rooms this client wants to be in
  #leaving = new Set(); // rooms to leave, as soon as the pace allows it
  #state = "idle";
  #socket = null;
  #attempt = 0; // callbacks of an older attempt are ignored
  #failures = 0;
  #freshTicketUsed = false;
  #mayHurry = false; // an `online` event may cut this wait short
  #startedAt = 0;
  #connectedAt = 0;
  #heardAt = 0;
  #pingedAt = 0; // 0: no ping is out
  #tickedAt = 0;
  #judgeAt = 0; // until then nothing counts as missing
  #retry; // the timer of the next attempt, due at ...
  #retryAt = 0;
  #tick; // the timer that looks after everything else, while there is an attempt
  #listening; // aborts the listeners on window and document

  /** The name the server gave us, once connected. */
  userId = null;

  /** `token` is a string, or a function that gets a fresh one for every attempt; it may throw Refused. */
  constructor({ url, token }) {
    super();
    this.#url = url;
    this.#token = token;
  }

  get state() {
    return this.#state;
  }

  connect() {
    if (this.#state !== "idle" && this.#state !== "stopped") return;
    this.#failures = 0;
    this.#freshTicketUsed = false;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    globalThis.addEventListener?.("online", () => this.#wake(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#wake(), { signal });
    this.#open();
  }

  /** Says goodbye and forgets rooms and messages; connect() starts anew. */
  close() {
    this.#socket?.close(1000);
    this.#letGo();
    this.#rooms.clear();
    this.#halt("idle");
  }

  /** Wants to be in the room from here on, also after a lost connection. May throw Refused. */
  join(roomId) {
    checkRoom(roomId);
    if (this.#rooms.has(roomId)) return;
    this.#rooms.set(roomId, { asked: false, joined: false, before: false });
    this.#leaving.delete(roomId);
    this.#flush();
  }

  leave(roomId) {
    const room = this.#rooms.get(roomId);
    if (!room) return;
    this.#rooms.delete(roomId);
    this.#outbox.drop(roomId);
    if (room.asked) this.#leaving.add(roomId);
    this.#flush();
  }

  /** Sends now or as soon as it can. Returns the requestId that `delivery` will name; may throw Refused. */
  chat(roomId, text) {
    const requestId = this.#outbox.push(roomId, text);
    if (!this.#rooms.has(roomId) || this.#state === "idle" || this.#state === "stopped") {
      this.#outbox.drop(roomId);
    }
    this.#flush();
    return requestId;
  }

  /** Asks the server for a sign of life; without one the connection counts as lost. */
  ping() {
    if (this.#state !== "connected" || this.#pingedAt) return;
    this.#pingedAt = performance.now();
    this.#pace.spend();
    this.#send({ type: "ping" });
  }

  async #open() {
    const attempt = ++this.#attempt;
    const current = () => attempt === this.#attempt;
    clearTimeout(this.#retry);
    this.#startedAt = this.#tickedAt = performance.now();
    this.#judgeAt = 0;
    this.#tick = setInterval(() => this.#everyTick(), TICK_MS);
    this.#setState("connecting");
    let token;
    try {
      // Before the handshake, because the server's deadline for authentication starts with it.
      token = typeof this.#token === "function" ? await this.#token() : this.#token;
    } catch (error) {
      if (!current()) return;
      if (!(error instanceof Refused)) return this.#lost(1006, "", "There is nothing to log in with.");
      // Whoever hands out tickets has said no: asking again would get the same answer.
      this.#letGo();
      return this.#halt("stopped", { text: error.message });
    }
    if (!current()) return;
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch {
      // Not a URL, or `ws:` from a page that came over TLS: that will not pass.
      this.#letGo();
      return this.#halt("stopped", { code: 1006, text: "There is no way to this address." });
    }
    this.#socket = socket;
    socket.onopen = () => current() && this.#send({ type: "auth", token });
    socket.onmessage = ({ data }) => current() && this.#receive(data);
    socket.onclose = ({ code, reason }) => current() && this.#lost(code, reason);
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not of this protocol
    }
    const now = (this.#heardAt = performance.now());
    const { type, requestId, roomId } = message ?? {};
    const room = this.#rooms.get(roomId);
    const { at } = message ?? {};
    if (type === "auth_ok") {
      this.#connectedAt = now;
      this.userId = message.userId;
      this.#setState("connected");
      this.#flush();
    } else if (type === "joined" && room) {
      const recovered = message.recovered === true;
      // While what was missed is on its way, where this client is moves with that.
      if (!recovered) room.at = isText(at) ? at : undefined;
      this.#emit("joined", { roomId, again: room.before, recovered });
      room.joined = room.before = true;
      this.#flush();
    } else if (type === "left") {
      this.#emit("left", { roomId });
    } else if (type === "removed" && room?.joined) {
      this.#rooms.delete(roomId);
      this.#outbox.drop(roomId);
      // So that the server does not remember it either.
      this.#leaving.add(roomId);
      this.#emit("removed", { roomId });
      this.#flush();
    } else if (type === "gap" && room) {
      // What is missing does not come any more, also to who comes back: it goes on from here.
      if (isText(at)) room.at = at;
      this.#emit("gap", { roomId });
    } else if (type === "chat" && isText(roomId) && isText(message.userId) && isText(message.text)) {
      if (room && isText(at)) {
        if (isBehind(at, room.at)) return; // shown already
        room.at = at;
      }
      const own = message.userId === this.userId && this.#outbox.settle(requestId, "confirmed");
      this.#emit("chat", { ...message, own });
    } else if (type === "pong" && this.#pingedAt) {
      this.#emit("pong", { sentAt: message.sentAt, rttMs: now - this.#pingedAt });
      this.#pingedAt = 0;
    } else if (type === "error") {
      this.#outbox.settle(requestId, "refused");
      // A refused join is not asked for again; the same answer would come at every reconnect.
      if (room && !room.joined) {
        this.#rooms.delete(roomId);
        this.#outbox.drop(roomId);
      }
      this.#emit("refused", { code: message.code, requestId, roomId, field: message.field, reason: message.reason });
    }
  }

  /** The attempt is over, whether or not it ever became a connection. `why` is what the table cannot know. */
  #lost(code, reason, why) {
    if (this.#connectedAt && performance.now() - this.#connectedAt >= STABLE_MS) {
      this.#failures = 0;
      this.#freshTicketUsed = false;
    }
    this.#letGo();
    this.#failures += 1;
    const { action, text } = verdict(code, reason);
    const stale = action === "fresh-ticket" && this.#freshTicketUsed;
    if (action === "stop" || stale) return this.#halt("stopped", { code, text });

    let wait = backoffMs(this.#failures);
    if (action === "retry-after") {
      const asked = Number(/\bretry-after-ms=(\d+)/.exec(reason)?.[1] ?? wait);
      // A server that asks again and again without letting us stay counts as failing.
      wait = Math.max(Math.min(asked, RETRY_AFTER_MAX_MS), this.#failures > 1 ? wait : 0);
    }
    this.#freshTicketUsed ||= action === "fresh-ticket";
    this.#mayHurry = code === 1001 || code === 1005 || code === 1006;
    this.#retryIn(wait);
    const patient = this.#failures >= PATIENT_AFTER;
    this.#setState("waiting", { code, text: why ?? text, retryAt: Date.now() + wait, patient });
  }

  #retryIn(ms) {
    clearTimeout(this.#retry);
    this.#retryAt = performance.now() + ms;
    this.#retry = setTimeout(() => this.#open(), ms);
  }

  /** Lets go of the socket without waiting for it: a dead one may take a minute to say so. */
  #letGo() {
    this.#attempt += 1;
    clearInterval(this.#tick);
    clearTimeout(this.#retry);
    this.#socket?.close();
    this.#socket = null;
    this.#connectedAt = this.#pingedAt = 0;
    for (const room of this.#rooms.values()) room.asked = room.joined = false;
    this.#leaving.clear();
    this.#outbox.connectionLost();
  }

  #halt(state, detail) {
    this.#listening?.abort();
    this.#outbox.drop();
    this.#setState(state, detail);
  }

  #everyTick() {
    const now = performance.now();
    // After a sleep or a long block this may run before the message that has been waiting meanwhile.
    if (now - this.#tickedAt > TICK_MS + LATE_MS) this.#judgeAt = now + LATE_MS;
    this.#tickedAt = now;
    const unopened = this.#state === "connecting" && now - this.#startedAt > OPEN_MS;
    const unanswered = this.#pingedAt && now - Math.max(this.#pingedAt, this.#heardAt) > PONG_MS;
    if ((unopened || unanswered) && now >= this.#judgeAt) return this.#lost(1006, "");
    if (now - this.#heardAt > PING_MS) this.ping();
    this.#outbox.checkOverdue(now);
    this.#flush();
  }

  /** Online again, or looked at again: try now, or find out whether the connection is still there. */
  #wake() {
    this.ping();
    if (this.#state !== "waiting" || !this.#mayHurry) return;
    const soon = Math.max(performance.now(), this.#startedAt + WAKE_MS);
    if (soon < this.#retryAt) this.#retryIn(soon - performance.now());
  }

  /** Sends what there is to send: leaves and joins first, since messages wait for their room. */
  #flush() {
    const socket = this.#socket;
    if (this.#state !== "connected") return;
    const flowing = () => socket.readyState === WebSocket.OPEN && socket.bufferedAmount < HIGH_WATER;
    const mayGo = () => flowing() && this.#pace.take();
    for (const roomId of this.#leaving) {
      if (!mayGo()) return;
      this.#leaving.delete(roomId);
      this.#send({ type: "leave", roomId });
    }
    for (const [roomId, room] of this.#rooms) {
      if (room.asked) continue;
      if (!mayGo()) return;
      room.asked = true;
      this.#send({ type: "join", roomId, since: room.at });
    }
    const ready = (roomId) => this.#rooms.get(roomId)?.joined && mayGo();
    this.#outbox.flush(ready, (message) => this.#send(message));
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #setState(state, detail) {
    this.#state = state;
    this.#emit("state", { state, failures: this.#failures, ...detail });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// Whether the position `at` is not behind `last`, of the same log: "epoch-number".
function isBehind(at, last) {
  const [epoch, number] = at.split("-");
  const [lastEpoch, lastNumber] = (last ?? "").split("-");
  return epoch === lastEpoch && Number(number) <= Number(lastNumber);
}

function isText(value) {
  return typeof value === "string";
}
