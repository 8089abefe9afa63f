// Rules: what may be sent, looked at before it is. Part of client.mjs.
//
// The server has the same rules, and by default closes the connection over a message that breaks one. That
// is its protocol. But a text that is too long, a space in a room's name, half an emoji are what people
// type, and a slip of the hand is no reason to be thrown out.

export const TEXT_LIMIT = 1000; // UTF-16 units, which is what `length` counts
export const ROOM_LIMIT = 64;
export const NAME_LIMIT = 32;

const ROOM = new RegExp(`^[A-Za-z0-9:_-]{1,${ROOM_LIMIT}}$`);
const NAME = new RegExp(`^[A-Za-z0-9_-]{1,${NAME_LIMIT}}$`);

/** Something was not taken. `message` is meant for the person, `field` names what it is about. */
export class Refused extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** Throws Refused if `text` cannot be said. */
export function checkText(text) {
  if (typeof text !== "string" || text === "") {
    throw new Refused(`The text is empty. It has 1 to ${TEXT_LIMIT} characters.`, "text");
  }
  if (text.length > TEXT_LIMIT) {
    throw new Refused(
      `The text is ${text.length} long, and has at most ${TEXT_LIMIT} characters (an emoji counts twice or more).`,
      "text",
    );
  }
  // Half of a surrogate pair has no UTF-8.
  if (/\p{Surrogate}/u.test(text)) {
    throw new Refused("The text has half a character in it, such as an emoji that was cut.", "text");
  }
}

/** Throws Refused if no room can be called `roomId`. */
export function checkRoom(roomId) {
  if (typeof roomId !== "string" || !ROOM.test(roomId)) {
    throw new Refused(`A room is 1 to ${ROOM_LIMIT} of A-Z a-z 0-9 : _ and -, without spaces.`, "roomId");
  }
}

/** Throws Refused if `name` cannot be a user's. */
export function checkName(name) {
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new Refused(`A name is 1 to ${NAME_LIMIT} of A-Z a-z 0-9 _ and -, without spaces.`, "name");
  }
}
