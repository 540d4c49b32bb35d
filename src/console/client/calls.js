// Questions of a backend to this browser: a registered function's result, or its error, is the ack.

export class Calls {
  #functions = new Map();
  static KEPT = 64;
  /** Questions that are not over, by interaction id: they may be asked again, or answered elsewhere. */
  #open = new Map();
  #client;

  constructor(client) {
    this.#client = client;
  }

  /** @returns a function that unregisters it */
  register(type, answer) {
    this.#functions.set(type, answer);
    return () => this.#functions.get(type) === answer && this.#functions.delete(type);
  }

  /** Answers, if the question is for this session. Never throws. */
  async answer(type, data, context, ack) {
    if (!context.own) return;
    const interaction = data?.interaction_id;
    let asked = this.#open.get(interaction);
    if (!asked) {
      const answer = this.#functions.get(type);
      if (!answer) return ack({ error: `This browser does not answer ${type}.` });
      asked = { end: new AbortController(), answered: false };
      asked.answer = this.#result(answer, data, context, asked);
      if (interaction) this.#keep(interaction, asked);
    }
    // Asked again, since the connection was lost: there is one answer.
    ack(await asked.answer);
  }

  async #result(answer, data, context, asked) {
    try {
      return (await answer(data, this.#more(data, context, asked.end.signal))) ?? null;
    } catch (error) {
      return { error: String(error?.message ?? error) };
    } finally {
      asked.answered = true;
    }
  }

  #keep(interaction, asked) {
    this.#open.set(interaction, asked);
    for (const [known, { answered }] of this.#open) {
      if (this.#open.size <= Calls.KEPT) break;
      if (answered) this.#open.delete(known);
    }
  }

  /** A question is over, answered or not. */
  done(interaction) {
    const asked = this.#open.get(interaction);
    this.#open.delete(interaction);
    if (!asked?.answered) asked?.end.abort();
  }

  /** What a function gets beside the data: `signal` ends with the question, `send` streams to the backend. */
  #more(data, context, signal) {
    const send = (event) => data?.channel && this.#client.socket.emit(data.channel, event);
    return { ...context, signal, send };
  }
}
