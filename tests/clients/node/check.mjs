// What a stock client sees of the reference server.
//
//   npm ci && node check.mjs ws://127.0.0.1:8080/ws
//
// The server must run with HEARTBEAT_INTERVAL_MS=500. Environment, as the server has it:
//   DEV_TOKEN          dev-token
//   AUTH_TIMEOUT_MS    5000
//   SILENT_PEER_MS     15000; how soon a peer that answers no ping must be gone
//
// tests/clients/python/check.py has the same cases under the same names.

import { Peer, matches, run, same } from "./peer.mjs";

const url = process.argv[2];
if (!url) {
  console.error("usage: node check.mjs ws://HOST:PORT/ws");
  process.exit(2);
}
const TOKEN = process.env.DEV_TOKEN || "dev-token";
const AUTH_TIMEOUT_MS = Number(process.env.AUTH_TIMEOUT_MS || 5000);
const SILENT_PEER_MS = Number(process.env.SILENT_PEER_MS || 15_000);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const room = `check-${process.pid}`;

const open = [];

async function connect(options) {
  const peer = await Peer.open(url, options);
  open.push(peer);
  return peer;
}

async function authenticated(token = TOKEN, options) {
  const peer = await connect(options);
  peer.send({ type: "auth", token });
  peer.welcome = await peer.expect("auth_ok");
  return peer;
}

async function joined(roomId = room) {
  const peer = await authenticated();
  peer.send({ type: "join", roomId });
  const { at, ...rest } = await peer.expect("joined");
  same(rest, { type: "joined", roomId });
  matches(at, /^[0-9a-z]{8}-\d+$/);
  return peer;
}

const chat = (text, more) => ({ type: "chat", roomId: room, text, ...more });

/** After authentication and join, this message must end the connection. */
const refused = (message, code, reason) => async () => {
  const peer = await joined();
  peer.send(message);
  await peer.expectClose(code, reason);
};

