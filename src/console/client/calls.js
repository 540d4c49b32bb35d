// Questions of a backend to this browser: a registered function's result, or its error, is the ack.

export class Calls {
  #functions = new Map();
  /** Questions that may be answered elsewhere: interaction id to what ends them here. */
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
    const answer = this.#functions.get(type);
    if (!answer) return ack({ error: `This browser does not answer ${type}.` });
    const interaction = data?.interaction_id;
    const end = new AbortController();
    if (interaction) this.#open.set(interaction, end);
    try {
      ack((await answer(data, this.#more(data, context, end.signal))) ?? null);
    } catch (error) {
      ack({ error: String(error?.message ?? error) });
    } finally {
      this.#open.delete(interaction);
    }
  }

  /** A question is over, answered or not. */
  done(interaction) {
    this.#open.get(interaction)?.abort();
  }

  /** What a function gets beside the data: `signal` ends with the question, `send` streams to the backend. */
  #more(data, context, signal) {
    const send = (event) => data?.channel && this.#client.socket.emit(data.channel, event);
    return { ...context, signal, send };
  }
}
