/**
 * The picture of a policy as text for a drawing program: Graphviz DOT and Mermaid. Left to right, a
 * circle for a node, its note above it (below an end), colours by kind; below it all what happens to a
 * PDU for which no branch is chosen.
 *
 * Read https://graphviz.org/doc/info/lang.html and https://mermaid.js.org/syntax/flowchart.html first.
 * Words come from the policy and may be hostile: in both notations every character but letters, digits
 * and a few harmless signs is written as a numeric entity, and what has no picture is spelled out.
 */
import type { Graph, GraphFrame, GraphNode, NodeKind } from "./graph.ts";
import { printable } from "../../core/text.ts";

const COLOURS: Readonly<Record<Exclude<NodeKind, "start">, string>> = {
  selector: "#00ff00",
  filter: "#ff0000",
  balancer: "#00ff00",
  scanner: "#ff9900",
  translator: "#6666ff",
  modifier: "#6666ff",
  end: "#999999",
};

/** Notes and labels are broken into lines of about so many characters. */
const LINE_CHARS = 24;

/** Longer texts are cut: a list may have thousands of members. */
const MAX_CHARS = 200;

// Graphviz. A node's circle is `fixedsize=shape`: the room it takes is its label's, which holds the note
// too, and as many empty lines on the other side, so that the name is in the middle of the circle.

const DOT_HEAD = `digraph policy {
  graph [rankdir=LR, ordering=out, nodesep=0.25, ranksep=0.5, pad=0.2, fontname="Helvetica"]
  node [shape=circle, fixedsize=shape, width=0.95, penwidth=5, style=filled, fillcolor=white,
        fontname="Helvetica", fontsize=13]
  edge [penwidth=3, arrowsize=0.8, fontname="Helvetica", fontsize=13]
`;

/** Empty lines between a name in the middle of the circle and a note outside it. */
const GAP_LINES = 2;

/** An empty line. Not "": many of those corrupt the memory of Graphviz 16.1 as WebAssembly. */
const EMPTY = " ";

const BACKSLASH = 0x5c;

export function renderDot(graph: Graph): string {
  const lines = framed(graph, {
    node: dotNode,
    open: ({ id, name }) => [
      `subgraph cluster_${id} {`,
      `  label="${dotText(name)}"; labeljust=l; style=dashed; color="#999999"; fontsize=13`,
    ],
    close: "}",
  });
  for (const { from, to, label } of graph.edges) {
    lines.push(`  ${from} -> ${to}${label === null ? "" : ` [label="${dotEdgeLabel(label)}"]`}`);
  }
  const caption = graph.nodes[0]?.note ?? "";
  return `${DOT_HEAD}  label="${dotText(caption)}"; labeljust=l\n${lines.join("\n")}\n}\n`;
}

function dotNode(node: GraphNode): string {
  if (node.kind === "start") {
    return `${node.id} [label="${
      dotText(node.label)
    }", shape=plaintext, fixedsize=false, fontsize=24]`;
  }
  const name = nameLines(node.label);
  const note = noteLines(node);
  const gap = new Array<string>(note.length === 0 ? 0 : GAP_LINES).fill(EMPTY);
  const room = [...gap, ...note.map(() => EMPTY)];
  const lines = node.kind === "end"
    ? [...room, ...name, ...gap, ...note]
    : [...note, ...gap, ...name, ...room];
  const label = lines.map((line) => `${dotText(line)}\\n`).join("");
  return `${node.id} [label="${label}", color="${COLOURS[node.kind]}"]`;
}

/** With room beside and below it: Graphviz puts a label on its edge, and the line would touch it. */
function dotEdgeLabel(text: string): string {
  return [...wrap(printable(text)), EMPTY].map((line) => `  ${dotText(line)}  \\n`).join("");
}

