// Types of siskin.js.

/** Listens; the returned function stops it. */
type On<Events> = <Name extends keyof Events & string>(name: Name, listener: Events[Name]) => () => void;

/** socket.io-client's socket, as far as it matters here. */
export interface Socket {
  readonly id?: string;
  readonly connected: boolean;
  on(event: string, listener: (...args: any[]) => void): unknown;
  off(event: string, listener?: (...args: any[]) => void): unknown;
  emit(event: string, ...args: any[]): unknown;
  emitWithAck(event: string, ...args: any[]): Promise<any>;
}

export interface Person {
  id: string;
  name: string;
}

export interface Options {
  /** Where siskin is; the page's own origin if absent. */
  url?: string;
  /** The user's JWT. */
  token: string;
  /** `io` of a socket.io-client of your own; the one beside this module if absent. */
  io?: (url: any, options: any) => Socket;
  /** `/ws/socket.io` if absent. */
  path?: string;
  /** Tried in this order: websocket, then polling, if absent. */
  transports?: ("websocket" | "polling")[];
  /** Whether the user looks at the page; the document's visibility if absent. */
  isFocused?: () => boolean;
  /**
   * Reads anew what the page shows, after a loss of the connection in which something may have been missed: an open chat or channel
   * gets the event `reload` with the result, then the events that came meanwhile (of which one may be in the result already). One that
   * fails is tried again, and told as `error` in the end.
   */
  read?: { chat?: (id: string) => unknown; channel?: (id: string) => unknown };
  /** Further options of socket.io-client. */
  [option: string]: unknown;
}

/**
 * - `connecting`: for the first time; `offline`: it was lost, and comes back by itself
 * - `online`: signed in
 * - `refused`: the server does not accept the token, or no longer: call `signIn` with another one
 * - `ended`: closed for good, here or by the server
 */
export type State = "connecting" | "online" | "offline" | "refused" | "ended";

export interface Notice {
  kind: "chat" | "channel";
  title: string;
  content: string;
  context: ChatContext | ChannelContext;
}

export interface ClientEvents {
  /** `recovered`, when it is online again: whether all that was missed has come, in order, before this; else it may be missing. */
  state(state: State, reason: string, recovered?: boolean): void;
  /** Signed in, for the first time or again; `recovered` as above. Where it is false, lists are to be fetched again (`refresh`). */
  online(user: Person, recovered?: boolean): void;
  /** Something that the server says is wrong, in words for the user. */
  error(message: string): void;
  /** An answer is done, or a message has come, and the user does not look at its chat or channel. */
  notify(notice: Notice): void;
  /** A list has changed: fetch it again. */
  refresh(what: "chats" | "tags" | "channels"): void;
  /** How many messages of a channel nobody looked at. */
  unread(channelId: string, count: number): void;
}

export interface Client {
  on: On<ClientEvents>;
  readonly state: State;
  readonly online: boolean;
  /** Whom the server took us for; `null` before it did. */
  readonly user: Person | null;
  /** This session's id; it is kept when a lost connection comes back with all that was missed (`recovered`). */
  readonly id: string | undefined;
  readonly chats: Chats;
  readonly channels: Channels;
  readonly calls: Calls;
  /** The socket itself, for events of your own. */
  readonly socket: Socket;
  signIn(token: string): void;
  /** Emits and waits for the ack; rejects when there is none after `timeout` ms: that is how a server refuses. */
  ask(event: string, payload: object, timeout?: number): Promise<any>;
  /**
   * Emits and waits until the server has dealt with it: `[answer]`, or `[]` if it refused. Rejects when the connection is lost or
   * stalls; an answer that comes all the same goes to `late`.
   */
  tell(event: string, payload: object, late?: (answer: any) => void): Promise<[any?]>;
  joinChannels(): void;
  watchNote(id: string, listener: (note: any) => void): () => void;
  /** Pings `usage` each second; call what it returns when the answer is done. */
  useModel(model: string): () => void;
  close(): void;
}

export interface ChatContext {
  chat_id: string | null;
  message_id: string | null;
  /** It is about the chat that was opened last. */
  here: boolean;
  /** The user looks at the page. */
  focused: boolean;
  /** It is not for another session (`session_id` of its data). */
  own: boolean;
  /** The payload as it came; `shared`: a copy of what somebody else does in a chat that the user has open. */
  event: any;
}

/** Types as `chat:completion`, `chat:title`, `status`, `message`, `replace`, `embeds`, `files`, `source`; any other as well. */
interface ByType<Context> {
  on(name: "*", listener: (type: string, data: any, context: Context) => void): () => void;
  on(type: string, listener: (data: any, context: Context) => void): () => void;
}

