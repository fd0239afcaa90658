import assert from "node:assert/strict";
import type { Predicate, Tree } from "../../../src/policy/language/ast.ts";
import * as b from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { type Graph, graphOf } from "../../../src/policy/picture/graph.ts";
import { renderDot, renderMermaid } from "../../../src/policy/picture/render.ts";
import armsDot from "../../golden/render/arms.dot" with { type: "text" };
import demoDot from "../../golden/render/demo.dot" with { type: "text" };
import demoMermaid from "../../golden/render/demo.mmd" with { type: "text" };
import framesDot from "../../golden/render/frames.dot" with { type: "text" };
import framesMermaid from "../../golden/render/frames.mmd" with { type: "text" };

/** Named subtrees in one another and side by side. */
const frames = graphOf(
  b.policy(
    "reject",
    b.firstMatch([[b.isTcp, b.use("web")], [b.isUdp, b.drop], [b.otherwise, b.use("outer")]]),
    { subtrees: { web: b.filter(b.tcpDport.eq(80), b.drop), outer: b.track(b.use("web")) } },
  ),
);

/** Ends, a path to an end, what branches, and what is in a frame. */
const arms = graphOf(
  b.policy(
    "drop",
    b.firstMatch([
      ...Array.from({ length: 8 }, (_, i): [Predicate, Tree] => [
        b.tcpDport.eq(i),
        i === 1
          ? b.use("web")
          : i === 2
          ? b.atRandom([b.drop, b.echo])
          : i === 3
          ? b.track(b.translateAToB(b.forward))
          : b.decide("drop", `rule ${i}`),
      ]),
      [b.otherwise, b.drop],
    ]),
    { subtrees: { web: b.reject } },
  ),
);

const goldens = [
  ["renderDot gives the built-in policy", () => renderDot(graphOf(demo)), demoDot],
  ["renderMermaid gives the built-in policy", () => renderMermaid(graphOf(demo)), demoMermaid],
  ["renderDot puts a named subtree in a frame", () => renderDot(frames), framesDot],
  ["renderDot lists many arms in a table", () => renderDot(arms), armsDot],
  ["renderMermaid puts a named subtree in a frame", () => renderMermaid(frames), framesMermaid],
] as const;
for (const [name, text, golden] of goldens) Deno.test(name, () => assert.equal(text(), golden));

const HOSTILE = [
  'a"]; evil -> b; x["',
  "\\",
  "\\N \\G \\n",
  "<script>alert(1)</script>",
  "]] --> evil[[",
  "))",
  "&lt;b&gt; #quot; #35;",
  "`**bold**`",
  "%%{init: {}}%%",
  "line\nfeed\r\0 \u001b[2J \u202e \u2028",
  "end",
  "half \ud800 pair",
];

/** A graph all of whose words are `text`, whatever a policy would allow. */
function graphWith(text: string): Graph {
  return {
    nodes: [
      { id: "pdu", kind: "start", label: "PDU", note: text, frame: null },
      { id: "n0", kind: "selector", label: "Selector", note: text, frame: "f0" },
      { id: "n1", kind: "end", label: "End", note: text, frame: "f0" },
    ],
    edges: [{ from: "pdu", to: "n0", label: null }, { from: "n0", to: "n1", label: text }],
    frames: [{ id: "f0", name: text, frame: null }],
  };
}

for (const text of HOSTILE) {
  Deno.test(`renderDot and renderMermaid keep ${JSON.stringify(text)} inside a string`, () => {
    const harmless = renderDot(graphWith("word"));
    const dot = renderDot(graphWith(text));
    assert.equal(withoutStrings(dot), withoutStrings(harmless));
    for (const string of dot.match(/"[^"]*"/g)!) {
      assert.match(string, /^"([\p{L}\p{N} .,:=/$()+_…-]|&#\d+;|\\n|#[0-9a-f]{6}(?="$))*"$/u);
    }
    const mermaid = renderMermaid(graphWith(text));
    assert.equal(withoutStrings(mermaid), withoutStrings(renderMermaid(graphWith("word"))));
    for (const string of mermaid.match(/"[^"]*"/g)!) {
      assert.match(string, /^"([\p{L}\p{N} .,:=/$()+_…-]|#\d+;|<br\/>)*"$/u);
    }
  });
}

