"""What a stock client sees of the reference server.

    pip install -r requirements.txt && python check.py ws://127.0.0.1:8080/ws

The server must run with HEARTBEAT_INTERVAL_MS=500. Environment, as the server has it:
    DEV_TOKEN          dev-token
    AUTH_TIMEOUT_MS    5000

tests/clients/node/check.mjs has the same cases under the same names.
"""

import asyncio
import os
import sys
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from peer import Mismatch, Peer, Skipped, handshake, matches, run, same

if len(sys.argv) != 2:
    sys.exit("usage: python check.py ws://HOST:PORT/ws")
URL = sys.argv[1]
TOKEN = os.environ.get("DEV_TOKEN") or "dev-token"
AUTH_TIMEOUT = float(os.environ.get("AUTH_TIMEOUT_MS") or 5000) / 1000
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
ROOM = f"check-{os.getpid()}"
WAVE = "\N{WAVING HAND SIGN}"  # two UTF-16 units

CASES = []
opened = []


def case(name):
    """Adds a case. It leaves nothing behind, so that the next one does not hear its messages."""

    def register(check):
        async def tidy():
            try:
                await check()
            finally:
                while opened:
                    opened.pop().drop()

        CASES.append((name, tidy))
        return check

    return register


async def connected():
    peer = await Peer.open(URL)
    opened.append(peer)
    return peer


async def authenticated(token=TOKEN):
    peer = await connected()
    await peer.send({"type": "auth", "token": token})
    peer.welcome = await peer.expect("auth_ok")
    return peer


async def joined(room=ROOM):
    peer = await authenticated()
    await peer.send({"type": "join", "roomId": room})
    joined = await peer.expect("joined")
    matches(joined.pop("at"), r"^[0-9a-z]{8}-\d+$")
    same(joined, {"type": "joined", "roomId": room})
    return peer


def chat(text, **more):
    return {"type": "chat", "roomId": ROOM, "text": text, **more}


def refused(name, message, code):
    """Adds a case: after authentication and join, this message must end the connection."""

    @case(name)
    async def check():
        peer = await joined()
        await peer.send(message)
        await peer.expect_close(code)


@case("authenticates")
async def _():
    welcome = (await authenticated()).welcome
    matches(welcome.get("connectionId"), ".")
    matches(welcome.get("userId"), r"^user-[0-9a-f]{8}$")
    same(sorted(welcome), ["connectionId", "type", "userId"])


@case("a token with a name gives that userId")
async def _():
    peer = await authenticated(f"{TOKEN}:ada_1-x")
    same(peer.welcome["userId"], "ada_1-x")


@case("joins")
async def _():
    await joined()


@case("leaves")
async def _():
    peer = await joined()
    await peer.send({"type": "leave", "roomId": ROOM})
    same(await peer.expect("left"), {"type": "left", "roomId": ROOM})


@case("gets its own chat back with the same requestId")
async def _():
    peer = await joined()
    await peer.send(chat(f"grüße {WAVE}", requestId="request-1"))
    got = await peer.expect("chat")
    matches(got.pop("id", None), UUID)
    matches(got.pop("sentAt", None), TIME)
    matches(got.pop("at", None), r"^[0-9a-z]{8}-\d+$")
    same(got, chat(f"grüße {WAVE}", requestId="request-1", userId=peer.welcome["userId"]))


@case("a missing requestId is made by the server")
async def _():
    peer = await joined()
    await peer.send(chat("x"))
    matches((await peer.expect("chat")).get("requestId"), ".")


@case("a requestId that is no string is replaced")
async def _():
    peer = await joined()
    await peer.send(chat("x", requestId=7))
    matches((await peer.expect("chat")).get("requestId"), ".")


@case("a long requestId is cut at 100")
async def _():
    peer = await joined()
    await peer.send(chat("x", requestId="r" * 150))
    same((await peer.expect("chat")).get("requestId"), "r" * 100)


@case("1000 UTF-16 units are accepted")
async def _():
    peer = await joined()
    await peer.send(chat(WAVE * 500))
    same((await peer.expect("chat")).get("text"), WAVE * 500)


@case("others in the room hear it")
async def _():
    one, other = await joined(), await joined()
    await one.send(chat("hello", requestId="request-2"))
    own, theirs = await one.expect("chat"), await other.expect("chat")
    same(theirs, own)
    same(theirs["userId"], one.welcome["userId"])


