"use strict";
// The page's side of MCP Apps: JSON-RPC over postMessage with the host that embeds it, and nobody else.
const host = (() => {
  const pending = new Map();
  const hear = {};
  let id = 0;
  const send = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  window.addEventListener("message", (event) => {
    if (event.source !== window.parent || !event.data || event.data.jsonrpc !== "2.0") return;
    const { id: answered, method, params, result, error } = event.data;
    if (method === undefined) {
      const waiting = pending.get(answered);
      pending.delete(answered);
      if (waiting) error ? waiting.reject(new Error(error.message)) : waiting.resolve(result);
    } else if (answered === undefined) {
      if (hear[method]) hear[method](params || {});
    } else {
      const known = method === "ping" || method === "ui/resource-teardown";
      send(known ? { id: answered, result: {} } : { id: answered, error: { code: -32601, message: "Method not found" } });
    }
  });
  const request = (method, params) => new Promise((resolve, reject) => {
    pending.set(++id, { resolve, reject });
    send({ id, method, params });
  });
  const grown = () => send({
    method: "ui/notifications/size-changed",
    params: { width: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight },
  });
  return {
    on: (method, callback) => { hear[`ui/notifications/${method}`] = callback; },
    call: (name, args) => request("tools/call", { name, arguments: args }),
    async start() {
      const appInfo = { name: "sluice", version: "__VERSION__" };
      const answer = await request("ui/initialize", { appInfo, appCapabilities: {}, protocolVersion: "2026-01-26" });
      send({ method: "ui/notifications/initialized", params: {} });
      new ResizeObserver(grown).observe(document.body);
      return answer;
    },
  };
})();

const SVG = "http://www.w3.org/2000/svg";
// An element: attributes, then children; text is always text, never markup.
function make(name, attributes = {}, ...children) {
  const drawn = ["svg", "g", "rect", "text", "path", "title"].includes(name);
  const element = drawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(key, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const show = (...children) => document.getElementById("main").replaceChildren(...children.filter(Boolean));
function tell(text, fault = false) {
  const status = document.getElementById("status");
  status.className = fault ? "fault" : "quiet";
  status.textContent = text;
}
const said = (answer) => (answer.content || []).filter((part) => part.type === "text").map((part) => part.text).join("\n");
