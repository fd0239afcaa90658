/** The page's tree: which nodes have rows, where their boxes are, where keys lead to. */
import assert from "node:assert/strict";
import {
  edgeTo,
  lengthOf,
  listLayout,
  pathOf,
  pointOf,
  treeLayout,
} from "../../src/page/model/layout.ts";
import { MOST_UNFOLDED, Outline, QUIET_MS } from "../../src/page/model/outline.ts";
import { walk } from "../../src/page/model/walk.ts";
import { treeOf } from "./fake_proxy.ts";

/** 0 ─┬─ 1 ─┬─ 2, 3; 4 ─ 5 below 1's sibling. */
const { nodes } = treeOf([
  [-1, null, "first match"],
  [0, "tcp", "first match"],
  [1, "80", 'drop "naive http"'],
  [1, "otherwise", "forward"],
  [0, "otherwise", "track"],
  [4, null, "forward"],
]);

/** A root with so many children. */
function wide(children: number): Outline {
  return new Outline(
    treeOf([
      [-1, null, "first match"],
      ...Array.from({ length: children }, (_, i) => [0, `${i}`, "first match"] as const),
      ...Array.from({ length: children }, (_, i) => [i + 1, null, "drop"] as const),
    ]).nodes.toSorted((a, b) => a.id - b.id),
  );
}

const ids = (outline: Outline, filter?: string) => outline.rows(filter).map(({ id }) => id);

Deno.test("page: rows tell depth, parent, place among siblings", () => {
  const rows = new Outline(nodes).rows();
  assert.deepEqual(rows.map(({ id, depth, parent }) => [id, depth, parent]), [
    [0, 0, -1],
    [1, 1, 0],
    [2, 2, 1],
    [3, 2, 1],
    [4, 1, 0],
    [5, 2, 4],
  ]);
  assert.deepEqual(rows.map(({ place, siblings }) => `${place}/${siblings}`), [
    ...["1/1", "1/2", "1/2", "2/2", "2/2", "1/1"],
  ]);
  assert.deepEqual(new Outline([]).rows(), []);
});

Deno.test("page: what is folded by hand has no rows, and says how many", () => {
  const outline = new Outline(nodes);
  outline.fold(1, true);
  assert.deepEqual(ids(outline), [0, 1, 4, 5]);
  assert.deepEqual(outline.rows().map(({ folded }) => folded), [0, 2, 0, 0]);
  outline.fold(0, true);
  assert.deepEqual(ids(outline), [0]);
  outline.reveal(2);
  assert.deepEqual(ids(outline), [0, 1, 2, 3, 4, 5]);
});

Deno.test("page: a filter finds words and labels in any case, and what is above", () => {
  const outline = new Outline(nodes);
  outline.fold(0, true);
  assert.deepEqual(ids(outline, "NAIVE"), [0, 1, 2]);
  assert.deepEqual(outline.matches("naive"), [2]);
  assert.deepEqual(ids(outline, "80 → drop"), [0, 1, 2]);
  assert.deepEqual(ids(outline, "nowhere"), []);
  assert.deepEqual(outline.rows("naive").map(({ siblings }) => siblings), [1, 1, 1]);
});

Deno.test("page: up to 200 nodes nothing folds by itself", () => {
  const outline = wide(99);
  assert.equal(outline.update(Array(199).fill(0), null, 0), false);
  assert.equal(ids(outline).length, 199);
});

Deno.test("page: above 200 nodes subtrees fold a minute after their last packet", () => {
  const outline = wide(150);
  const hits = Array<number>(301).fill(0);
  assert.equal(outline.update(hits, null, 0), true);
  assert.deepEqual(ids(outline).length, 151);
  const first = [...hits];
  first[0] = first[7] = 1;
  first[157] = 1; // below node 7
  assert.equal(outline.update(first, hits, 1000), true);
  assert.deepEqual(ids(outline).filter((id) => id > 150), [157]);
  assert.equal(outline.update(first, first, 1000 + QUIET_MS), false);
  assert.equal(outline.update(first, first, 1001 + QUIET_MS), true);
  assert.deepEqual(ids(outline).length, 151);
  outline.fold(3, false); // by hand, which stays
  outline.update(first, first, 1002 + QUIET_MS);
  assert.deepEqual(ids(outline).filter((id) => id > 150), [153]);
});

Deno.test("page: of a very large tree the busiest nodes are unfolded", () => {
  const outline = wide(2000);
  const hits = Array.from({ length: 4001 }, (_, id) => id === 0 ? 1e6 : 5000 - (id - 1) % 2000);
  outline.update(hits, null, 0);
  const unfolded = ids(outline).filter((id) => id > 2000);
  assert.ok(unfolded.length <= MOST_UNFOLDED / 2 && unfolded.length > 0.9 * MOST_UNFOLDED / 2);
  assert.ok(unfolded.includes(2001));
});