/** Two backslashes for one: Graphviz resolves entities first and escapes after. */
function dotText(text: string): string {
  return escape(printable(text), (code) => code === BACKSLASH ? "&#92;&#92;" : `&#${code};`);
}

// Mermaid. A circle is as large as its text, so the note goes inside.

export function renderMermaid(graph: Graph): string {
  const lines = framed(graph, {
    node: (node) => {
      const label = [...nameLines(node.label), ...noteLines(node)].map(mermaidText).join("<br/>");
      return node.kind === "start"
        ? `${node.id}["${label}"]:::start`
        : `${node.id}(("${label}")):::${mermaidClass(node.kind)}`;
    },
    open: ({ id, name }) => [`subgraph ${id}["${mermaidText(name)}"]`],
    close: "end",
  });
  for (const { from, to, label } of graph.edges) {
    const words = label === null
      ? ""
      : `|"${wrap(printable(label)).map(mermaidText).join("<br/>")}"|`;
    lines.push(`  ${from} -->${words} ${to}`);
  }
  lines.push("  classDef start fill:none,stroke:none,color:#000");
  for (const [kind, colour] of Object.entries(COLOURS)) {
    lines.push(
      `  classDef ${mermaidClass(kind)} fill:#fff,stroke:${colour},stroke-width:4px,color:#000`,
    );
  }
  return `flowchart LR\n${lines.join("\n")}\n`;
}

/** The bare word `end` would close a frame. */
function mermaidClass(kind: string): string {
  return kind === "end" ? "decision" : kind;
}

function mermaidText(text: string): string {
  return escape(printable(text), (code) => `#${code};`);
}

// Both

interface Notation {
  readonly node: (node: GraphNode) => string;
  /** Lines that begin a frame. */
  readonly open: (frame: GraphFrame) => readonly string[];
  readonly close: string;
}

/** Lines of all nodes, in their frames. Relies on the graph's order: a frame's nodes are together. */
function framed(graph: Graph, notation: Notation): string[] {
  const frames = new Map(graph.frames.map((frame) => [frame.id, frame]));
  const lines: string[] = [];
  const open: string[] = [];
  const put = (line: string) => lines.push(`${"  ".repeat(open.length + 1)}${line}`);
  const moveTo = (path: readonly string[]) => {
    const common = open.findIndex((id, i) => path[i] !== id);
    for (let depth = open.length; common >= 0 && depth > common; depth--) {
      open.pop();
      put(notation.close);
    }
    for (const id of path.slice(open.length)) {
      for (const line of notation.open(frames.get(id)!)) put(line);
      open.push(id);
    }
  };
  for (const node of graph.nodes) {
    const path: string[] = [];
    for (let id = node.frame; id !== null; id = frames.get(id)!.frame) path.unshift(id);
    moveTo(path);
    put(notation.node(node));
  }
  moveTo([]);
  return lines;
}

/** A node's name as one or two lines that fit in the circle. */
function nameLines(name: string): string[] {
  return [name.replace(/ .*/, ""), name.replace(/^\S+ ?/, "")].filter((line) => line !== "");
}

function noteLines({ note, count }: GraphNode): string[] {
  const lines = note === null ? [] : wrap(printable(note));
  return count === null ? lines : [...lines, `${count} PDU${count === 1 ? "" : "s"}`];
}

/** Breaks a text between words, or inside one that is too long by itself. */
function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = "";
  const words = shorten(text).split(" ").flatMap((word) => word.match(/.{1,48}/gsu) ?? [""]);
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > LINE_CHARS) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function shorten(text: string): string {
  return text.length <= MAX_CHARS ? text : `${text.slice(0, MAX_CHARS - 1).toWellFormed()}…`;
}

/** Only letters, digits and signs that mean nothing in any of the notations stay as they are. */
function escape(text: string, entity: (code: number) => string): string {
  return text.replaceAll(/[^\p{L}\p{N} .,:=/$()+_…-]/gu, (char) => entity(char.codePointAt(0)!));
}