/** A graph whose many arms are all `text`. */
function tableWith(text: string): Graph {
  const ids = ["n1", "n2", "n3", "n4", "n5", "n6", "n7"];
  return {
    nodes: [
      { id: "pdu", kind: "start", label: "PDU", note: text, frame: null },
      { id: "n0", kind: "selector", label: "Selector", note: text, frame: null },
      ...ids.map((id) => ({ id, kind: "end" as const, label: "End", note: text, frame: null })),
    ],
    edges: [
      { from: "pdu", to: "n0", label: null },
      ...ids.map((to) => ({ from: "n0", to, label: text })),
    ],
    frames: [],
  };
}

for (const text of HOSTILE) {
  Deno.test(`renderDot keeps ${JSON.stringify(text)} inside a table's cell`, () => {
    const table = (text: string) =>
      /n1_rows \[.*, label=<(<TABLE .*<\/TABLE>)>\]$/m.exec(renderDot(tableWith(text)))![1]!;
    const tags = (html: string) =>
      html.match(/<[^>]*>/g)!.filter((tag) => !tag.startsWith("<BR"))
        .map((tag) => tag.replaceAll(/(WIDTH|HEIGHT)="\d+"/g, "$1"));
    assert.deepEqual(tags(table(text)), tags(table("word")));
    assert.match(
      table(text).replaceAll(/<[^>]*>/g, ""),
      /^([\p{L}\p{N} .,:=/$()+_…-]|&#\d+;)*$/u,
    );
  });
}

function withoutStrings(text: string): string {
  return text.replaceAll(/"[^"]*"/g, '""').replaceAll(/(width|height)=[\d.]+/g, "$1=");
}

Deno.test("renderDot writes special characters as entities and unseen ones in words", () => {
  const label = (text: string) =>
    /n1_label \[label="(.*?)\\n"/.exec(renderDot(graphWith(text)))![1];
  assert.equal(label('<"&\\'), "&#60;&#34;&#38;&#92;&#92;");
  assert.equal(label("a\nb"), "a&#92;&#92;u000ab");
  assert.equal(label("é 漢 🙂"), "é 漢 &#128578;");
});

Deno.test("renderDot breaks long texts into lines and cuts very long ones", () => {
  const lines = (text: string) =>
    /n1_label \[label="(.*?)"/.exec(renderDot(graphWith(text)))![1]!
      .split("\\n").filter((line) => line !== "");
  assert.deepEqual(lines("Only allow ICMPv4 Echo request"), ["Only allow ICMPv4 Echo", "request"]);
  assert.deepEqual(lines("x".repeat(60)), ["x".repeat(48), "x".repeat(12)]);
  const long = lines("ab ".repeat(5000)).join(" ");
  assert.equal(long.length, 200);
  assert.ok(long.endsWith("…"));
});

Deno.test("renderDot never writes an empty line, which Graphviz as WebAssembly fails on", () => {
  assert.doesNotMatch(`${renderDot(graphOf(demo))}${renderDot(frames)}`, /\\n\\n|"\\n/);
});

Deno.test("renderDot and renderMermaid take 10,000 arms", () => {
  const arms = Array.from({ length: 10_000 }, (_, i): [Predicate, Tree] => [
    b.tcpDport.eq(i),
    b.decide("drop", `rule ${i}`),
  ]);
  const graph = graphOf(b.policy("drop", b.firstMatch(arms)));
  const dot = renderDot(graph);
  assert.ok(dot.includes("9999&#34;"));
  assert.equal(dot.match(/<TR>/g)!.length, 10_000);
  const mermaid = renderMermaid(graph);
  assert.ok(mermaid.includes("9999#34;"));
  assert.equal(mermaid.match(/^ {2}n0 -->/gm)!.length, 10_000);
});
