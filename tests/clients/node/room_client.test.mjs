// RoomClient, the page's connection, against a fake WebSocket and a fake clock.
//
//   node --test room_client.test.mjs

import assert from "node:assert/strict";
import test from "node:test";

import { advance, reset, settle, sockets, standStill, timers } from "./fakes.mjs";

const page = "../../../clients/js";
const { RoomClient, backoffMs, verdict } = await import(`${page}/client.mjs`);
const { Refused, checkName, checkRoom, checkText } = await import(`${page}/rules.mjs`);

/** A client that wants to be in room `r`, on its first attempt to connect. */
async function start(token = "t") {
  reset();
  const client = new RoomClient({ url: "ws://x/ws", token });
  const events = [];
  for (const type of ["state", "joined", "removed", "gap", "chat", "delivery", "refused", "pong"]) {
    client.addEventListener(type, ({ detail }) => events.push([type, detail]));
  }
  client.join("r");
  client.connect();
  await settle();
  const details = (type) => events.filter((event) => event[0] === type).map((event) => event[1]);
  return {
    client,
    events,
    states: () => details("state"),
    deliveries: (id) =>
      details("delivery")
        .filter((it) => it.requestId === id)
        .map((it) => it.status),
  };
}

const last = () => sockets.at(-1);
const chats = () => last().sent.filter((message) => message.type === "chat");
const types = () => last().sent.map((message) => message.type);

/** The server accepts the connection, the token and the join. */
function welcome() {
  last().open();
  last().say({ type: "auth_ok", userId: "me" });
  last().say({ type: "joined", roomId: "r" });
}

test("backoff is full jitter from 500 ms to 30 s, and 60 s after ten", async () => {
  assert.deepEqual(
    [1, 2, 3, 6, 7, 9, 10, 50].map((n) => Math.round(backoffMs(n, () => 1))),
    [500, 1000, 2000, 16000, 30000, 30000, 60000, 60000],
  );
  assert.equal(
    backoffMs(5, () => 0),
    0,
  );
  const { states } = await start();
  const waits = [];
  for (let i = 0; i < 12; i++) {
    last().end(1006);
    const s = states().at(-1);
    waits.push(Math.round((s.retryAt - Date.now()) / 100) * 100);
    assert.equal(!!s.patient, i >= 9);
    const n = sockets.length;
    await advance(waits.at(-1) + 200);
    assert.equal(sockets.length, n + 1);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 60000, 60000, 60000]);
  assert(!timers.some((t) => t.every && t.every !== 250));
});

test("failures are forgotten only after a stable connection", async () => {
  const { states } = await start();
  for (let i = 0; i < 3; i++) {
    last().end(1006);
    await advance(10000);
  }
  welcome();
  await advance(100);
  last().end(1006);
  assert.equal(states().at(-1).failures, 4);
  await advance(10000);
  welcome();
  await advance(10001);
  last().end(1006);
  assert.equal(states().at(-1).failures, 1);
});

test("a handshake that hangs is given up after 10 s, and its late answer is ignored", async () => {
  const { client } = await start();
  const s = last();
  await advance(10300);
  assert.equal(client.state, "waiting");
  assert.equal(s.closed, 1005);
  s.open();
  s.say({ type: "auth_ok" });
  s.end(4403);
  assert.equal(client.state, "waiting");
  assert.deepEqual(s.sent, []);
});

test("asks for a sign of life and gives up without one", async () => {
  const { client, events } = await start();
  welcome();
  await advance(25500);
  assert.equal(last().sent.at(-1).type, "ping");
  last().say({ type: "pong", sentAt: "x" });
  assert.equal(events.at(-1)[0], "pong");
  await advance(25500);
  const n = sockets.length;
  assert.equal(last().sent.filter((m) => m.type === "ping").length, 2);
  await advance(10300);
  assert.equal(client.state, "waiting");
  await advance(1000);
  assert.equal(sockets.length, n + 1);
});