Deno.test("page: boxes do not overlap, are right of their parents, and only children are below", () => {
  const rows = new Outline(nodes).rows();
  const { boxes, width, height, boxHeight } = treeLayout(rows, 1000);
  for (const [i, a] of boxes.entries()) {
    assert.ok(a.x >= 0 && a.x + a.width <= width && a.y >= 0 && a.y + boxHeight <= height);
    for (const b of boxes.slice(i + 1)) {
      const isApart = Math.abs(a.x - b.x) >= a.width || Math.abs(a.y - b.y) >= boxHeight;
      assert.ok(isApart, JSON.stringify([a, b]));
    }
  }
  assert.ok(boxes[1]!.x > boxes[0]!.x && boxes[2]!.x > boxes[1]!.x);
  assert.deepEqual([boxes[5]!.x, boxes[5]!.y > boxes[4]!.y], [boxes[4]!.x, true]);
  assert.equal(boxes[1]!.y, (boxes[2]!.y + boxes[3]!.y) / 2);
  assert.ok(width <= 1000);
  assert.ok(treeLayout(rows, 200).width > 200); // boxes stay legible
});

Deno.test("page: a random tree's boxes are apart", () => {
  let seed = 1;
  const random = (below: number) => (seed = seed * 48_271 % 2_147_483_647) % below;
  const parents = [-1];
  const above = [0]; // the root, and what is below it up to the last node
  for (let id = 1; id < 400; id++) {
    above.length = 1 + random(above.length);
    parents.push(above.at(-1)!);
    above.push(id);
  }
  const tree = treeOf(parents.map((parent) => [parent, null, "track"]));
  const { boxes, boxHeight } = treeLayout(new Outline(tree.nodes).rows(), 1000);
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(i + 1)) {
      assert.ok(Math.abs(a.x - b.x) >= a.width || Math.abs(a.y - b.y) >= boxHeight);
    }
  }
});

Deno.test("page: the list stays within its width, however deep", () => {
  const deep = treeOf(Array.from({ length: 60 }, (_, i) => [i - 1, null, "track"]));
  const { boxes, height, hasEdges } = listLayout(new Outline(deep.nodes).rows(), 340);
  assert.ok(boxes.every(({ x, width }) => x + width === 340 && width >= 200));
  assert.deepEqual([boxes.map(({ y }) => y).toSorted((a, b) => a - b)], [boxes.map(({ y }) => y)]);
  assert.deepEqual([height > boxes.at(-1)!.y, hasEdges], [true, false]);
});

Deno.test("page: an edge leads from a parent's right to its child's left, or down", () => {
  const rows = new Outline(nodes).rows();
  const layout = treeLayout(rows, 1000);
  const { boxes, boxHeight } = layout;
  const edge = edgeTo(1, rows, layout);
  assert.deepEqual(pointOf(edge, 0), [
    boxes[0]!.x + boxes[0]!.width,
    boxes[0]!.y + boxHeight / 2,
  ]);
  assert.deepEqual(pointOf(edge, 1), [boxes[1]!.x, boxes[1]!.y + boxHeight / 2]);
  const down = edgeTo(5, rows, layout);
  assert.equal(pointOf(down, 0.5)[0], pointOf(down, 0)[0]);
  assert.equal(lengthOf(down), boxes[5]!.y - boxes[4]!.y - boxHeight);
  assert.match(pathOf(down), /^M(\d+) \d+C\1 \d+ \1 \d+ \1 \d+$/);
});

Deno.test("page: keys walk the tree as ARIA's authoring practices have it", () => {
  const outline = new Outline(nodes);
  const go = (selected: number, key: string) => walk(key, selected, outline.rows(), outline);
  const to = (id: number) => ({ id, hasChanged: false });
  assert.deepEqual(go(0, "ArrowDown"), to(1));
  assert.deepEqual(go(5, "ArrowDown"), to(5));
  assert.deepEqual(go(4, "ArrowUp"), to(3));
  assert.deepEqual(go(0, "ArrowUp"), to(0));
  assert.deepEqual([go(3, "Home"), go(3, "End")], [to(0), to(5)]);
  assert.deepEqual(go(1, "ArrowRight"), to(2));
  assert.deepEqual(go(2, "ArrowRight"), to(2));
  assert.deepEqual(go(2, "ArrowLeft"), to(1));
  assert.deepEqual(go(1, "ArrowLeft"), { id: 1, hasChanged: true });
  assert.deepEqual(ids(outline), [0, 1, 4, 5]);
  assert.deepEqual(go(1, "ArrowLeft"), to(0));
  assert.deepEqual(go(1, "ArrowRight"), { id: 1, hasChanged: true });
  assert.deepEqual(ids(outline), [0, 1, 2, 3, 4, 5]);
  assert.equal(go(1, "x"), null);
  assert.equal(walk("ArrowDown", 0, [], outline), null);
  // What a filter has found is not folded.
  assert.deepEqual(walk("ArrowLeft", 1, outline.rows("naive"), null), to(0));
});
