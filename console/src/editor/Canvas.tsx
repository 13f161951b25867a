// The picture of the document, to work on: each gesture is handed on as what it means, and nothing is kept here but
// where somebody nudged a box to, which is no part of the document.

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
  type ReactFlowInstance,
  useConnection,
} from "@xyflow/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { HEIGHT, WIDTH } from "../graph/layout";
import { usePlaces } from "../graph/places";
import type { Box, Drawing, Line } from "./drawing";
import { DRAGGED } from "./Palette";

export type Chosen =
  | { kind: "step"; id: string }
  | { kind: "channel"; name: string; from: string; to: string }
  | { kind: "message"; index: number }
  | null;

interface Given {
  drawing: Drawing;
  /** How many faults each box has, by its id. */
  faults: Map<string, number>;
  chosen: Chosen;
  choose: (chosen: Chosen) => void;
  connect: (from: [string, string], to: [string, string]) => void;
  remove: (chosen: NonNullable<Chosen>) => void;
  drop: (use: string) => void;
  insert: (line: Line) => void;
  /** The text cannot be read: this is what it last said. */
  frozen: boolean;
}

type BoxData = { box: Box; faults: number };
type LineData = { line: Line; insert: ((line: Line) => void) | null };

const FIT = { maxZoom: 1, padding: 0.12 };

const along = (n: number, many: number) => `${((n + 1) / (many + 1)) * 100}%`;

function StepBox({ id, data, selected }: NodeProps<Node<BoxData>>) {
  const { box, faults } = data;
  const closed = useConnection((now) => now.inProgress && now.fromNode.id !== id && !box.in.length);
  const many = box.out.length > 1 || box.step?.dispatch;
  return (
    <div className={`node ${faults ? "failed" : ""} ${closed ? "faint" : ""} ${selected ? "chosen" : ""}`}>
      {box.in.map((port, n) => (
        <Handle
          key={port}
          id={port}
          type="target"
          position={Position.Left}
          style={{ top: along(n, box.in.length) }}
          title={`in: ${port}`}
        />
      ))}
      <span className="name">{box.label || "no id"}</span>
      <span className={box.step?.slot ? "state warning" : "quiet"}>
        {box.step
          ? box.step.slot && !box.step.use
            ? `open slot: ${box.step.slot.accepts}`
            : (box.step.use ?? "no module").replace(/^blueprint:/, "")
          : "end of the workflow"}
      </span>
      {faults > 0 && <div className="state failed">{faults === 1 ? "1 fault" : `${faults} faults`}</div>}
      {!faults && box.step?.dispatch && <div className="quiet">◇ {box.step.dispatch.mode}</div>}
      {box.out.map((port, n) => (
        <Handle
          key={port}
          id={port}
          type="source"
          position={Position.Right}
          style={{ top: along(n, box.out.length) }}
          title={`out: ${port}`}
        >
          {many && <span className="port">{port}</span>}
        </Handle>
      ))}
    </div>
  );
}

function Way(props: EdgeProps<Edge<LineData>>) {
  const [path, x, y] = getBezierPath(props);
  const line = props.data?.line;
  const insert = props.data?.insert;
  return (
    <>
      <BaseEdge
        id={props.id}
        path={path}
        markerEnd={props.markerEnd ?? ""}
        interactionWidth={16}
        style={{
          stroke: props.selected ? "var(--working)" : "var(--quiet)",
          strokeWidth: props.selected ? 2 : 1.2,
          strokeDasharray: line?.kind === "message" ? "5 4" : undefined,
        }}
      />
      <EdgeLabelRenderer>
        <div className="edge-label" style={{ transform: `translate(-50%,-50%) translate(${x}px,${y}px)` }}>
          {line?.label}
          {line && line.transport !== "" && line.transport !== "worker-channel" && (
            <div className="quiet">{line.transport}</div>
          )}
          {props.selected && line?.kind === "channel" && insert && (
            <button
              type="button"
              className="insert"
              aria-label={`Insert a step between ${line.from} and ${line.to}`}
              onClick={() => insert(line)}
            >
              +
            </button>
          )}
        </div>
      </EdgeLabelRenderer>
    </>
  );
}

const nodeTypes = { step: StepBox };
const edgeTypes = { way: Way };

