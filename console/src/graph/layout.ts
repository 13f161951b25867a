// Where nodes stand: dagre, from left to right, in a worker so that a large graph holds up nothing. It depends on the
// structure alone, so figures never move a node.

import dagre from "@dagrejs/dagre";

export const WIDTH = 190;
export const HEIGHT = 60;

export interface Ask {
  nodes: string[];
  edges: [string, string][];
}

export type Places = Record<string, { x: number; y: number }>;

export function place({ nodes, edges }: Ask): Places {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", ranker: "tight-tree", nodesep: 24, ranksep: 110, marginx: 8, marginy: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const id of nodes) graph.setNode(id, { width: WIDTH, height: HEIGHT });
  for (const [n, [from, to]] of edges.entries()) graph.setEdge(from, to, {}, String(n));
  dagre.layout(graph);
  return Object.fromEntries(
    nodes.map((id) => {
      const { x, y } = graph.node(id);
      return [id, { x: x - WIDTH / 2, y: y - HEIGHT / 2 }];
    }),
  );
}
