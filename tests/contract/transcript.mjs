// Reads a transcript and compares what came with what it says. README.md describes the form.

import { readFileSync, readdirSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const here = new URL("rows/", import.meta.url);
export const rows = readdirSync(here).filter((name) => name.endsWith(".txt")).sort();

const sending = new Set(["+", "-", ">", ">?", "=>", "wait"]);
const form = /^([\w/]+)\s+(<\?|>\?|=>|[-+<>=!])(?:\s+(.*))?$/s;

/** JSON values one after another: the shortest text that parses is the next one. */
export function values(text) {
  const found = [];
  for (let rest = text.trim(); rest; ) {
    let end = 1;
    for (; end <= rest.length; end++) {
      if (end < rest.length && !/[\s]/.test(rest[end])) continue;
      try {
        found.push(JSON.parse(rest.slice(0, end)));
        break;
      } catch {}
    }
    if (end > rest.length) throw new Error(`not JSON: ${rest}`);
    rest = rest.slice(end).trim();
  }
  return found;
}

/** The steps of a transcript: a sending line, and what it causes. */
export function read(name) {
  const joined = [];
  readFileSync(new URL(name, here), "utf8")
    .split("\n")
    .forEach((text, at) => {
      if (!text.trim() || text.startsWith("#")) return;
      if (/^\s/.test(text)) joined.at(-1)[1] += " " + text.trim();
      else joined.push([at + 1, text]);
    });
  const steps = [];
  for (const [number, text] of joined) {
    const line = parse(text, number);
    if (sending.has(line.mark)) steps.push({ line, causes: [] });
    else steps.at(-1).causes.push(line);
  }
  return steps;
}

function parse(text, number) {
  if (text.startsWith("wait ")) return { who: "", mark: "wait", rest: text.slice(5), number, text };
  const match = form.exec(text);
  if (!match) throw new Error(`line ${number} is no line of a transcript: ${text}`);
  return { who: match[1], mark: match[2], rest: (match[3] ?? "").trim(), number, text };
}

/** The event's name and its arguments. */
export function nameAndArgs(line) {
  const [name] = line.rest.split(" ", 1);
  return [name, values(line.rest.slice(name.length))];
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** What the placeholders stand for. */
export class Names {
  constructor(token, sid) {
    this.of = { token, sid, the: (name) => this.the.get(name) };
    this.the = new Map();
  }

  /** The value to send. */
  fill(value) {
    if (Array.isArray(value)) return value.map((inner) => this.fill(inner));
    if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.fill(inner)]));
    const match = typeof value === "string" && /^\{(token|sid|the) (\S+)\}$/.exec(value);
    return match ? this.of[match[1]](match[2]) : value;
  }

  /** Whether what came is what the transcript says. */
  fits(said, came) {
    if (said === "{any}") return true;
    if (said === "{now}") return typeof came === "number" && Math.abs(came - Date.now() / 1000) < 5;
    const the = typeof said === "string" && /^\{the (\S+)\}$/.exec(said);
    if (the) {
      if (!this.the.has(the[1])) this.the.set(the[1], came);
      return isDeepStrictEqual(this.the.get(the[1]), came);
    }
    if (isObject(said) && isObject(came)) {
      const keys = Object.keys(said);
      return keys.length === Object.keys(came).length && keys.every((key) => key in came && this.fits(said[key], came[key]));
    }
    if (Array.isArray(said) && Array.isArray(came))
      return said.length === came.length && said.every((inner, at) => this.fits(inner, came[at]));
    return this.fill(said) === came;
  }
}
