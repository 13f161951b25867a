// The plan of a deployment: its graph with what comes, changes, moves and goes, and a button that applies just this plan.
const WIDTH = 190, HEIGHT = 46, ACROSS = 80, DOWN = 22, MARGIN = 16, LEAST = 0.65;

// Nodes and edges: the graph of the source, marked with the changes; what only the changes know is added.
function graphOf(plan, source) {
  const nodes = new Map(), edges = new Map();
  const prefix = `${plan.name}--`;
  const node = (id, label) => {
    if (!nodes.has(id)) nodes.set(id, { id, label: label || id, detail: "", action: "" });
    return nodes.get(id);
  };
  const edge = (from, to, label, action) => {
    const key = JSON.stringify([from, to, label]);
    edges.set(key, { ...(edges.get(key) || { from, to, label }), action: action || (edges.get(key) || {}).action || "" });
  };
  for (const one of (source && source.nodes) || []) node(one.id).detail = one.use || "";
  for (const one of (source && source.edges) || []) edge(node(one.from).id, node(one.to).id, one.channel || one.name || "", "");
  for (const change of plan.changes || []) {
    if (change.kind === "job") {
      const one = node(change.id.startsWith(prefix) ? change.id.slice(prefix.length) : change.id);
      one.action = change.action;
      one.detail = one.detail || change.where;
    } else if (change.kind === "channel") {
      const ends = String(change.where).split(" -> ");
      if (ends.length !== 2) continue;
      for (const from of ends[0].split(", ")) for (const to of ends[1].split(", ")) {
        edge(node(from).id, node(to).id, change.id, change.action);
      }
    } else if (change.kind === "placement" && change.action === "move") {
      const one = node(change.id.startsWith(prefix) ? change.id.slice(prefix.length) : change.id);
      one.action = one.action || "move";
    }
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()] };
}

function picture({ nodes, edges }) {
  if (!nodes.length) return null;
  const column = new Map(nodes.map((one) => [one.id, 0]));
  for (let round = 0; round < nodes.length; round++) {  // a circle stops growing after as many rounds as there are nodes
    let moved = false;
    for (const { from, to } of edges) {
      if (from !== to && column.get(to) < column.get(from) + 1 && column.get(from) + 1 < nodes.length) {
        column.set(to, column.get(from) + 1);
        moved = true;
      }
    }
    if (!moved) break;
  }
  const rows = new Map(), places = new Map();
  for (const one of nodes) {
    const x = column.get(one.id), y = rows.get(x) || 0;
    rows.set(x, y + 1);
    places.set(one.id, [MARGIN + x * (WIDTH + ACROSS), MARGIN + y * (HEIGHT + DOWN)]);
  }
  const width = 2 * MARGIN + (Math.max(...column.values()) + 1) * (WIDTH + ACROSS) - ACROSS;
  const height = 2 * MARGIN + Math.max(...rows.values()) * (HEIGHT + DOWN) - DOWN;
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const lines = edges.map((one) => {
    const [x1, y1] = places.get(one.from), [x2, y2] = places.get(one.to);
    const a = [x1 + WIDTH, y1 + HEIGHT / 2], b = [x2, y2 + HEIGHT / 2];
    const bend = Math.max(ACROSS / 2, Math.abs(b[0] - a[0]) / 2);
    // Where lines part, a name stands at the end of its own line.
    const parts = edges.some((other) => other !== one && other.from === one.from);
    const [x, y, anchor] = parts ? [b[0] - 12, b[1] - 6, "end"] : [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2 - 5, "middle"];
    return make("g", {},
      make("path", { class: one.action, d: `M${a}C${a[0] + bend} ${a[1]} ${b[0] - bend} ${b[1]} ${b}l-7 -4m7 4l-7 4` }),
      make("text", { class: "small label", "text-anchor": anchor, x, y }, cut(one.label, 12)));
  });
  const boxes = nodes.map((one) => {
    const [x, y] = places.get(one.id);
    return make("g", { class: one.action || "unchanged", "data-node": one.id },
      make("title", {}, `${one.id}: ${one.action || "unchanged"}`),
      make("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 6 }),
      make("text", { x: x + 10, y: y + 19 }, `${SIGNS[one.action] || " "} ${cut(one.label, 24)}`),
      make("text", { class: "small", x: x + 10, y: y + 35 }, cut(one.detail, 32)));
  });
  const drawn = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Graph of the plan" },
    ...lines, ...boxes);
  drawn.style.minWidth = `${Math.round(width * LEAST)}px`;  // smaller than that, it is scrolled
  return make("div", { class: "picture" }, drawn);
}

const SIGNS = { create: "+", update: "~", remove: "−", move: "→" };

function shown(plan, source) {
  const counts = Object.entries(plan.summary || {}).filter(([, count]) => count).map(([what, count]) => `${count} ${what === "unchanged" ? what : `to ${what}`}`);
  const rows = (plan.changes || []).map((one) => make("tr", {},
    make("td", { class: `${one.action} whole` }, `${SIGNS[one.action] || ""} ${one.action}`),
    make("td", { class: "whole" }, one.kind), make("td", {}, one.id), make("td", {}, one.where || ""),
    make("td", {}, one.reason || "", one.diff ? make("pre", {}, one.diff) : null)));
  const notes = [...(plan.blockers || []).map((one) => ["fault", one]), ...(plan.warnings || []).map((one) => ["update", one])];
  const applicable = plan.plan_id && !(plan.blockers || []).length && rows.length;
  const button = applicable && make("button", { id: "apply", type: "button", click: () => apply(plan, button) }, "Apply this plan");
  show(
    make("h1", {}, `Plan for ${plan.name}`),
    make("p", { class: "quiet" }, [plan.source, counts.join(", ") || "nothing changes"].filter(Boolean).join(" · ")),
    picture(graphOf(plan, source)),
    ...notes.map(([kind, one]) => make("p", { class: kind }, `${one.message} ${one.hint || ""}`)),
    rows.length ? make("table", {}, make("tbody", {}, ...rows)) : null,
    plan.changes_left_out ? make("p", { class: "quiet" }, `${plan.changes_left_out} more changes are not shown.`) : null,
    button || make("p", { class: "quiet" }, plan.plan_id ? "" : "This plan was not saved: the session is read-only."));
}

async function apply(plan, button) {
  button.disabled = true;
  tell("Applying…");
  try {
    const answer = await host.call("deployment_apply", { plan_id: plan.plan_id });
    tell(said(answer), answer.isError);
  } catch (error) {
    tell(error.message, true);
    button.disabled = false;
  }
}

async function sourceOf(plan) {
  const match = /^(workflow|blueprint):([^@]+)@(.+)$/.exec(plan.source || "");
  if (!match) return null;
  try {
    const which = { type: match[1], slug: match[2], version: match[3] };
    const answer = await host.call("catalog_get", { ...which, detail: "detailed" });
    return answer.isError ? null : (answer.structuredContent || {}).graph;
  } catch {
    return null;  // the picture is then drawn from the changes alone
  }
}

host.on("tool-result", async (answer) => {
  const plan = answer.structuredContent;
  if (answer.isError || !plan || !plan.changes) {
    show(make("pre", {}, said(answer)));
    return;
  }
  shown(plan, null);
  const source = await sourceOf(plan);
  if (source) shown(plan, source);
});
host.start().catch((error) => tell(error.message, true));
