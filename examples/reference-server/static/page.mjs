// The page around RoomClient: reads the two forms, shows what the client reports. Whatever came from a
// server or a person becomes text by `textContent`; there is no other way into the document.

import { RoomClient } from "./client.mjs";
import { Refused, TEXT_LIMIT, checkName, checkRoom } from "./rules.mjs";

const LOG_LIMIT = 500; // older messages leave the page
const AT_END_PX = 48; // this close to the end, the log follows what comes
const CHECKS = {
  name: (value) => value === "" || checkName(value),
  room: checkRoom,
};
// A browser tells a page nothing else about a handshake that was refused.
const NO_CONNECTION = "There is no connection yet: the server is away or full, or takes no pages from this address. Its log says which.";
const DELIVERY = {
  queued: "waiting",
  sent: "sending…",
  confirmed: "",
  unconfirmed: "unconfirmed: may be lost",
  unsent: "not sent",
  refused: "refused by the server",
};

const at = (id) => document.getElementById(id);
const [name, room, text, log, pill] = ["name", "room", "text", "log", "status"].map(at);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

let client = null; // one per visit
let known = ""; // the name that the server knows us by, also after a lost connection
let roomId = "";
let entered = false; // joined at least once in this visit
let status = { state: "idle" };
let following = true; // the log shows its end, and stays there
let unseen = 0; // messages that came while the page was not looked at

// --- Joining and leaving ---

at("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  // A phone's keyboard puts a space behind each word.
  for (const field of [name, room]) field.value = field.value.trim();
  let first = null; // what is wrong with the first field that is
  for (const field of [name, room]) {
    const why = refusal(() => CHECKS[field.id](field.value));
    field.setAttribute("aria-invalid", String(why !== ""));
    if (why !== "") first ??= [why, field];
  }
  if (first) showEntrance(...first);
  else enter();
});

/** What `check` says to the person, or nothing. */
function refusal(check) {
  try {
    check();
    return "";
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return error.message;
  }
}

function enter() {
  roomId = room.value;
  entered = false;
  log.replaceChildren();
  following = true;
  showText(at("notice"), "");
  showText(at("join-error"), "");
  at("room-name").textContent = roomId;
  at("me").textContent = "";
  at("entrance").hidden = true;
  at("conversation").hidden = false;

  known = name.value;
  const visit = (client = new RoomClient({ url: socketUrl(), token: getTicket }));
  const listeners = { state: onState, joined: onJoined, gap: onGap, chat: onChat, delivery: onDelivery, refused: onRefused };
  for (const [type, listener] of Object.entries(listeners)) {
    client.addEventListener(type, ({ detail }) => visit === client && listener(detail));
  }
  client.join(roomId);
  client.connect();
  drawComposer();
  text.focus();
}

/** A ticket for one connection. Nothing that opens anything twice is ever in this page. */
async function getTicket() {
  const response = await fetch(new URL("ticket", document.baseURI), {
    method: "POST",
    headers: { "content-type": "application/json", "x-requested-with": "page" },
    body: JSON.stringify({ name: known }),
    signal: AbortSignal.timeout(10_000),
  });
  const answer = await response.json();
  if (response.status === 400 || response.status === 403) throw new Refused(answer.error, "name");
  if (!response.ok) throw new Error(answer.error);
  known = answer.name;
  return answer.ticket;
}

function socketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

at("leave").addEventListener("click", () => leave());

function leave(error = "", field = at("join")) {
  client.leave(roomId);
  client.close();
  showEntrance(error, field);
}

function showEntrance(error, field) {
  client = null; // whatever it still reports is of no interest
  unseen = 0;
  drawTitle();
  at("entrance").hidden = false;
  at("conversation").hidden = true;
  showText(at("join-error"), error);
  field.focus();
}

function showText(element, value) {
  element.textContent = value;
  element.hidden = value === "";
}

// --- The connection ---

function onState(detail) {
  status = detail;
  const { state, text: why, code } = detail;
  drawStatus();
  drawComposer();
  // Not the countdown: a screen reader would read out every second.
  at("announce").textContent = state === "waiting" ? `${why} Reconnecting.` : pill.textContent;
  if (state === "connected") at("me").textContent = `You are ${client.userId}`;
  if (state === "connected") showText(at("notice"), "");
  if (state === "waiting" && detail.failures === 1) addEvent(entered ? why : NO_CONNECTION);
  if (detail.patient) showText(at("notice"), "The server cannot be reached. Trying once a minute from here on.");
  if (state === "stopped" && entered) showText(at("notice"), `${why} (${code}) Leave and join again to go on.`);
  if (state === "stopped" && !entered) showEntrance(code ? `${why} (${code})` : why, code ? at("join") : name);
}

