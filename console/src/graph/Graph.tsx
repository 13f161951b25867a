// The picture of a pipeline. Its structure comes as a graph; how steps are and what flows comes from the board beside it.

import "@xyflow/react/dist/base.css";
import {
  BaseEdge,
  Controls,
  type Edge,
  EdgeLabelRenderer,
  type EdgeProps,
  getBezierPath,
  Handle,
  MarkerType,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  useReactFlow,
  useStore,
} from "@xyflow/react";
import { type KeyboardEvent, memo, useEffect, useMemo, useRef } from "react";
import { State, toneOf } from "../parts/State";
import { count, rate } from "../words/numbers";
import { useBoard, useFiguresOf, useStateOf } from "./board";
import { HEIGHT, WIDTH } from "./layout";
import type { Graph as Structure } from "./model";
import { usePlaces } from "./places";
import { beside, groupName, isGroup, related } from "./walking";

export interface Shown {
  graph: Structure;
  label: string;
  /** What a plan does to a step. */
  actions?: Map<string, string> | undefined;
  chosen?: string | undefined;
  choose?: ((id: string) => void) | undefined;
  /** An edge that is chosen: `FROM TO`. */
  chooseEdge?: ((id: string) => void) | undefined;
  /** How many steps each group hides. */
  hidden?: ReadonlyMap<string, number> | undefined;
}

type StepData = { step: string; use: string; action: string | undefined; hidden: number };
type HopData = { name: string; kind: string };

export const LATE = 60; // seconds behind at which an edge turns amber
export const VERY_LATE = 300; // and red
const FAR = 0.4; // zoom below which there is room for a name alone

const useFar = () => useStore((flow) => flow.transform[2] < FAR);

const Step = memo(function Step({ data }: NodeProps<Node<StepData>>) {
  const { step, use, action, hidden } = data;
  const state = useStateOf(step);
  const figures = useFiguresOf(step);
  const far = useFar();
  const tone = state ? toneOf(state.health) : "";
  const name = isGroup(step) ? groupName(step) : step;
  const perMinute = (figures?.errorRate ?? 0) * 60;
  return (
    <div className={`node ${tone} ${action ?? ""} ${far ? "far" : ""}`} title={state?.reason || use || step}>
      <Handle type="target" position={Position.Left} />
      <span className="name">{name}</span>
      {!far && (
        <>
          {action ? (
            <State word={action} />
          ) : state ? (
            <>
              <State word={state.health} /> <span className="quiet">{`${state.up}/${state.wanted} up`}</span>
            </>
          ) : (
            !hidden && <span className="quiet">{use.replace(/^blueprint:/, "")}</span>
          )}
          {hidden > 0 && <div className="quiet">{hidden} hidden</div>}
          {!hidden && perMinute > 0 ? (
            <div className="state warning">{count(Math.ceil(perMinute))} errors/min</div>
          ) : (
            !hidden &&
            figures &&
            figures.refused > 0 && <div className="state warning">{count(figures.refused)} refused</div>
          )}
        </>
      )}
      <Handle type="source" position={Position.Right} />
    </div>
  );
});

/** The colour of an edge by the age of the oldest that waits at its end. */
export const ageColour = (lag: number | null): string =>
  lag === null || lag < LATE ? "var(--quiet)" : lag < VERY_LATE ? "var(--warning)" : "var(--failed)";