export interface Chats extends ByType<ChatContext> {
  current: string | null;
  open(id: string): Chat;
}

export interface Chat extends ByType<ChatContext> {
  /** Something may have been missed; this is what the option `read` brings. */
  on(name: "reload", listener: (all: any) => void): () => void;
  on(name: "*", listener: (type: string, data: any, context: ChatContext) => void): () => void;
  on(type: string, listener: (data: any, context: ChatContext) => void): () => void;
  readonly id: string;
  /** Who has it open; changes with the event `chat:presence`. */
  readonly presence: Person[];
  /** Who types; changes with the event `typists`. */
  readonly typists: { readonly list: Person[] };
  /** Whether the server let us in; changes with the event `joined`. */
  readonly joined: boolean | null;
  typing(typing: boolean): void;
  read(): void;
  close(): void;
}

export interface ChannelContext {
  channel_id: string | null;
  message_id: string | null;
  user: (Person & { role?: string }) | null;
  channel: any;
  here: boolean;
  focused: boolean;
  /** The user's own doing, maybe in another window. */
  own: boolean;
  event: any;
}

export interface Channels extends ByType<ChannelContext> {
  current: string | null;
  readonly unread: ReadonlyMap<string, number>;
  /** Ids of channels whose messages are told of only if they name the user; follows `channel:mute`. */
  readonly muted: ReadonlySet<string>;
  /** For what a page knows from its list of channels. */
  mute(id: string, muted?: boolean): void;
  open(id: string): Channel;
}

export interface Channel extends ByType<ChannelContext> {
  on(name: "reload", listener: (all: any) => void): () => void;
  on(name: "*", listener: (type: string, data: any, context: ChannelContext) => void): () => void;
  on(type: string, listener: (data: any, context: ChannelContext) => void): () => void;
  readonly id: string;
  readonly typists: { readonly list: Person[] };
  typing(typing?: boolean, messageId?: string | null): void;
  read(): void;
  close(): void;
}

export interface CallContext extends ChatContext {
  /** Aborted when the question is over: answered elsewhere, or given up. */
  signal: AbortSignal;
  /** Streams to the backend that asked for a `request:chat:completion`. */
  send(event: unknown): void;
}

export interface Calls {
  /**
   * Answers calls of a type (`execute:python`, `execute:tool`, `request:chat:completion`, `input`, `confirmation`, ...).
   * The result is acked; a thrown error as `{error: message}`. A call of a type that nobody registered is refused at once.
   */
  register(type: string, answer: (data: any, context: CallContext) => unknown): () => void;
}

export interface ProviderOptions {
  /** yjs and y-protocols/awareness: the very modules that the editor uses. */
  Y: any;
  awareness: any;
  user?: { name?: string; color?: string };
  /** Writes a note's saved content into an empty document. */
  seed?: (doc: any, content: any) => void;
  /** What a note saves a moment after an edit: `{content: {md, html, json}}`. */
  content?: (doc: any) => object;
}

/**
 * - `synced`: in step with everybody
 * - `unsaved`: what was typed here is not saved, for the provider's `reason`; it is sent again by itself when that may help
 * - `readonly`: in step, but there is no write access: what is typed here stays here
 * - `denied`: no access at all
 * - `offline`: edits are kept, and sent once the connection is back
 */
export type ProviderStatus = "connecting" | "synced" | "unsaved" | "readonly" | "denied" | "offline";

export interface ProviderEvents {
  status(status: ProviderStatus): void;
  synced(): void;
  joined(who: { user_id: string; user_name: string; user_color: string }): void;
  left(who: { user_id: string }): void;
  /** Somebody else wrote the note while nobody had it open: what was here and not saved is a version of the note now. */
  ended(): void;
}

export declare class SiskinProvider {
  constructor(client: Client, documentId: string, doc: any, options: ProviderOptions);
  on: On<ProviderEvents>;
  readonly id: string;
  readonly status: ProviderStatus;
  readonly synced: boolean;
  /**
   * Why what was typed is not saved (status `unsaved`): `too large`, there is no room in the document or the note;
   * `unavailable`, at the moment; `denied`, the note may not be written any more; `incomplete`, something before it was
   * lost and is being sent again; `unanswered`, the connection stalls, or is slow for that much; `malformed`.
   */
  readonly reason: string | null;
  /** y-protocols' Awareness of the document. */
  readonly awareness: any;
  /** The note as it was saved when the document was opened; who may only read sees nothing else until a writer comes. */
  readonly content: any;
  readonly sessions: string[];
  destroy(): void;
}

export declare function connect(options: Options): Client;
