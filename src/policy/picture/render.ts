/**
 * The picture of a policy as text for a drawing program: Graphviz DOT and Mermaid. Left to right, a
 * circle for a node, its note above it (below an end), colours by kind; below it all what happens
 * to a PDU for which no branch is chosen.
 *
 * Read https://graphviz.org/doc/info/lang.html and https://mermaid.js.org/syntax/flowchart.html
 * first. Words come from the policy and may be hostile: in both notations every character but
 * letters, digits and a few harmless signs is written as a numeric entity, and what has no picture
 * is spelled out.
 */
import type { Graph, GraphEdge, GraphFrame, GraphNode, NodeKind } from "./graph.ts";
import { printable } from "../../core/text.ts";
import { widestOf } from "./text_width.ts";

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

/** Likewise in a table. */
const ROW_CHARS = 48;

/** Longer texts are cut: a list may have thousands of members. */
const MAX_CHARS = 200;

// Graphviz. A node's circle is `fixedsize=shape`: the room it takes is its label's, which holds the
// note too, and as many empty lines on the other side, so that the name is in the middle of the
// circle. An edge's label is a node in the middle of the edge, so nothing else is drawn where it
// is. Where many edges leave a node, those that lead on a single path to an end are the rows of a
// table, path and all.

const DOT_HEAD = `digraph policy {
  graph [rankdir=LR, ordering=out, nodesep=0.2, ranksep=0.35, pad=0.2, fontname="Helvetica"]
  node [shape=circle, fixedsize=shape, width=1.2, penwidth=5, style=filled, fillcolor=white,
        fontname="Helvetica", fontsize=12]
  edge [penwidth=3, arrowsize=0.8]
`;

const FONT_SIZE = 12;
const LINE_HEIGHT = 15;
const PADDING = 4;

/** An empty line. Not "": many of those corrupt the memory of Graphviz 16.1 as WebAssembly. */
const EMPTY = " ";

/** Its width in Graphviz's own Helvetica, in points. */
const EMPTY_WIDTH = 0.278 * FONT_SIZE;

/** Between a name in the middle of the circle and a note outside it. */
const GAP = [EMPTY, EMPTY, EMPTY];

/** Except at an end, a note is hardly wider than its circle, so edges to the right pass it. */
const NOTE_CHARS = 16;

/** A node that more edges than this leave has tables. */
const MAX_LABELS = 6;

const BACKSLASH = 0x5c;

export function renderDot(graph: Graph): string {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const out = Map.groupBy(graph.edges, ({ from }) => from);
  const inRows = new Set<string>();
  const edges: string[] = [];
  const lines = framed(graph, {
    node: (node) => {
      if (inRows.has(node.id)) return [];
      const after = out.get(node.id) ?? [];
      const shown = [dotNode(node)];
      const rows = after.map((edge) => ({
        edge,
        path: after.length > MAX_LABELS ? pathToEnd(edge.to, node, nodes, out) : [],
      }));
      for (let i = 0; i < rows.length;) {
        let end = i;
        while (end < rows.length && rows[end]!.path.length > 0) end++;
        const table = rows.slice(i, end);
        const { from, to, label } = rows[i]!.edge;
        if (table.length > 0) {
          const middle = `${to}_rows`;
          for (const { path } of table) for (const { id } of path) inRows.add(id);
          shown.push(`${middle} [shape=plain, fixedsize=false, label=<${dotTable(table)}>]`);
          edges.push(`  ${from}:e -> ${middle}:w [arrowhead=none, weight=99]`);
        } else if (label === null) {
          edges.push(`  ${from}:e -> ${to}:w`);
        } else {
          const middle = `${to}_label`;
          shown.push(dotLabel(middle, label));
          edges.push(
            `  ${from}:e -> ${middle}:w [arrowhead=none]`,
            `  ${middle}:e -> ${to}:w [weight=8]`,
          );
        }
        i += Math.max(table.length, 1);
      }
      return shown;
    },
    open: ({ id, name }) => [
      `subgraph cluster_${id} {`,
      `  label="${dotText(name)}"; labeljust=l; style=dashed; color="#999999"; fontsize=13`,
    ],
    close: "}",
  });
  const caption = graph.nodes[0]?.note ?? "";
  return `${DOT_HEAD}  label="${dotText(caption)}"; labeljust=l\n${
    [...lines, ...edges].join("\n")
  }\n}\n`;
}

/** The circle, the note above it (below an end), and as much room on the other side. */
function dotNode(node: GraphNode): string {
  if (node.kind === "start") {
    return `${node.id} [label="${
      dotText(node.label)
    }", shape=plaintext, fixedsize=false, fontsize=24]`;
  }
  const name = nameLines(node.label);
  const note = node.note === null
    ? []
    : wrap(printable(node.note), node.kind === "end" ? LINE_CHARS : NOTE_CHARS);
  const room = note.length === 0 ? [] : [...GAP, ...note.map(() => EMPTY)];
  if (note.length > 0) room[0] = EMPTY.repeat(Math.ceil(widthOf(note) / EMPTY_WIDTH));
  const lines = node.kind === "end"
    ? [...room.toReversed(), ...name, ...GAP.slice(0, room.length), ...note]
    : [...note, ...GAP.slice(0, room.length), ...name, ...room];
  const label = lines.map((line) => `${dotText(line)}\\n`).join("");
  return `${node.id} [label="${label}", color="${COLOURS[node.kind]}"]`;
}

