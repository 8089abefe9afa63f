// Pace: how fast a client speaks. Part of client.mjs.
//
// A server closes a connection that is too fast (1008 "rate limited"), and by then the messages are
// lost. Who stays below its quota waits a moment instead: a person who leans on the Enter key, pastes line
// after line, or comes back to a hundred rooms.

const BURST = 30; // the server's are 40 at once ...
const PER_SECOND = 15; // ... and 20 a second

export class Pace {
  #left = BURST;
  #at = performance.now();

  /** Whether something may be sent now, which then counts. */
  take() {
    this.#refill();
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** Counts what is sent whether or not it may be. */
  spend() {
    this.#refill();
    this.#left -= 1;
  }

  #refill() {
    const now = performance.now();
    this.#left = Math.min(BURST, this.#left + ((now - this.#at) / 1000) * PER_SECOND);
    this.#at = now;
  }
}
