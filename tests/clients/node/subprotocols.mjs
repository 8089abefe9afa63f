// What the stock client makes of an endpoint's subprotocols: node subprotocols.mjs ws://HOST:PORT CASES
//
// CASES is a JSON array of [path, offers]. Prints an array of what came of each: the subprotocol, and what the
// server said to "hi"; or why there is no connection.

import WebSocket from "ws";

const [base, cases] = process.argv.slice(2);

const outcome = ([path, offers]) =>
  new Promise((resolve) => {
    const socket = new WebSocket(base + path, offers);
    socket.on("open", () => socket.send("hi"));
    socket.on("message", (data) => {
      resolve(`${socket.protocol}: ${data}`);
      socket.close();
    });
    socket.on("error", ({ message }) => resolve(`error: ${message}`));
  });

console.log(JSON.stringify(await Promise.all(JSON.parse(cases).map(outcome))));
