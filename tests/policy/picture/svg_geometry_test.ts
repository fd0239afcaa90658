/**
 * Where things are in the SVG that Graphviz makes, for few and many arms: every text is within its
 * shape and no two texts meet, even if the reader's font is wider than the one that Graphviz
 * measured.
 */
import assert from "node:assert/strict";
import type { Policy, Predicate, Tree } from "../../../src/policy/language/ast.ts";
import * as b from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { graphOf } from "../../../src/policy/picture/graph.ts";
import { renderSvg } from "../../../src/cli/svg.ts";

/** Advance widths of DejaVu Sans, a wide font, for U+0020 to U+007E in thousandths of its size. */
const WIDTHS = [
  318,
  401,
  460,
  838,
  636,
  950,
  780,
  275,
  390,
  390,
  500,
  838,
  318,
  361,
  318,
  337,
  636,
  636,
  636,
  636,
  636,
  636,
  636,
  636,
  636,
  636,
  337,
  337,
  838,
  838,
  838,
  531,
  1000,
  684,
  686,
  698,
  770,
  632,
  575,
  775,
  752,
  295,
  295,
  656,
  557,
  863,
  748,
  787,
  603,
  787,
  695,
  635,
  611,
  732,
  684,
  989,
  685,
  611,
  685,
  390,
  337,
  390,
  838,
  500,
  500,
  613,
  635,
  550,
  635,
  615,
  352,
  635,
  634,
  278,
  278,
  579,
  278,
  974,
  634,
  612,
  635,
  635,
  411,
  521,
  392,
  634,
  592,
  818,
  592,
  592,
  525,
  636,
  337,
  636,
  838,
];

function widthOf(text: string, size: number): number {
  let width = 0;
  for (const char of text.replaceAll("\u00a0", " ")) {
    const of = WIDTHS[char.codePointAt(0)! - 32];
    assert.ok(of !== undefined, `no width of ${char}`);
    width += of;
  }
  return width * size / 1000;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

interface Text extends Box {
  readonly text: string;
}

interface Shape {
  readonly title: string;
  readonly texts: readonly Text[];
  /** The circle; null: none. */
  readonly circle: (Point & { readonly r: number }) | null;
  /** A table's cells. */
  readonly cells: readonly Box[];
  /** Points on an edge's line. */
  readonly line: readonly Point[];
}

/** All nodes and edges of a picture. */
function shapesOf(svg: string): { readonly nodes: Shape[]; readonly edges: Shape[] } {
  const nodes: Shape[] = [];
  const edges: Shape[] = [];
  for (const [, kind, body] of svg.matchAll(/<g id="\w+" class="(node|edge)">([^]*?)<\/g>/g)) {
    (kind === "node" ? nodes : edges).push(shapeOf(body!));
  }
  return { nodes, edges };
}

function shapeOf(body: string): Shape {
  const circle = /<ellipse [^>]*cx="([^"]+)" cy="([^"]+)" rx="([^"]+)"/.exec(body);
  const path = /<path [^>]*d="([^"]+)"/.exec(body);
  return {
    // An edge's, without its ports, e.g. `n0->n1_label`.
    title: decode(/<title>(.*?)<\/title>/.exec(body)![1]!).replaceAll(/:\w+/g, ""),
    texts: [...body.matchAll(/<text ([^>]*)>([^<]*)<\/text>/g)]
      .map(([, attributes, text]) => textOf(attributes!, decode(text!)))
      .filter(({ text }) => text !== ""),
    circle: circle === null
      ? null
      : { x: Number(circle[1]), y: Number(circle[2]), r: Number(circle[3]) },
    cells: [...body.matchAll(/<polygon [^>]*points="([^"]+)"/g)].map(([, points]) => {
      const at = pointsOf(points!);
      const xs = at.map(({ x }) => x);
      const ys = at.map(({ y }) => y);
      return {
        left: Math.min(...xs),
        right: Math.max(...xs),
        top: Math.min(...ys),
        bottom: Math.max(...ys),
      };
    }),
    line: path === null ? [] : curveOf(pointsOf(path[1]!)),
  };
}

function textOf(attributes: string, raw: string): Text {
  const value = (name: string) => new RegExp(`\\b${name}="([^"]+)"`).exec(attributes)![1]!;
  const [x, y, size] = [Number(value("x")), Number(value("y")), Number(value("font-size"))];
  const width = widthOf(raw, size);
  const left = value("text-anchor") === "start" ? x : x - width / 2;
  // From a capital's head to a little below the line.
  return {
    text: raw.trim(),
    left,
    right: left + width,
    top: y - 0.75 * size,
    bottom: y + 0.2 * size,
  };
}

function decode(text: string): string {
  const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"' };
  return text.replaceAll(
    /&(?:#(\d+)|(\w+));/g,
    (_, code, name) => name ? named[name]! : String.fromCodePoint(Number(code)),
  );
}

function pointsOf(text: string): Point[] {
  return [...text.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)]
    .map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
}

/** Points close to one another on cubic curves, each of which begins where the one before ends. */
function curveOf(points: readonly Point[]): Point[] {
  const line: Point[] = [];
  for (let i = 0; i + 3 < points.length; i += 3) {
    const [p, q, r, s] = points.slice(i, i + 4) as [Point, Point, Point, Point];
    for (let t = 0; t <= 1; t += 1 / 64) {
      const u = 1 - t;
      const on = (axis: "x" | "y") =>
        u ** 3 * p[axis] + 3 * u ** 2 * t * q[axis] + 3 * u * t ** 2 * r[axis] + t ** 3 * s[axis];
      line.push({ x: on("x"), y: on("y") });
    }
  }
  return line;
}