function drawStatus() {
  const seconds = Math.max(1, Math.ceil((status.retryAt - Date.now()) / 1000));
  const words = {
    idle: "not connected",
    connecting: "connecting…",
    connected: "connected",
    waiting: `reconnecting in ${seconds} s`,
    stopped: `stopped: ${status.text}`,
  };
  pill.dataset.state = status.state;
  pill.textContent = words[status.state];
}
setInterval(() => status.state === "waiting" && drawStatus(), 500);

function onJoined({ again, recovered }) {
  entered = true;
  const back = recovered ? "You are back. Nothing was missed." : "You are back. What was said meanwhile may be missing.";
  addEvent(again ? back : `You joined ${roomId}.`);
}

function onGap() {
  addEvent("Messages are missing here: this device could not keep up with the room.");
}

function onRefused({ code, requestId, field, reason }) {
  const why = isText(field) && isText(reason) ? `${field}: ${reason}` : code;
  if (requestId) showText(at("notice"), `The server refused a message: ${why}`);
  else if (entered) showText(at("notice"), `The server refused that: ${why}`);
  else leave(`The server refused to let you in: ${why}`, room);
}

function isText(value) {
  return typeof value === "string";
}

// --- The log ---

function addEvent(words) {
  const item = document.createElement("p");
  item.className = "event";
  item.textContent = words;
  addToLog(item);
}

function onChat(message) {
  if (message.roomId !== roomId) return;
  const shown = message.own && ownMessage(message.requestId);
  const item = shown || createMessage(message);
  setTime(item, new Date(message.sentAt));
  // The server's order counts, so that everybody in the room reads the same conversation.
  if (item !== log.lastElementChild) addToLog(item);
  if (document.hidden) unseen += 1;
  drawTitle();
}

function createMessage({ requestId, userId, text: words, own }) {
  const item = at("message").content.firstElementChild.cloneNode(true);
  item.dataset.requestId = requestId;
  item.dataset.author = own ? "" : userId; // our own name may be new after a reconnect
  item.classList.add(own ? "own" : `tint-${tint(userId)}`);
  item.querySelector(".author").textContent = own ? "You" : userId;
  item.querySelector(".text").textContent = words;
  return item;
}

function tint(userId) {
  let sum = 0;
  for (const letter of userId) sum = (sum * 31 + letter.codePointAt(0)) % 6007;
  return sum % 6;
}

function setTime(item, date) {
  if (Number.isNaN(date.getTime())) return;
  const time = item.querySelector("time");
  time.dateTime = date.toISOString();
  time.textContent = clock.format(date);
}

function ownMessage(requestId) {
  return log.querySelector(`.own[data-request-id="${CSS.escape(requestId)}"]`);
}

function onDelivery({ requestId, status: delivery }) {
  const item = ownMessage(requestId);
  if (!item) return;
  item.dataset.delivery = delivery;
  item.querySelector(".delivery").textContent = DELIVERY[delivery];
}

function addToLog(item) {
  const after = item.nextElementSibling;
  log.append(item);
  if (log.childElementCount > LOG_LIMIT) log.firstElementChild.remove();
  for (const changed of [item, after, log.firstElementChild]) changed && group(changed);
  if (following || item.classList.contains("own")) scrollToEnd();
  else at("newest").hidden = false;
}

function scrollToEnd() {
  log.scrollTop = log.scrollHeight;
}

/** A speaker who goes on speaking is not named again. */
function group(item) {
  const before = item.previousElementSibling?.dataset.author;
  item.classList.toggle("more", before !== undefined && before === item.dataset.author);
}

log.addEventListener("scroll", () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < AT_END_PX;
  if (following) at("newest").hidden = true;
});
// A notice or a phone's keyboard takes room from the log.
new ResizeObserver(() => following && scrollToEnd()).observe(log);
at("newest").addEventListener("click", () => {
  scrollToEnd();
  text.focus();
});

// --- The composer ---

text.addEventListener("input", drawComposer);
text.addEventListener("keydown", (event) => {
  // While a character is being composed, Enter belongs to the input method.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("composer").requestSubmit();
});

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  // Enter comes here also when the button is off: a text that is too long is told so below.
  if (text.value.trim() === "" || status.state === "stopped") return;
  const words = text.value;
  let requestId;
  const why = refusal(() => (requestId = client.chat(roomId, words)));
  showText(at("notice"), why);
  if (why === "") {
    const item = createMessage({ requestId, userId: client.userId ?? "", text: words, own: true });
    setTime(item, new Date());
    addToLog(item);
    text.value = "";
  }
  drawComposer();
  text.focus();
});

function drawComposer() {
  const length = text.value.length; // UTF-16 units, as the server counts
  const counter = at("counter");
  counter.textContent = `${length} / ${TEXT_LIMIT}`;
  counter.classList.toggle("over", length > TEXT_LIMIT);
  at("send").disabled = text.value.trim() === "" || length > TEXT_LIMIT || status.state === "stopped";
}

function drawTitle() {
  document.title = client ? `${unseen ? `(${unseen}) ` : ""}${roomId} · tower-websocket` : "Rooms · tower-websocket";
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unseen = 0;
  drawTitle();
});