test("respects bufferedAmount: high-water mark, then a queue, then Refused", async () => {
  const { client, deliveries } = await start();
  welcome();
  last().stuck = true;
  let ids = [];
  while (last().bufferedAmount < 65536) {
    ids.push(client.chat("r", "x".repeat(1000)));
    await advance(100);
  }
  try {
    for (;;) ids.push(client.chat("r", "x".repeat(1000)));
  } catch (e) {
    assert(e instanceof Refused);
  }
  const sent = chats().length;
  assert(last().bufferedAmount >= 65536 && last().bufferedAmount < 65536 + 1200);
  assert.equal(ids.length, sent + 20);
  await advance(300);
  assert.deepEqual(deliveries(ids.at(-1)), ["queued"]);
  last().bufferedAmount = 0;
  last().stuck = false;
  await advance(2000);
  assert.deepEqual(deliveries(ids.at(-1)), ["queued", "sent"]);
  assert.deepEqual(
    chats().map((m) => m.requestId),
    ids,
  );
});

test("unconfirmed after 10 s, confirmed by a late echo, never resent", async () => {
  const { client, deliveries, events } = await start();
  welcome();
  const a = client.chat("r", "a");
  await advance(10300);
  assert.deepEqual(deliveries(a), ["queued", "sent", "unconfirmed"]);
  last().say({ type: "chat", requestId: a, userId: "me", roomId: "r", text: "a" });
  await settle();
  assert.equal(deliveries(a).at(-1), "confirmed");
  assert.equal(events.find((e) => e[0] === "chat")[1].own, true);
  const b = client.chat("r", "b");
  last().say({ type: "chat", requestId: b, userId: "thief", roomId: "r", text: "b" });
  await settle();
  assert.equal(deliveries(b).at(-1), "sent");
  last().end(1006);
  await settle();
  assert.equal(deliveries(b).at(-1), "unconfirmed");
  const w = client.chat("r", "w");
  await advance(1000);
  welcome();
  assert.deepEqual(
    chats().map((m) => m.text),
    ["w"],
  );
  assert.deepEqual(types(), ["auth", "join", "chat"]);
  await settle();
  assert.equal(deliveries(w).at(-1), "sent");
});

test("who hands out tickets may say no, which is not asked again; or be away, which is", async () => {
  const no = await start(async () => {
    throw new Refused("Nobody gets in by name.", "name");
  });
  const { failures: _, ...stopped } = no.states().at(-1);
  assert.deepEqual(stopped, { state: "stopped", text: "Nobody gets in by name." });
  assert.deepEqual([sockets.length, timers.length], [0, 0]);
  let asked = 0;
  const away = await start(async () => {
    asked += 1;
    throw new TypeError("fetch failed");
  });
  assert.equal(away.states().at(-1).state, "waiting");
  await advance(500);
  assert.deepEqual([asked, sockets.length], [2, 0]);
});

test("4409 stays away", async () => {
  const { states } = await start();
  welcome();
  last().end(4409, "replaced");
  assert.equal(states().at(-1).state, "stopped");
});

test("4401 gets one fresh ticket, then stops; a stable session earns another", async () => {
  let n = 0;
  const { client, states } = await start(async () => `t${++n}`);
  welcome();
  assert.equal(last().sent[0].token, "t1");
  last().end(4401);
  assert.equal(client.state, "waiting");
  await advance(600);
  welcome();
  assert.equal(last().sent[0].token, "t2");
  await advance(20000);
  last().end(4401);
  assert.equal(client.state, "waiting");
  await advance(600);
  last().open();
  last().end(4401);
  assert.equal(client.state, "stopped");
  assert.equal(states().at(-1).code, 4401);
  assert.deepEqual(timers, []);
});

test("retry-after: N, clamped, and not a hot loop", async () => {
  const { client, states } = await start();
  const wait = () => Math.round(states().at(-1).retryAt - Date.now());
  welcome();
  last().end(1012, "draining; retry-after-ms=1234");
  assert.equal(wait(), 1234);
  await advance(1300);
  last().end(1012, "retry-after-ms=0");
  assert(wait() > 900);
  await advance(1100);
  last().end(1012, "retry-after-ms=999999999");
  assert.equal(wait(), 300000);
  await advance(300001);
  last().end(1012, "");
  assert.equal(wait(), 4000);
});

