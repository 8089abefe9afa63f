// The page around RoomClient: reads the two forms, shows what the client reports. Whatever came from a
// server or a person becomes text by `textContent`; there is no other way into the document.

import { RoomClient } from "./client.mjs";
import { Refused, TEXT_LIMIT, checkName, checkRoom } from "./rules.mjs";

const LOG_LIMIT = 500; // older messages leave the page
const AT_END_PX = 48; // this close to the end, the log follows what comes
const QUIET_UNTIL = 900; // so much of a text may be written before it is counted
const CHECKS = {
  name: (value) => value === "" || checkName(value),
  room: checkRoom,
};
// A browser tells a page nothing else about a handshake that was refused.
const NO_CONNECTION = "There is no connection: the server is away or full, or takes no pages from this address. Its log says which.";
// Codes of the server's own. The others are in client.mjs.
const CLOSES = { 4100: "An operator has removed you from this server." };
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
let resumed = false; // a reload in the room: nobody has pressed anything
let refused = ""; // what the server said in the place of a ticket ...
let refusedAt; // ... and of which field
let farewell = ""; // what the form shows once it is back
let status = { state: "idle" };
let following = true; // the log shows its end, and stays there
let unseen = 0; // messages that came while the page was not looked at

// --- The address: `#room/name`. What comes before a room in the history is the form ---

function fillIn() {
  const [there, who] = location.hash.slice(1).split("/");
  if (there) room.value = there;
  if (who) name.value = who;
}

function address(...parts) {
  return `#${parts.filter(Boolean).join("/")}`;
}

const isInRoom = () => history.state?.in === true;

addEventListener("popstate", () => {
  if (client) leave();
  fillIn();
  // Forward again, or an invitation in the address bar.
  if (isInRoom()) enter();
});

// --- Joining and leaving ---

