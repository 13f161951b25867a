// The picture of a pipeline. Its structure comes as a graph; how steps are and what flows comes beside it.

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
} from "@xyflow/react";
import { useMemo } from "react";
import { State, toneOf } from "../parts/State";
import { count, rate } from "../words/numbers";
import { HEIGHT, WIDTH } from "./layout";
import type { StepFigures, StepState, Graph as Structure } from "./model";
import { usePlaces } from "./places";

export interface Shown {
  graph: Structure;
  label: string;
  states?: Map<string, StepState> | undefined;
  figures?: Map<string, StepFigures> | undefined;
  /** What a plan does to a step. */
  actions?: Map<string, string> | undefined;
  chosen?: string | undefined;
  choose?: ((step: string) => void) | undefined;
}

type StepData = {
  step: string;
  use: string;
  state: StepState | undefined;
  figures: StepFigures | undefined;
  action: string | undefined;
};
type HopData = { name: string; kind: string; from: StepFigures | undefined; to: StepFigures | undefined };

const LATE = 60; // seconds behind at which an edge turns
const VERY_LATE = 300;

function Step({ data }: NodeProps<Node<StepData>>) {
  const { state, figures, action } = data;
  const tone = state ? toneOf(state.health) : "";
  return (
    <div className={`node ${tone} ${action ?? ""}`} title={state?.reason || data.use || data.step}>
      <Handle type="target" position={Position.Left} />
      <span className="name">{data.step}</span>
      {action ? (
        <State word={action} />
      ) : state ? (
        <>
          <State word={state.health} /> <span className="quiet">{`${state.up}/${state.wanted} up`}</span>
        </>
      ) : (
        <span className="quiet">{data.use.replace(/^blueprint:/, "")}</span>
      )}
      {figures && (figures.refused > 0 || figures.errors > 0) && (
        <div className="state warning">{count(Math.max(figures.refused, figures.errors))} refused</div>
      )}
      <Handle type="source" position={Position.Right} />
    </div>
  );
}

function Hop(props: EdgeProps<Edge<HopData>>) {
  const [path, x, y] = getBezierPath(props);
  const { data } = props;
  const flow = data?.from?.out ?? null;
  const lag = data?.to?.lag ?? null;
  const color =
    lag !== null && lag >= VERY_LATE
      ? "var(--failed)"
      : lag !== null && lag >= LATE
        ? "var(--warning)"
        : "var(--quiet)";
  const width = 1.2 + Math.min(4, Math.log10(1 + (flow ?? 0)));
  return (
    <>
      <BaseEdge
        id={props.id}
        path={path}
        markerEnd={props.markerEnd ?? ""}
        style={{ stroke: color, strokeWidth: width, strokeDasharray: data?.kind === "message" ? "5 4" : undefined }}
      />
      <EdgeLabelRenderer>
        <div className="edge-label" style={{ transform: `translate(-50%,-50%) translate(${x}px,${y}px)` }}>
          {data?.name}
          {data?.from && (
            <div>
              <strong>{rate(flow)}</strong>
              {lag !== null && lag >= 1 ? ` · ${Math.round(lag)} s behind` : ""}
            </div>
          )}
        </div>
      </EdgeLabelRenderer>
    </>
  );
}

const nodeTypes = { step: Step };
const edgeTypes = { hop: Hop };

export function Graph({ graph, label, states, figures, actions, chosen, choose }: Shown) {
  const key = JSON.stringify([graph.nodes.map(({ id }) => id), graph.edges.map(({ from, to }) => [from, to])]);
  const places = usePlaces(key, {
    nodes: graph.nodes.map(({ id }) => id),
    edges: graph.edges.map(({ from, to }) => [from, to]),
  });
  const nodes = useMemo<Node<StepData>[]>(
    () =>
      graph.nodes.map((node) => ({
        id: node.id,
        type: "step",
        position: places?.[node.id] ?? { x: 0, y: 0 },
        width: WIDTH,
        height: HEIGHT,
        selected: node.id === chosen,
        ariaLabel: `Step ${node.id}, ${states?.get(node.id)?.health ?? actions?.get(node.id) ?? node.use ?? ""}`,
        data: {
          step: node.id,
          use: node.use ?? "",
          state: states?.get(node.id),
          figures: figures?.get(node.id),
          action: actions?.get(node.id),
        },
      })),
    [graph.nodes, places, states, figures, actions, chosen],
  );
  const edges = useMemo<Edge<HopData>[]>(
    () =>
      graph.edges.map((edge, n) => ({
        id: `${edge.from} ${edge.to} ${n}`,
        source: edge.from,
        target: edge.to,
        type: "hop",
        markerEnd: { type: MarkerType.ArrowClosed },
        ariaLabel: `${edge.channel ?? edge.tag ?? edge.kind} from ${edge.from} to ${edge.to}`,
        data: {
          name: edge.channel ?? edge.tag ?? "",
          kind: edge.kind,
          from: figures?.get(edge.from),
          to: figures?.get(edge.to),
        },
      })),
    [graph.edges, figures],
  );
  if (!graph.nodes.length) return null;
  return (
    <div className="graph" role="group" aria-label={label}>
      {places && (
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={nodeTypes}
          edgeTypes={edgeTypes}
          nodesDraggable={false}
          nodesConnectable={false}
          elementsSelectable
          onNodeClick={(_, node) => choose?.(node.id)}
          onSelectionChange={({ nodes: [one] }) => one && one.id !== chosen && choose?.(one.id)}
          fitView
          fitViewOptions={{ maxZoom: 1, padding: 0.12 }}
          minZoom={0.1}
        >
          <Controls showInteractive={false} />
        </ReactFlow>
      )}
    </div>
  );
}
