"""Join a room over TLS, with the certificate in a file: wss.py URL CERTIFICATE."""

import asyncio
import json
import ssl
import sys

import websockets


async def main(url, certificate):
    context = ssl.create_default_context(cafile=certificate)
    async with websockets.connect(url, ssl=context) as socket:
        await socket.send(json.dumps({"type": "auth", "token": "dev-token:ada"}))
        assert json.loads(await socket.recv())["type"] == "auth_ok"
        await socket.send(json.dumps({"type": "join", "roomId": "den"}))
        joined = json.loads(await socket.recv())
        assert (joined["type"], joined["roomId"]) == ("joined", "den")
        text = "x" * 1000
        await socket.send(json.dumps({"type": "chat", "roomId": "den", "text": text}))
        assert json.loads(await socket.recv())["text"] == text
    print("joined, and heard itself")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 20))