at("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  // A phone's keyboard puts a space behind each word.
  for (const field of [name, room]) field.value = field.value.trim();
  const wrong = [name, room].filter((field) => {
    const why = refusal(() => CHECKS[field.id](field.value));
    showWrong(field, why);
    return why !== "";
  });
  if (wrong.length > 0) wrong[0].focus();
  else if (!client) enter();
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

/** Says at `field` what is wrong with it, in the place of its hint. */
function showWrong(field, why) {
  field.setAttribute("aria-invalid", String(why !== ""));
  showText(at(`${field.id}-error`), why);
  at(`${field.id}-hint`).hidden = why !== "";
}

/** Tries to join. Until that has worked the page stays where it is. */
function enter() {
  roomId = room.value;
  known = name.value;
  entered = false;
  refused = "";
  refusedAt = undefined;
  showText(at("join-error"), "");
  for (const field of [name, room]) showWrong(field, "");
  const visit = (client = new RoomClient({ url: socketUrl(), token: getTicket }));
  const listeners = { state: onState, joined: onJoined, removed: onRemoved, gap: onGap, chat: onChat, delivery: onDelivery, refused: onRefused };
  for (const [type, listener] of Object.entries(listeners)) {
    client.addEventListener(type, ({ detail }) => visit === client && listener(detail));
  }
  client.join(roomId);
  client.connect();
}

/** A ticket for one connection. Nothing that opens anything twice is ever in this page. */
async function getTicket() {
  refused = "";
  const response = await ask("ticket", { name: known, again: entered || resumed });
  const answer = await response.json();
  refused = response.ok ? "" : answer.error;
  refusedAt = response.status === 400 ? name : undefined;
  // To ask again would get the same answer.
  if ([400, 401, 403].includes(response.status)) throw new Refused(answer.error);
  if (!response.ok) throw new Error(answer.error);
  known = answer.name;
  return answer.ticket;
}

function ask(path, body) {
  return fetch(new URL(path, document.baseURI), {
    method: "POST",
    headers: { "content-type": "application/json", "x-requested-with": "page" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
}

function socketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function showRoom() {
  log.replaceChildren();
  following = true;
  showText(at("notice"), "");
  at("room-name").textContent = at("room-name").title = roomId;
  at("entrance").hidden = true;
  at("conversation").hidden = false;
  const here = address(roomId, name.value);
  if (isInRoom()) history.replaceState({ in: true }, "", here);
  else history.pushState({ in: true }, "", here);
  drawComposer();
  text.focus();
}

at("leave").addEventListener("click", () => goBack());
at("back").addEventListener("click", () => goBack());

/** As the button of a browser or a phone does. */
function goBack(why = "") {
  farewell = why;
  history.back();
  // There may be nothing to go back to, as in a tab that was restored.
  const visit = client;
  setTimeout(() => visit && visit === client && leave(), 500);
}

at("logout").addEventListener("click", async () => {
  const response = await ask("logout", {}).catch(() => null);
  if (response?.ok) goBack("You are logged out.");
  else showText(at("notice"), "You are not logged out: the server did not answer.");
});

at("invite").addEventListener("click", async () => {
  const url = new URL(address(roomId), document.baseURI).href;
  try {
    await navigator.clipboard.writeText(url);
    addEvent(`The invitation is in the clipboard: ${url}`);
  } catch {
    addEvent(`The invitation is ${url}`); // no clipboard without TLS, or without leave to
  }
});

function leave() {
  client.leave(roomId);
  client.close();
  showEntrance(farewell);
}

function showEntrance(error, field) {
  farewell = "";
  client = null; // whatever it still reports is of no interest
  resumed = false;
  unseen = 0;
  status = { state: "idle" };
  drawStatus();
  drawTitle();
  at("entrance").hidden = false;
  at("conversation").hidden = true;
  if (field) showWrong(field, error);
  else showText(at("join-error"), error);
  (field ?? at("join")).focus();
}

function showText(element, value) {
  element.textContent = value;
  element.hidden = value === "";
}

// --- The connection ---

function onState(detail) {
  status = detail;
  const { state, code } = detail;
  if (!entered && (state === "waiting" || state === "stopped")) return keepOut(detail);
  drawStatus();
  drawComposer();
  // Not the countdown: a screen reader would read out every second.
  at("announce").textContent = state === "waiting" ? `${detail.text} Reconnecting.` : pill.textContent;
  if (state === "stopped") at("announce").textContent = CLOSES[code] ?? detail.text;
  if (state === "connected") at("me").textContent = `as ${client.userId}`;
}

/** The form says why there is nothing else. */
function keepOut({ state, code, text: why }) {
  client.close();
  if (state === "stopped" && code === undefined) showEntrance(why, refusedAt);
  else showEntrance(CLOSES[code] ?? (refused || (code === 1006 ? NO_CONNECTION : why)));
}

function drawStatus() {
  const words = {
    idle: "offline",
    connecting: "connecting…",
    connected: "connected",
    waiting: "offline",
    stopped: "offline",
  };
  pill.dataset.state = status.state;
  pill.textContent = words[status.state];
  at("join").textContent = status.state === "idle" ? "Join" : "Joining…";
  at("join").setAttribute("aria-disabled", String(status.state !== "idle"));
  drawBanner();
}

/** One place for all that a lost connection has to say. */
function drawBanner() {
  const { state, code, failures, retryAt, text: why } = status;
  const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
  const when = `Trying again in ${seconds} s.`;
  const words = {
    connecting: "There is no connection. Trying now…",
    waiting: `${refused || (code === 1006 && failures > 1 ? "The server cannot be reached." : why)} ${when}`,
    stopped: CLOSES[code] ?? why,
  };
  const banner = at("banner");
  banner.hidden = !entered || !(state in words);
  banner.dataset.code = code ?? "";
  banner.dataset.state = state;
  at("banner-text").textContent = words[state] ?? "";
  at("back").hidden = state !== "stopped";
}
setInterval(() => status.state === "waiting" && drawBanner(), 500);

function onJoined({ again, recovered }) {
  if (!entered) showRoom();
  entered = true;
  drawStatus();
  const back = recovered ? "You are back. Nothing was missed." : "You are back. What was said meanwhile may be missing.";
  addEvent(again ? back : `You joined ${roomId}.`);
}

function onRemoved() {
  goBack("You were removed from the room.");
}

function onGap() {
  addEvent("Messages are missing here: this device could not keep up with the room.");
}

function onRefused({ code, requestId, field, reason }) {
  const why = isText(field) && isText(reason) ? `${field}: ${reason}` : code;
  if (requestId) showText(at("notice"), `The server refused a message: ${why}`);
  else if (entered) showText(at("notice"), `The server refused that: ${why}`);
  else {
    client.close();
    showEntrance(`The server does not let you into this room: ${why}`, room);
  }
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
  counter.hidden = length < QUIET_UNTIL;
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

// --- Opened, or reloaded in a room ---

fillIn();
drawStatus();
if (isInRoom()) {
  resumed = true;
  enter();
}