export function Canvas({ drawing, faults, chosen, choose, connect, remove, drop, insert, frozen }: Given) {
  const [nudged, setNudged] = useState<Record<string, { x: number; y: number }>>({});
  const ask = {
    nodes: drawing.boxes.map(({ id }) => id),
    edges: drawing.lines.map(({ from, to }): [string, string] => [from, to]),
  };
  const places = usePlaces(JSON.stringify(ask), ask);
  const [last, setLast] = useState(places);
  if (places && places !== last) setLast(places); // boxes stay while the next layout is made
  const now = places ?? last;
  const flow = useRef<ReactFlowInstance<Node<BoxData>, Edge<LineData>> | null>(null);
  useEffect(() => {
    if (places) requestAnimationFrame(() => void flow.current?.fitView(FIT)); // with what came, and without what went
  }, [places]);
  const nodes = useMemo<Node<BoxData>[]>(
    () =>
      drawing.boxes.map((box) => ({
        id: box.id,
        type: "step",
        position: nudged[box.id] ?? now?.[box.id] ?? { x: 0, y: 0 },
        width: WIDTH,
        height: HEIGHT,
        selected: chosen?.kind === "step" && chosen.id === box.id,
        selectable: box.step !== null,
        ariaLabel: `Step ${box.label || "without id"}, ${box.step?.use ?? "no module"}, ${faults.get(box.id) ?? 0} faults`,
        data: { box, faults: faults.get(box.id) ?? 0 },
      })),
    [drawing.boxes, now, nudged, chosen, faults],
  );
  const edges = useMemo<Edge<LineData>[]>(
    () =>
      drawing.lines.map((line) => ({
        id: line.id,
        source: line.from,
        target: line.to,
        sourceHandle: line.fromPort || null,
        targetHandle: line.toPort || null,
        type: "way",
        selected:
          (chosen?.kind === "channel" &&
            chosen.name === line.label &&
            chosen.from === line.from &&
            chosen.to === line.to) ||
          (chosen?.kind === "message" && chosen.index === line.index),
        markerEnd: { type: MarkerType.ArrowClosed },
        ariaLabel: `${line.label || "an end of the workflow"} from ${line.from} to ${line.to}`,
        data: { line, insert: frozen ? null : insert },
      })),
    [drawing.lines, chosen, frozen, insert],
  );
  const onward = useMemo(() => {
    const next = new Map<string, string[]>();
    for (const { from, to, kind } of drawing.lines)
      if (kind === "channel") next.set(from, [...(next.get(from) ?? []), to]);
    return next;
  }, [drawing.lines]);
  const leads = (from: string, to: string, seen = new Set<string>()): boolean => {
    if (from === to) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    return (onward.get(from) ?? []).some((one) => leads(one, to, seen));
  };
  const chosenOf = (edge: Edge<LineData>): Chosen => {
    const line = edge.data?.line;
    if (line?.kind === "message") return { kind: "message", index: line.index };
    return line?.kind === "channel" ? { kind: "channel", name: line.label, from: line.from, to: line.to } : null;
  };
  return (
    <section
      className={`graph canvas ${frozen ? "dim" : ""}`}
      aria-label="The steps as a picture"
      onDragOver={(event) => event.dataTransfer.types.includes(DRAGGED) && event.preventDefault()}
      onDrop={(event) => {
        const use = event.dataTransfer.getData(DRAGGED);
        if (use && !frozen) drop(use);
      }}
    >
      {now && (
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={nodeTypes}
          edgeTypes={edgeTypes}
          nodesConnectable={!frozen}
          connectOnClick
          onConnect={({ source, sourceHandle, target, targetHandle }) =>
            connect([source, sourceHandle ?? ""], [target, targetHandle ?? ""])
          }
          isValidConnection={({ source, target }) => !leads(target, source)}
          onNodesChange={(changes) => {
            const moved = changes.flatMap((one) =>
              one.type === "position" && one.position ? [[one.id, one.position] as const] : [],
            );
            if (moved.length) setNudged((before) => ({ ...before, ...Object.fromEntries(moved) }));
            const picked = changes.find((one) => one.type === "select" && one.selected);
            if (picked?.type === "select") choose({ kind: "step", id: picked.id });
          }}
          onEdgesChange={(changes) => {
            const picked = changes.find((one) => one.type === "select" && one.selected);
            const edge = picked?.type === "select" ? edges.find(({ id }) => id === picked.id) : undefined;
            if (edge) choose(chosenOf(edge));
          }}
          onPaneClick={() => choose(null)}
          onBeforeDelete={async () => {
            if (chosen && !frozen) remove(chosen);
            return false; // what goes is decided by the text
          }}
          fitView
          fitViewOptions={FIT}
          onInit={(made) => {
            flow.current = made;
          }}
          minZoom={0.1}
        >
          <Controls showInteractive={false} />
        </ReactFlow>
      )}
      {Object.keys(nudged).length > 0 && (
        <button type="button" className="tidy" onClick={() => setNudged({})}>
          Tidy
        </button>
      )}
    </section>
  );
}
