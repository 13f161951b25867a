// A page's side of MCP Apps: JSON-RPC over postMessage with the host that embeds it, and nobody else.

export interface Answer {
  content?: { type: string; text?: string }[];
  structuredContent?: Record<string, unknown>;
  isError?: boolean;
}

interface Message {
  jsonrpc?: string;
  id?: number | string;
  method?: string;
  params?: unknown;
  result?: unknown;
  error?: { message: string };
}

const NOT_FOUND = { code: -32601, message: "Method not found" };
const ASKED_OF_PAGES = ["ping", "ui/resource-teardown"];
const PROTOCOL = "2026-01-26";

const pending = new Map<number | string, { done: (result: unknown) => void; fail: (error: Error) => void }>();
let asked = 0;

const send = (message: Message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");

function request(method: string, params: unknown): Promise<unknown> {
  const id = ++asked;
  return new Promise((done, fail) => {
    pending.set(id, { done, fail });
    send({ id, method, params });
  });
}

/** Call a tool of the server through the host. */
export const call = (name: string, args: unknown): Promise<Answer> =>
  request("tools/call", { name, arguments: args }) as Promise<Answer>;

/** Begin, and show each answer that the host hands over. */
export async function start(show: (answer: Answer) => void): Promise<void> {
  window.addEventListener("message", ({ source, data }: MessageEvent<Message | null>) => {
    if (source !== window.parent || data?.jsonrpc !== "2.0") return;
    const { id, method, params, result, error } = data;
    if (method === "ui/notifications/tool-result") show((params ?? {}) as Answer);
    else if (method === undefined && id !== undefined) {
      const waiting = pending.get(id);
      pending.delete(id);
      if (error) waiting?.fail(new Error(error.message));
      else waiting?.done(result);
    } else if (id !== undefined)
      send(ASKED_OF_PAGES.includes(method ?? "") ? { id, result: {} } : { id, error: NOT_FOUND as Message["error"] });
  });
  const appInfo = { name: "sluice", version: document.documentElement.dataset.version ?? "" };
  await request("ui/initialize", { appInfo, appCapabilities: {}, protocolVersion: PROTOCOL });
  send({ method: "ui/notifications/initialized", params: {} });
  new ResizeObserver(() => {
    const { scrollWidth: width, scrollHeight: height } = document.documentElement;
    send({ method: "ui/notifications/size-changed", params: { width, height } });
  }).observe(document.body);
}

/** What an answer says in words. */
export const said = (answer: Answer): string =>
  (answer.content ?? []).flatMap((part) => (part.type === "text" ? [part.text ?? ""] : [])).join("\n");