test("a ticket that cannot be had is a failure, and a stop drops what is queued", async () => {
  const { client, states } = await start(async () => {
    throw Error("no");
  });
  await settle();
  assert.equal(client.state, "waiting");
  assert.equal(states().at(-1).text, "There is nothing to log in with.");
  assert.equal(sockets.length, 0);
  const x = await start();
  const q = x.client.chat("r", "q");
  last().end(4403);
  await settle();
  assert.deepEqual(x.deliveries(q), ["queued", "unsent"]);
  assert.deepEqual(timers, []);
  const q2 = x.client.chat("r", "z");
  await settle();
  assert.deepEqual(x.deliveries(q2), ["queued", "unsent"]);
  x.client.connect();
  await settle();
  welcome();
  assert.equal(x.client.state, "connected");
});

test("close() is quiet afterwards", async () => {
  const { client, events } = await start();
  welcome();
  client.chat("r", "a");
  client.leave("r");
  client.close();
  await settle();
  assert.deepEqual(types(), ["auth", "join", "chat", "leave"]);
  assert.equal(last().closed, 1000);
  const n = events.length;
  last().end(1006);
  await advance(100000);
  assert.equal(events.length, n);
  assert.deepEqual(timers, []);
  assert.equal(sockets.length, 1);
});

test("junk is ignored", async () => {
  const { client } = await start();
  welcome();
  for (const data of [
    "",
    "null",
    "[]",
    "1",
    "{",
    '{"type":5}',
    '{"type":"joined","roomId":{}}',
    '{"type":"chat"}',
    new ArrayBuffer(2),
  ])
    last().onmessage({ data });
  assert.equal(client.state, "connected");
});

test("a code outside the table: an application's own stops, the rest may pass", () => {
  assert.equal(verdict(4999).action, "stop");
  assert.equal(verdict(1014).action, "backoff");
});

test("online shortens a wait, at most one attempt a second, never a retry-after", async () => {
  const listeners = {};
  globalThis.addEventListener = (type, listener) => {
    listeners[type] = listener;
  };
  const { client, states } = await start();
  for (let i = 0; i < 6; i++) {
    last().end(1006);
    await advance(20000);
  }
  last().end(1006);
  const n = sockets.length;
  listeners.online();
  await advance(0);
  assert.equal(sockets.length, n + 1);
  last().end(1006);
  await advance(100);
  listeners.online();
  listeners.online();
  await advance(800);
  assert.equal(sockets.length, n + 1);
  await advance(150);
  assert.equal(sockets.length, n + 2);
  assert.equal(client.state, "connecting");
  last().end(1012, "retry-after-ms=200000");
  await advance(2000);
  listeners.online();
  await advance(5000);
  assert.equal(sockets.length, n + 2);
  delete globalThis.addEventListener;
});

/** The field and the words of what is refused. */
function refusal(act) {
  try {
    act();
  } catch (error) {
    assert(error instanceof Refused, error);
    return error;
  }
  assert.fail("it was taken");
}

// covers: MS-25
test("what a person types wrongly is refused with field and limit, and ends nothing", async () => {
  const { client } = await start();
  welcome();
  const half = "\u{1f600}".slice(0, 1);
  for (const [act, field, limit] of [
    [() => client.chat("r", ""), "text", "1000"],
    [() => client.chat("r", "x".repeat(1001)), "text", "1000"],
    [() => client.chat("r", "\u{1f600}".repeat(501)), "text", "1000"],
    [() => client.chat("r", `cut ${half}`), "text", "half"],
    [() => client.chat("r", `${"\u{1f600}".slice(1)} cut`), "text", "half"],
    [() => client.chat("r", undefined), "text", "1000"],
    [() => client.chat("my room", "x"), "roomId", "64"],
    [() => client.join("my room"), "roomId", "64"],
    [() => client.join(""), "roomId", "64"],
    [() => client.join("r".repeat(65)), "roomId", "64"],
    [() => client.join("r\n"), "roomId", "64"],
    [() => client.join("größe"), "roomId", "64"],
    [() => client.join(7), "roomId", "64"],
    [() => checkName("ada lovelace"), "name", "32"],
    [() => checkName("a".repeat(33)), "name", "32"],
    [() => checkName("a:b"), "name", "32"],
  ]) {
    const refused = refusal(act);
    assert.equal(refused.field, field);
    assert(refused.message.includes(limit), refused.message);
  }
  await advance(1000);
  assert.deepEqual(types(), ["auth", "join"]);
  assert.equal(client.state, "connected");
  checkText("x".repeat(1000));
  checkText("\u{1f600}".repeat(500));
  checkRoom("A-z:0_9");
  checkRoom("r".repeat(64));
  checkName("ada_1-x");
});