@case("another room hears nothing")
async def _():
    one, other = await joined(), await joined(f"{ROOM}-other")
    await one.send(chat("hello"))
    await one.expect("chat")
    await other.silence(0.3)


@case("who left hears nothing")
async def _():
    one, other = await joined(), await joined()
    await other.send({"type": "leave", "roomId": ROOM})
    await other.expect("left")
    await one.send(chat("hello"))
    await one.expect("chat")
    await other.silence(0.3)


@case("an application ping gets a pong")
async def _():
    peer = await authenticated()
    await peer.send({"type": "ping"})
    matches((await peer.expect("pong")).get("sentAt"), TIME)


@case("a protocol ping gets its pong")
async def _():
    await (await authenticated()).ping("payload")


@case("answering pings keeps the connection")
async def _():
    peer = await authenticated()
    await peer.silence(2.5)
    if peer.pings < 2:
        raise Mismatch(f"{peer.pings} pings in 2.5 s", "at least 2")
    await peer.send({"type": "ping"})
    await peer.expect("pong")


@case("not answering pings ends it")
async def _():
    raise Skipped("the library always answers")


@case("chat before auth is 4403")
async def _():
    peer = await connected()
    await peer.send(chat("x"))
    await peer.expect_close(4403)


@case("a wrong token is 4403")
async def _():
    peer = await connected()
    await peer.send({"type": "auth", "token": f"not-{TOKEN}"})
    await peer.expect_close(4403)


def check_deadline(code, reason, after):
    if code != 4401:
        raise Mismatch(f"{code} {reason}", "4401")
    early, late = AUTH_TIMEOUT * 0.9, AUTH_TIMEOUT * 1.4
    if not early <= after <= late:
        raise Mismatch(f"{after * 1000:.0f} ms", f"{early * 1000:.0f} to {late * 1000:.0f} ms")


@case("silence is 4401 at the deadline")
async def _():
    peer = await connected()
    check_deadline(*await peer.end(AUTH_TIMEOUT * 1.4 + 1))


@case("pings do not prolong the deadline")
async def _():
    peer = await connected()

    async def keep_pinging():
        while True:
            await peer.ping(None)
            await asyncio.sleep(0.1)

    pinging = asyncio.create_task(keep_pinging())
    try:
        check_deadline(*await peer.end(AUTH_TIMEOUT * 1.4 + 1))
    finally:
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)


refused("chat to a room not joined is 1008", {"type": "chat", "roomId": "elsewhere", "text": "x"}, 1008)
refused("invalid JSON is 1008", "{'type':'ping'}", 1008)
refused("an array is 1008", '["ping"]', 1008)
refused("an unknown type is 1008", {"type": "shout"}, 1008)
refused("a duplicate key is 1008", '{"type":"ping","type":"ping"}', 1008)
refused("an escaped duplicate key is 1008", '{"type":"ping","t\\u0079pe":"ping"}', 1008)
refused("an unknown field is 1008", {"type": "ping", "admin": True}, 1008)
refused("a room id with a space is 1008", {"type": "join", "roomId": "a b"}, 1008)
refused("empty text is 1008", chat(""), 1008)
refused("1001 UTF-16 units are 1008", chat("x" * 1001), 1008)
refused("501 characters of two units are 1008", chat(WAVE * 501), 1008)
refused("9 KB are 1009", chat("x" * 9 * 1024), 1009)


@case("binary is 1003")
async def _():
    peer = await joined()
    await peer.send_raw(b'{"type":"ping"}', text=False)
    await peer.expect_close(1003)


@case("bad UTF-8 is 1007")
async def _():
    peer = await joined()
    await peer.send_raw(b'"\xc0\x80"', text=True)
    await peer.expect_close(1007)


@case("10,000 messages at once are 1008 rate limited")
async def _():
    peer = await joined()
    try:
        for n in range(10_000):
            await peer.send(chat(f"flood {n}"))
    except ConnectionClosed:
        pass  # the server may be faster than we are
    await peer.expect_close(1008, "rate limited")


@case("a token in the URL is HTTP 400")
async def _():
    same(await handshake(f"{URL}?token=x"), 400)


@case("the origin of another site is HTTP 403")
async def _():
    same(await handshake(URL, origin="https://evil.example"), 403)


@case("its own origin is welcome")
async def _():
    own = urlsplit(URL)
    same(await handshake(URL, origin=f"{own.scheme.replace('ws', 'http', 1)}://{own.netloc}"), 101)


sys.exit(asyncio.run(run(CASES)))