const Hop = memo(function Hop(props: EdgeProps<Edge<HopData>>) {
  const [path, x, y] = getBezierPath(props);
  const { data } = props;
  const flow = useFiguresOf(props.source)?.out ?? null;
  const to = useFiguresOf(props.target);
  const { live } = useBoard();
  const far = useFar();
  const lag = to?.lag ?? null;
  const waiting = to?.waiting ?? null;
  const width = 1.2 + Math.min(4, Math.log10(1 + (flow ?? 0)));
  return (
    <>
      <BaseEdge
        id={props.id}
        path={path}
        markerEnd={props.markerEnd ?? ""}
        style={{
          stroke: ageColour(lag),
          strokeWidth: width,
          strokeDasharray: data?.kind === "message" ? "5 4" : undefined,
        }}
      />
      {!far && (
        <EdgeLabelRenderer>
          <div
            className="edge-label"
            style={{ transform: `translate(-50%,-50%) translate(${x}px,${y}px)`, ...props.style }}
          >
            {data?.name}
            {live && (
              <div>
                <strong>{rate(flow)}</strong>
                {waiting !== null && waiting > 0 ? ` · ${count(waiting)} wait` : ""}
                {lag !== null && lag >= 1 ? ` · ${Math.round(lag)} s behind` : ""}
              </div>
            )}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
});

const FIT = { maxZoom: 1, padding: 0.12 };
const SMALL = 60; // steps that are fitted into the picture whenever its width changes

/** Keep in view what was in view when the picture gets narrower, as it does when something opens beside it. */
function Keep({ chosen, many }: { chosen: string | undefined; many: number }) {
  const { fitView, setCenter, getZoom, getNode } = useReactFlow();
  const width = useStore((flow) => flow.width);
  const before = useRef(width);
  useEffect(() => {
    if (!width || width === before.current) return;
    const first = !before.current;
    before.current = width;
    const node = chosen ? getNode(chosen) : undefined;
    if (first) return;
    if (many <= SMALL) void fitView(FIT);
    else if (node)
      void setCenter(node.position.x + WIDTH / 2, node.position.y + HEIGHT / 2, { zoom: Math.max(FAR, getZoom()) });
  }, [width, chosen, many, fitView, setCenter, getZoom, getNode]);
  return null;
}

// Where edges begin and end, which is then not measured: they are drawn at once, and stay when a step is told anew.
const HANDLES = [
  { type: "target" as const, position: Position.Left, x: 0, y: HEIGHT / 2, width: 1, height: 1 },
  { type: "source" as const, position: Position.Right, x: WIDTH, y: HEIGHT / 2, width: 1, height: 1 },
];
const SIZE = { width: WIDTH, height: HEIGHT };
const nodeTypes = { step: Step };
const edgeTypes = { hop: Hop };
const DIM = { opacity: 0.25 };

export function Graph({ graph, label, actions, chosen, choose, chooseEdge, hidden }: Shown) {
  const box = useRef<HTMLDivElement>(null);
  const key = JSON.stringify([graph.nodes.map(({ id }) => id), graph.edges.map(({ from, to }) => [from, to])]);
  const places = usePlaces(key, {
    nodes: graph.nodes.map(({ id }) => id),
    edges: graph.edges.map(({ from, to }) => [from, to]),
  });
  const near = useMemo(() => (chosen && choose ? related(graph, chosen) : null), [graph, chosen, choose]);
  const nodes = useMemo<Node<StepData>[]>(
    () =>
      graph.nodes.map((node) => ({
        id: node.id,
        type: "step",
        position: places?.[node.id] ?? { x: 0, y: 0 },
        ...SIZE,
        measured: SIZE,
        handles: HANDLES,
        selected: node.id === chosen,
        ...(near && !near.has(node.id) ? { style: DIM } : {}),
        ariaLabel: `Step ${isGroup(node.id) ? groupName(node.id) : node.id}, ${actions?.get(node.id) ?? node.use ?? ""}`,
        data: {
          step: node.id,
          use: node.use ?? "",
          action: actions?.get(node.id),
          hidden: hidden?.get(node.id) ?? 0,
        },
      })),
    [graph.nodes, places, actions, chosen, near, hidden],
  );
  const edges = useMemo<Edge<HopData>[]>(
    () =>
      graph.edges.map((edge, n) => ({
        id: `${edge.from} ${edge.to} ${n}`,
        source: edge.from,
        target: edge.to,
        type: "hop",
        markerEnd: { type: MarkerType.ArrowClosed },
        interactionWidth: 24,
        ...(near && !(near.has(edge.from) && near.has(edge.to)) ? { style: DIM } : {}),
        ariaLabel: `${edge.channel ?? edge.tag ?? edge.kind} from ${edge.from} to ${edge.to}`,
        data: { name: edge.channel ?? edge.tag ?? "", kind: edge.kind },
      })),
    [graph.edges, near],
  );
  const walk = (event: KeyboardEvent) => {
    const on = document.activeElement?.closest<HTMLElement>(".react-flow__node, .react-flow__edge");
    const here = on?.dataset.id;
    const step = on?.classList.contains("react-flow__edge") ? undefined : (here ?? chosen);
    const to = step && places ? beside(graph, places, step, event.key) : undefined;
    if (to) {
      choose?.(to);
      box.current?.querySelector<HTMLElement>(`.react-flow__node[data-id="${CSS.escape(to)}"]`)?.focus();
    } else if (here && (event.key === "Enter" || event.key === " ")) {
      const edge = edges.find(({ id }) => id === here);
      if (edge) chooseEdge?.(`${edge.source} ${edge.target}`);
      else choose?.(here);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  if (!graph.nodes.length) return null;
  return (
    <div ref={box} className="graph" role="group" aria-label={label} onKeyDownCapture={walk}>
      {places && (
        <ReactFlow
          key={key}
          nodes={nodes}
          edges={edges}
          nodeTypes={nodeTypes}
          edgeTypes={edgeTypes}
          nodesDraggable={false}
          nodesConnectable={false}
          edgesFocusable={!!chooseEdge}
          elementsSelectable
          onNodeClick={(_, node) => choose?.(node.id)}
          onEdgeClick={(_, edge) => chooseEdge?.(`${edge.source} ${edge.target}`)}
          fitView
          fitViewOptions={FIT}
          minZoom={0.05}
        >
          <Keep chosen={chosen} many={graph.nodes.length} />
          <Controls showInteractive={false} />
        </ReactFlow>
      )}
    </div>
  );
}