function isWithin(inner: Box, outer: Box): boolean {
  return inner.left >= outer.left && inner.right <= outer.right &&
    inner.top >= outer.top && inner.bottom <= outer.bottom;
}

function meet(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/**
 * A selector of `arms` arms: a limit, paths to an end, ends with labels, something that branches.
 */
function policyOf(
  arms: number,
  last: Tree = b.atRandom([[3, b.drop], b.translateBToA(b.forward)]),
): Policy {
  const between = Array.from({ length: arms - 2 }, (_, i): [Predicate, Tree] => [
    b.tcpDport.eq(i + 80),
    i % 3 === 0 ? b.track(b.translateAToB(b.forward)) : b.decide("drop", `rule ${i}, MWMWMWMW`),
  ]);
  const limited = b.limit({ perSecond: 5, burst: 9, per: "source" }, b.echo);
  return b.policy("drop", b.firstMatch([[b.isIcmp, limited], ...between, [b.otherwise, last]]));
}

/** As many arms, none of which is a single path to an end. */
function branching(arms: number): Policy {
  const web = b.limit({ perSecond: 5, burst: 9 }, b.echo);
  const arm = (i: number): [Predicate, Tree] => [b.tcpDport.eq(i + 80), b.use("web")];
  const uses = Array.from({ length: arms }, (_, i) => arm(i));
  return b.policy("drop", b.firstMatch(uses), { subtrees: { web } });
}

const pictures: readonly (readonly [name: string, policy: Policy])[] = [
  ["the built-in policy", demo],
  ...[3, 6, 7, 30, 300].map((arms) => [`${arms} arms`, policyOf(arms)] as const),
  ["30 arms, the first of which branches", policyOf(30, b.translateBToA(b.forward))],
  ...[3, 30].map((arms) => [`${arms} arms that branch`, branching(arms)] as const),
];
for (const [name, policy] of pictures) {
  Deno.test(`renderSvg draws ${name} with every text in its place`, async () => {
    const graph = graphOf(policy);
    const { nodes, edges } = shapesOf(await renderSvg(graph));
    const texts = nodes.flatMap(({ texts }) => texts);

    // Every name is in its circle: all four corners of every line.
    const names = new Set(graph.nodes.flatMap(({ label }) => [label, ...label.split(/ (.*)/)]));
    let circles = 0;
    for (const { title, texts, circle } of nodes) {
      if (circle === null) continue;
      circles++;
      const inside = texts.filter(({ text, top, bottom }) =>
        names.has(text) && top < circle.y + circle.r && bottom > circle.y - circle.r
      );
      assert.ok(inside.length > 0, title);
      for (const { text, left, right, top, bottom } of inside) {
        for (const x of [left, right]) {
          for (const y of [top, bottom]) {
            assert.ok(Math.hypot(x - circle.x, y - circle.y) < circle.r - 2.5, `${title}: ${text}`);
          }
        }
      }
      // Notes are outside of it.
      for (const { text, top, bottom } of texts) {
        if (inside.some((name) => name.text === text)) continue;
        assert.ok(bottom < circle.y - circle.r || top > circle.y + circle.r, `${title}: ${text}`);
      }
    }
    assert.ok(circles > 0);

    // Every line of a table is in a cell.
    const tables = nodes.filter(({ title }) => title.endsWith("_rows"));
    for (const { texts, cells } of tables) {
      for (const text of texts) {
        assert.ok(cells.some((cell) => isWithin(text, cell)), text.text);
      }
    }

    // No two texts meet.
    texts.forEach((text, i) => {
      for (const other of texts.slice(i + 1)) {
        assert.ok(!meet(text, other), `${text.text} and ${other.text}`);
      }
    });

    // A label is on its edge: one line ends at its left, one begins at its right, and no line
    // crosses any text.
    const labels = nodes.filter(({ title }) => title.endsWith("_label"));
    const end = ({ line }: Shape) => line.at(-1)!;
    for (const { title, texts } of labels) {
      const middle = (texts[0]!.top + texts.at(-1)!.bottom) / 2;
      const [before] = edges.filter((edge) => edge.title.endsWith(`->${title}`));
      const [after] = edges.filter((edge) => edge.title.startsWith(`${title}->`));
      const left = Math.min(...texts.map(({ left }) => left));
      const right = Math.max(...texts.map(({ right }) => right));
      assert.ok(Math.abs(end(before!).y - middle) < 4 && end(before!).x < left, title);
      assert.ok(Math.abs(after!.line[0]!.y - middle) < 4 && after!.line[0]!.x > right, title);
      assert.ok(left - end(before!).x < 30 && after!.line[0]!.x - right < 30, title);
    }
    for (const { title, line } of edges) {
      for (const { x, y } of line) {
        const crossed = texts.find((box) => meet(box, { left: x, right: x, top: y, bottom: y }));
        const cell = tables.flatMap(({ cells }) => cells)
          .find(({ left, right, top, bottom }) =>
            x > left + 3 && x < right - 3 && y > top && y < bottom
          );
        assert.equal(cell, undefined, `${title} crosses a table`);
        assert.equal(crossed, undefined, `${title} crosses ${crossed?.text}`);
      }
    }

    // Every node of the graph and every label is there once, in a circle or in a row.
    const rows = tables.reduce(
      (sum, { texts }) =>
        sum + texts.filter(({ text }) => /^(TCP port = \d+|ICMPv4|Else)$/.test(text)).length,
      0,
    );
    const labelled = graph.edges.filter(({ label }) => label !== null).length;
    assert.equal(labels.length + rows, labelled);
  });
}
