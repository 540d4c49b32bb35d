// The HTTP API, with the key that was pasted.

/** Why the API did not do it, in words for the reader. `status` is 0 when there was no answer. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const TIMEOUT = 10_000;

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  get = (path) => this.#ask("GET", path);
  put = (path, body) => this.#ask("PUT", path, body);
  post = (path, body) => this.#ask("POST", path, body);

  /** Gets what is there, or makes it first. */
  async ensure(path, body) {
    try {
      return await this.get(path);
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      return this.put(path, body);
    }
  }

  async #ask(method, path, body) {
    const headers = { authorization: `Bearer ${this.#key}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const signal = AbortSignal.timeout(TIMEOUT);
    const asked = { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store" };
    let answer, text;
    try {
      answer = await fetch(`api/v1${path}`, asked);
      text = await answer.text();
    } catch {
      throw new Problem(0, "siskin can't be reached: it is not running, or the network is away.");
    }
    const data = parse(text);
    if (answer.ok) return data;
    throw new Problem(answer.status, data?.detail ?? `${answer.status} ${answer.statusText}`);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