/** The label of an edge, as a node. */
function dotLabel(id: string, text: string): string {
  const lines = wrap(printable(text));
  const size = (points: number) => (points / 72).toFixed(2);
  const width = size(widthOf(lines) + 2 * PADDING);
  const height = size(lines.length * LINE_HEIGHT);
  const label = lines.map((line) => `${dotText(line)}\\n`).join("");
  return `${id} [label="${label}", shape=plaintext, fixedsize=true, width=${width}, height=${height}]`;
}

/** The nodes from `id` to an end if no other way leaves them and no frame begins; else none. */
function pathToEnd(
  id: string,
  { frame }: GraphNode,
  nodes: ReadonlyMap<string, GraphNode>,
  out: ReadonlyMap<string, readonly GraphEdge[]>,
): readonly GraphNode[] {
  const path: GraphNode[] = [];
  for (let at = id;;) {
    const node = nodes.get(at)!;
    if (node.frame !== frame) return [];
    path.push(node);
    if (node.kind === "end") return path;
    const after = out.get(at) ?? [];
    if (after.length !== 1 || after[0]!.label !== null) return [];
    at = after[0]!.to;
  }
}

interface Row {
  readonly edge: GraphEdge;
  /** What follows, up to the end. */
  readonly path: readonly GraphNode[];
}

function dotTable(rows: readonly Row[]): string {
  const columns = 1 + Math.max(...rows.map(({ path }) => path.length));
  const texts = rows.map(({ edge: { label }, path }) => {
    // Only a balancer's branches of the same weight have none.
    const lines = wrap(printable(label ?? "1x"), ROW_CHARS);
    const first = dotCell(lines, ' ALIGN="LEFT"');
    const others = path.map((node, index) => {
      const { kind, label: name, note } = node;
      const text = note === null ? name : kind === "end" ? note : `${name} : ${note}`;
      const span = index + 1 < path.length ? 1 : columns - path.length;
      const colour = COLOURS[kind as keyof typeof COLOURS];
      return dotCell(
        wrap(printable(text), ROW_CHARS),
        ` ALIGN="LEFT" COLOR="${colour}" COLSPAN="${span}"`,
      );
    });
    return `<TR>${first}${others.join("")}</TR>`;
  });
  const border = `BORDER="0" CELLBORDER="2" CELLSPACING="2" COLOR="${COLOURS.selector}"`;
  return `<TABLE ${border} CELLPADDING="${PADDING}">${texts.join("")}</TABLE>`;
}

/** A cell with room for its lines in any font. */
function dotCell(lines: readonly string[], attributes = ""): string {
  const width = Math.ceil(widthOf(lines)) + 2 * PADDING;
  const height = lines.length * LINE_HEIGHT + 2 * PADDING;
  const text = lines.map((line) => `${htmlText(line)}<BR ALIGN="LEFT"/>`).join("");
  return `<TD WIDTH="${width}" HEIGHT="${height}"${attributes}>${text}</TD>`;
}

function widthOf(lines: readonly string[]): number {
  return Math.max(...lines.map((line) => widestOf(line, FONT_SIZE)));
}

function htmlText(text: string): string {
  return escape(printable(text), (code) => `&#${code};`);
}

/** Two backslashes for one: Graphviz resolves entities first and escapes after. */
function dotText(text: string): string {
  return escape(printable(text), (code) => code === BACKSLASH ? "&#92;&#92;" : `&#${code};`);
}

// Mermaid. A circle is as large as its text, so the note goes inside.

export function renderMermaid(graph: Graph): string {
  const lines = framed(graph, {
    node: ({ id, kind, label: name, note }) => {
      const lines = [...nameLines(name), ...(note === null ? [] : wrap(printable(note)))];
      const label = lines.map(mermaidText).join("<br/>");
      return kind === "start"
        ? [`${id}["${label}"]:::start`]
        : [`${id}(("${label}")):::${mermaidClass(kind)}`];
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
  readonly node: (node: GraphNode) => readonly string[];
  /** Lines that begin a frame. */
  readonly open: (frame: GraphFrame) => readonly string[];
  readonly close: string;
}

/**
 * Lines of all nodes, in their frames. Relies on the graph's order: a frame's nodes are together.
 */
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
    for (const line of notation.node(node)) put(line);
  }
  moveTo([]);
  return lines;
}

/** A node's name as one or two lines that fit in the circle. */
function nameLines(name: string): string[] {
  return [name.replace(/ .*/, ""), name.replace(/^\S+ ?/, "")].filter((line) => line !== "");
}

/** Breaks a text between words, or inside one that is too long by itself. */
function wrap(text: string, maxChars = LINE_CHARS): string[] {
  const lines: string[] = [];
  let line = "";
  const words = shorten(text).split(" ").flatMap((word) => word.match(/.{1,48}/gsu) ?? [""]);
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > maxChars) {
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