// covers: RM-19
test("a hundred rooms are joined again without ever being faster than the server takes", async () => {
  const { client } = await start();
  for (let n = 0; n < 99; n += 1) client.join(`room-${n}`);
  for (let connection = 0; connection < 3; connection += 1) {
    last().open();
    last().say({ type: "auth_ok", userId: "me" });
    // A quota of 20 a second after 40, of which the login was one.
    let allowed = 39;
    let heard = 1;
    for (let at = 0; at < 10_000; at += 50) {
      const said = last().sent.slice(heard);
      heard += said.length;
      allowed -= said.length;
      assert(allowed >= 0, `too fast after ${at} ms`);
      for (const { type, roomId } of said) if (type === "join") last().say({ type: "joined", roomId });
      await advance(50);
      allowed = Math.min(40, allowed + 1);
    }
    const joined = new Set(last().sent.filter((it) => it.type === "join").map((it) => it.roomId));
    assert.equal(joined.size, 100);
    last().end(1006);
    await advance(30_000);
  }
});

// covers: MS-25
test("who leans on the Enter key waits, and is never too fast", async () => {
  const { client, deliveries } = await start();
  welcome();
  const ids = [];
  let allowed = 38;
  let heard = 2;
  let waited = false;
  for (let n = 0; n < 200; n += 1) {
    try {
      ids.push(client.chat("r", "x"));
    } catch (error) {
      assert(error instanceof Refused, error);
      waited = true;
    }
    await advance(30);
    allowed = Math.min(40, allowed + 0.6) - (last().sent.length - heard);
    heard = last().sent.length;
    assert(allowed >= 0, `too fast at ${n}`);
  }
  assert(waited);
  await advance(5000);
  assert.equal(chats().length, ids.length);
  assert(ids.every((id) => deliveries(id)[1] === "sent"));
});

test("a room that is left and joined again before it can be said is joined", async () => {
  const { client } = await start();
  welcome();
  for (let n = 0; n < 29; n += 1) client.chat("r", "x");
  client.leave("r");
  client.join("r");
  await advance(2000);
  assert.equal(types().at(-1), "join");
  assert(!types().includes("leave"));
});

test("a server that never echoes does not make the client remember everything", async () => {
  const { client, deliveries } = await start();
  welcome();
  const first = client.chat("r", "x");
  for (let n = 0; n < 210; n += 1) {
    client.chat("r", "x");
    await advance(100);
    last().say({ type: "pong" });
  }
  assert.deepEqual(deliveries(first), ["queued", "sent", "unconfirmed"]);
  // Its echo comes too late to be known.
  last().say({ type: "chat", requestId: first, userId: "me", roomId: "r", text: "x" });
  await settle();
  assert.equal(deliveries(first).at(-1), "unconfirmed");
});

test("a page that stood still hears what has waited before it gives up", async () => {
  const { client } = await start();
  welcome();
  await advance(25_500);
  assert.equal(last().sent.at(-1).type, "ping");
  standStill(60_000);
  await advance(300);
  assert.equal(client.state, "connected");
  last().say({ type: "pong", sentAt: "x" });
  await advance(5000);
  assert.equal(client.state, "connected");
  // Still nothing a second later is an end.
  await advance(25_500);
  standStill(60_000);
  await advance(1500);
  assert.equal(client.state, "waiting");
});

test("an address that there is no way to stops at once and says so", async () => {
  const real = globalThis.WebSocket;
  globalThis.WebSocket = class {
    constructor() {
      throw new SyntaxError("not a URL");
    }
  };
  const { client, states } = await start();
  globalThis.WebSocket = real;
  assert.equal(client.state, "stopped");
  assert.equal(states().at(-1).text, "There is no way to this address.");
  assert.deepEqual(timers, []);
});

