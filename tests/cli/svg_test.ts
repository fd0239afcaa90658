import assert from "node:assert/strict";
import type { Predicate, Tree } from "../../src/policy/language/ast.ts";
import * as b from "../../src/policy/language/build.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { graphOf } from "../../src/policy/picture/graph.ts";
import { MAX_SVG_NODES, renderSvg } from "../../src/cli/svg.ts";

/**
 * Elements that text may be in. Throws unless every tag is closed in order and nothing is left
 * bare.
 */
function readXml(
  xml: string,
): { name: string; attributes: Record<string, string>; text: string }[] {
  const elements: { name: string; attributes: Record<string, string>; text: string }[] = [];
  const open: typeof elements = [];
  const part =
    /<\?xml [^>]*\?>|<!DOCTYPE [^>]*>|<!--(?:(?!--)[^])*-->|<\/([\w:]+)>|<([\w:]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<>]+)/gy;
  for (let at = 0; at < xml.length; at = part.lastIndex) {
    part.lastIndex = at;
    const match = part.exec(xml);
    assert.ok(match, `not XML: ${xml.slice(at, at + 60)}`);
    const [, close, start, attributes = "", empty, text] = match;
    if (close !== undefined) assert.equal(open.pop()?.name, close);
    if (text !== undefined && open.length > 0) open.at(-1)!.text += decode(text);
    if (start === undefined) continue;
    const pairs = [...attributes.matchAll(/([\w:-]+)="([^"]*)"/g)].map((
      [, k, v],
    ) => [k, decode(v!)]);
    const element = { name: start, attributes: Object.fromEntries(pairs), text: "" };
    elements.push(element);
    if (empty === "") open.push(element);
  }
  assert.equal(open.length, 0);
  return elements;
}

function decode(text: string): string {
  assert.doesNotMatch(text, /&(?!(amp|lt|gt|quot|apos|#\d+|#x[0-9a-f]+);)/i);
  const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replaceAll(
    /&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi,
    (_, hex, decimal, name) =>
      name ? named[name]! : String.fromCodePoint(hex ? parseInt(hex, 16) : Number(decimal)),
  );
}

function wordsOf(xml: string): string {
  return readXml(xml).filter(({ name }) => name === "text")
    .map(({ text }) => text.trim()).join(" ").replaceAll(/[\s\u00a0]+/g, " ");
}

Deno.test("renderSvg draws the built-in policy: well-formed, every word, every colour", async () => {
  const graph = graphOf(demo);
  const svg = await renderSvg(graph);
  const words = wordsOf(svg);
  for (const { label, note } of graph.nodes) {
    assert.ok(words.includes(label), label);
    if (note !== null) assert.ok(words.includes(note), note);
  }
  for (const { label } of graph.edges) {
    assert.ok(label === null || words.includes(label), `${label}`);
  }
  const elements = readXml(svg);
  const circles = elements.filter(({ name }) => name === "ellipse")
    .map(({ attributes }) => `${attributes["stroke"]} on ${attributes["fill"]}`);
  assert.equal(circles.length, 13);
  for (const { attributes } of elements.filter(({ name }) => name === "ellipse")) {
    assert.equal(attributes["rx"], attributes["ry"]);
  }
  const count = (circle: string) => circles.filter((found) => found === circle).length;
  assert.equal(count("#00ff00 on white"), 4); // selectors and the balancer
  assert.equal(count("#ff0000 on white"), 1); // filter
  assert.equal(count("#6666ff on white"), 2); // translators
  assert.equal(count("#999999 on white"), 5); // ends
  assert.equal(count("#ff9900 on white"), 1); // scanner
});

Deno.test("renderSvg draws from left to right", async () => {
  const graph = graphOf(demo);
  const x = new Map<string, number>();
  let id = "";
  for (const { name, text, attributes } of readXml(await renderSvg(graph))) {
    if (name === "title") id = text;
    if (name === "ellipse") x.set(id, Number(attributes["cx"]));
  }
  for (const { from, to } of graph.edges) {
    assert.ok((x.get(from) ?? 0) < x.get(to)!, `${from} ${to}`);
  }
});

Deno.test("renderSvg keeps hostile labels text", async () => {
  const labels = [
    '</text><script>alert("1")</script>',
    "]]> --> <!-- &amp; &lt; \\N \\",
    "\u0000 \u001b[2J \ufffe \ud800 \u202e",
  ];
  const ends = labels.map((label) => b.decide("drop", label));
  const svg = await renderSvg(graphOf(b.policy("drop", b.atRandom(ends))));
  assert.ok(!readXml(svg).some(({ name }) => name === "script"));
  const words = wordsOf(svg);
  assert.ok(words.includes('<script>alert(\\"1\\")</script>'), words);
  assert.ok(words.includes("]]> --> <!-- &amp; &lt;"), words);
  assert.ok(words.includes("\\u0000 \\u001b[2J \\ufffe"), words);
});

Deno.test("renderSvg draws empty and very long labels, and a deep tree", async () => {
  let tree: Tree = b.decide("reject", "");
  for (let i = 0; i < 150; i++) {
    tree = b.firstMatch([[b.ipSrc.oneOf([`10.0.0.${i}`, "$dst-addrs"]), tree], [
      b.otherwise,
      b.drop,
    ]]);
  }
  readXml(await renderSvg(graphOf(b.policy("drop", tree))));
  readXml(await renderSvg(graphOf(b.policy("drop", b.decide("drop", "é ".repeat(10_000))))));
});

Deno.test("renderSvg refuses a policy that would take too long", async () => {
  const arms = Array.from({ length: MAX_SVG_NODES }, (_, i): [Predicate, Tree] => [
    b.tcpDport.eq(i),
    b.drop,
  ]);
  const graph = graphOf(b.policy("drop", b.firstMatch(arms)));
  await assert.rejects(() => renderSvg(graph), {
    name: "RangeError",
    message: `Cannot draw ${MAX_SVG_NODES + 2} nodes as SVG: expected at most ${MAX_SVG_NODES}; ` +
      'larger policies can be had by "policy dot" and drawn with sfdp, or read with "policy print"',
  });
});
