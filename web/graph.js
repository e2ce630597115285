// The node of a graph by its place: the ids of the subgraphs around it, then its own.
export function find(graph, path) {
  const [id, ...rest] = path;
  const node = graph?.getNodeById(Number(id)) ?? graph?.getNodeById(id);
  return rest.length ? find(node?.subgraph, rest) : node;
}
