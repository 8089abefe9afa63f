"""What the stock client makes of an endpoint's subprotocols: subprotocols.py ws://HOST:PORT CASES

CASES is a JSON array of [path, offers]. Prints an array of what came of each: the subprotocol, and what the
server said to "hi"; or why there is no connection.
"""

import asyncio
import json
import sys

import websockets


async def outcome(base, path, offers):
    try:
        async with websockets.connect(base + path, subprotocols=offers or None) as socket:
            await socket.send("hi")
            return f"{socket.subprotocol or ''}: {await socket.recv()}"
    except websockets.exceptions.InvalidStatus as error:
        return f"error: {error.response.status_code}"


async def main(base, cases):
    print(json.dumps([await outcome(base, *case) for case in json.loads(cases)]))


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 20))