const cases = {
  "authenticates": async () => {
    const { welcome } = await authenticated();
    matches(welcome.connectionId, /./);
    matches(welcome.userId, /^user-[0-9a-f]{8}$/);
    same(Object.keys(welcome).sort(), ["connectionId", "type", "userId"]);
  },
  "a token with a name gives that userId": async () => {
    const { welcome } = await authenticated(`${TOKEN}:ada_1-x`);
    same(welcome.userId, "ada_1-x");
  },
  "joins": async () => {
    await joined();
  },
  "leaves": async () => {
    const peer = await joined();
    peer.send({ type: "leave", roomId: room });
    same(await peer.expect("left"), { type: "left", roomId: room });
  },
  "gets its own chat back with the same requestId": async () => {
    const peer = await joined();
    peer.send(chat("grüße 👋", { requestId: "request-1" }));
    const { id, sentAt, at, ...rest } = await peer.expect("chat");
    matches(at, /^[0-9a-z]{8}-\d+$/);
    matches(id, UUID);
    matches(sentAt, TIME);
    const expected = { requestId: "request-1", roomId: room, text: "grüße 👋", type: "chat", userId: peer.welcome.userId };
    same(Object.entries(rest).sort(), Object.entries(expected));
  },
  "a missing requestId is made by the server": async () => {
    const peer = await joined();
    peer.send(chat("x"));
    matches((await peer.expect("chat")).requestId, /./);
  },
  "a requestId that is no string is replaced": async () => {
    const peer = await joined();
    peer.send(chat("x", { requestId: 7 }));
    matches((await peer.expect("chat")).requestId, /./);
  },
  "a long requestId is cut at 100": async () => {
    const peer = await joined();
    peer.send(chat("x", { requestId: "r".repeat(150) }));
    same((await peer.expect("chat")).requestId, "r".repeat(100));
  },
  "1000 UTF-16 units are accepted": async () => {
    const peer = await joined();
    peer.send(chat("👋".repeat(500)));
    same((await peer.expect("chat")).text, "👋".repeat(500));
  },
  "others in the room hear it": async () => {
    const [one, other] = [await joined(), await joined()];
    one.send(chat("hello", { requestId: "request-2" }));
    const [own, theirs] = [await one.expect("chat"), await other.expect("chat")];
    same(theirs, own);
    same(theirs.userId, one.welcome.userId);
  },
  "another room hears nothing": async () => {
    const [one, other] = [await joined(), await joined(`${room}-other`)];
    one.send(chat("hello"));
    await one.expect("chat");
    await other.silence(300);
  },
  "who left hears nothing": async () => {
    const [one, other] = [await joined(), await joined()];
    other.send({ type: "leave", roomId: room });
    await other.expect("left");
    one.send(chat("hello"));
    await one.expect("chat");
    await other.silence(300);
  },
  "an application ping gets a pong": async () => {
    const peer = await authenticated();
    peer.send({ type: "ping" });
    matches((await peer.expect("pong")).sentAt, TIME);
  },
  "a protocol ping gets its pong": async () => {
    const peer = await authenticated();
    same(await peer.protocolPing("payload"), "payload");
  },
  "answering pings keeps the connection": async () => {
    const peer = await authenticated();
    await peer.silence(2500);
    if (peer.pings < 2) same(`${peer.pings} pings in 2.5 s`, "at least 2");
    peer.send({ type: "ping" });
    await peer.expect("pong");
  },
  "not answering pings ends it": async () => {
    const peer = await authenticated(TOKEN, { autoPong: false });
    await peer.end(SILENT_PEER_MS);
  },
  "chat before auth is 4403": async () => {
    const peer = await connect();
    peer.send(chat("x"));
    await peer.expectClose(4403);
  },
  "a wrong token is 4403": async () => {
    const peer = await connect();
    peer.send({ type: "auth", token: `not-${TOKEN}` });
    await peer.expectClose(4403);
  },
  "silence is 4401 at the deadline": async () => {
    const peer = await connect();
    const { code, reason, afterMs } = await peer.end(AUTH_TIMEOUT_MS * 1.4 + 1000);
    if (code !== 4401) same(`${code} ${reason}`, "4401");
    const inTime = afterMs >= AUTH_TIMEOUT_MS * 0.9 && afterMs <= AUTH_TIMEOUT_MS * 1.4;
    if (!inTime) same(`${Math.round(afterMs)} ms`, `${AUTH_TIMEOUT_MS * 0.9} to ${AUTH_TIMEOUT_MS * 1.4} ms`);
  },
  "pings do not prolong the deadline": async () => {
    const peer = await connect();
    const pinging = setInterval(() => peer.ping(), 100);
    await peer.end(AUTH_TIMEOUT_MS * 2).finally(() => clearInterval(pinging));
    await peer.expectClose(4401);
  },
  "chat to a room not joined is 1008": refused({ type: "chat", roomId: "elsewhere", text: "x" }, 1008),
  "invalid JSON is 1008": refused("{'type':'ping'}", 1008),
  "an array is 1008": refused('["ping"]', 1008),
  "an unknown type is 1008": refused({ type: "shout" }, 1008),
  "a duplicate key is 1008": refused('{"type":"ping","type":"ping"}', 1008),
  "an escaped duplicate key is 1008": refused('{"type":"ping","t\\u0079pe":"ping"}', 1008),
  "an unknown field is 1008": refused({ type: "ping", admin: true }, 1008),
  "a room id with a space is 1008": refused({ type: "join", roomId: "a b" }, 1008),
  "empty text is 1008": refused(chat(""), 1008),
  "1001 UTF-16 units are 1008": refused(chat("x".repeat(1001)), 1008),
  "501 characters of two units are 1008": refused(chat("👋".repeat(501)), 1008),
  "9 KB are 1009": refused(chat("x".repeat(9 * 1024)), 1009),
  "binary is 1003": async () => {
    const peer = await joined();
    peer.sendRaw(Buffer.from('{"type":"ping"}'), { binary: true });
    await peer.expectClose(1003);
  },
  "bad UTF-8 is 1007": async () => {
    const peer = await joined();
    peer.sendRaw(Buffer.from([0x22, 0xc0, 0x80, 0x22]), { binary: false });
    await peer.expectClose(1007);
  },
  "10,000 messages at once are 1008 rate limited": async () => {
    const peer = await joined();
    for (let n = 0; n < 10_000; n += 1) peer.send(chat(`flood ${n}`));
    await peer.expectClose(1008, "rate limited");
  },
  "a token in the URL is HTTP 400": async () => {
    same(await Peer.handshake(`${url}?token=x`), 400);
  },
  "the origin of another site is HTTP 403": async () => {
    same(await Peer.handshake(url, { origin: "https://evil.example" }), 403);
  },
  "its own origin is welcome": async () => {
    same(await Peer.handshake(url, { origin: new URL(url.replace(/^ws/, "http")).origin }), 101);
  },
};

/** Every case leaves nothing behind, so that the next one does not hear its messages. */
const tidy = (check) => async () => {
  try {
    await check();
  } finally {
    for (const peer of open.splice(0)) peer.drop();
  }
};

process.exit(await run(Object.entries(cases).map(([name, check]) => [name, tidy(check)])));