test("who is removed from a room is out of it, and nothing else happens", async () => {
  const { client, events } = await start();
  client.join("other");
  last().open();
  last().say({ type: "auth_ok", userId: "me" });
  for (const roomId of ["r", "other"]) last().say({ type: "joined", roomId });
  last().say({ type: "removed", roomId: "r" });
  // The answer to what was under way.
  last().say({ type: "removed", roomId: "r" });
  await advance(1000);
  const told = events.filter(([type]) => type === "removed");
  assert.deepEqual(told.map(([, detail]) => detail), [{ roomId: "r" }]);
  assert.equal(client.state, "connected");
  const sent = last().sent.map(({ type, roomId }) => `${type} ${roomId}`);
  assert.deepEqual(sent.slice(-1), ["leave r"]);
  // It does not come back by itself, and may when it is asked to.
  last().end(1006);
  await advance(5000);
  last().open();
  last().say({ type: "auth_ok", userId: "me" });
  const joins = () => last().sent.filter(({ type }) => type === "join").map(({ roomId }) => roomId);
  assert.deepEqual(joins(), ["other"]);
  client.join("r");
  await advance(1000);
  assert.deepEqual(joins(), ["other", "r"]);
  // One that comes before the answer to the join is about what was before.
  last().say({ type: "removed", roomId: "r" });
  last().say({ type: "joined", roomId: "r" });
  assert.equal(events.filter(([type]) => type === "removed").length, 1);
});

test("a gap is told where it is, and what is missing is not asked for again", async () => {
  const { events } = await start();
  last().open();
  last().say({ type: "auth_ok", userId: "me" });
  last().say({ type: "joined", roomId: "r", at: "abcdefgh-4" });
  const chat = (number) => last().say({ type: "chat", roomId: "r", userId: "ada", text: "x", at: `abcdefgh-${number}` });
  chat(5);
  last().say({ type: "gap", roomId: "r", at: "abcdefgh-9" });
  last().say({ type: "gap", roomId: "elsewhere", at: "abcdefgh-9" });
  chat(10);
  const shown = events.filter(([type]) => type === "chat" || type === "gap");
  assert.deepEqual(shown.map(([type]) => type), ["chat", "gap", "chat"]);
  assert.deepEqual(shown[1][1], { roomId: "r" });
  // Lost right behind another one.
  last().say({ type: "gap", roomId: "r", at: "abcdefgh-20" });
  last().end(1006);
  await advance(5000);
  last().open();
  last().say({ type: "auth_ok", userId: "me" });
  const joins = last().sent.filter(({ type }) => type === "join");
  assert.deepEqual(joins, [{ type: "join", roomId: "r", since: "abcdefgh-20" }]);
});

test("it comes back with the last position, and shows nothing twice", async () => {
  const { events } = await start();
  const chat = (number) => last().say({ type: "chat", roomId: "r", userId: "ada", text: "x", at: `abcdefgh-${number}` });
  const shown = () => events.filter(([type]) => type === "chat").map(([, { at }]) => at.split("-")[1]);
  const joins = () => last().sent.filter(({ type }) => type === "join");
  const back = async (joined) => {
    last().end(1006);
    await advance(5000);
    last().open();
    last().say({ type: "auth_ok", userId: "me" });
    last().say({ type: "joined", roomId: "r", ...joined });
  };
  const said = () => events.filter(([type]) => type === "joined").at(-1)[1];
  last().open();
  last().say({ type: "auth_ok", userId: "me" });
  last().say({ type: "joined", roomId: "r", at: "abcdefgh-4" });
  assert.deepEqual(joins(), [{ type: "join", roomId: "r" }]);
  chat(5);
  chat(6);
  await back({ at: "abcdefgh-8", recovered: true });
  assert.deepEqual(joins(), [{ type: "join", roomId: "r", since: "abcdefgh-6" }]);
  assert.deepEqual(said(), { roomId: "r", again: true, recovered: true });
  // One of two that were missed has come when the connection is lost again.
  chat(7);
  await back({ at: "abcdefgh-9", recovered: true });
  assert.equal(joins()[0].since, "abcdefgh-7");
  chat(7);
  chat(8);
  chat(9);
  assert.deepEqual(shown(), ["5", "6", "7", "8", "9"]);
  // Another log: what is said is new, whatever its number, and something may be missing.
  await back({ at: "zzzzzzzz-2", recovered: false });
  assert.equal(said().recovered, false);
  last().say({ type: "chat", roomId: "r", userId: "ada", text: "x", at: "zzzzzzzz-3" });
  assert.equal(shown().at(-1), "3");
});
