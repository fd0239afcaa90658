import assert from "node:assert/strict";
import { Handshakes } from "../../../src/flow/backends/handshakes.ts";

function world(): { readonly handshakes: Handshakes<string>; readonly suspects: string[] } {
  const suspects: string[] = [];
  return { handshakes: new Handshakes((member) => void suspects.push(member)), suspects };
}

function fail(handshakes: Handshakes<string>, times: number, port = 80, member = "a"): void {
  for (let i = 0; i < times; i++) handshakes.failed(member, port);
}

Deno.test("Handshakes: five failures in a row to a port that has answered make a member suspect", () => {
  const { handshakes, suspects } = world();
  handshakes.answered("a", 80);
  fail(handshakes, 4);
  assert.deepEqual(suspects, []);
  fail(handshakes, 1);
  assert.deepEqual(suspects, ["a"]);
  fail(handshakes, 5);
  assert.deepEqual(suspects, ["a", "a"]);
});

Deno.test("Handshakes: one that succeeds in between counts from the beginning", () => {
  const { handshakes, suspects } = world();
  for (let i = 0; i < 10; i++) {
    handshakes.answered("a", 80);
    fail(handshakes, 4);
  }
  assert.deepEqual(suspects, []);
});

Deno.test("Handshakes: a port that never answered says nothing, however often it is asked for", () => {
  const { handshakes, suspects } = world();
  handshakes.answered("a", 80);
  handshakes.answered("b", 81);
  for (let port = 1; port < 1000; port++) if (port !== 80) fail(handshakes, 50, port);
  assert.deepEqual(suspects, []);
});

Deno.test("Handshakes: of each member sixteen ports are remembered", () => {
  const { handshakes, suspects } = world();
  for (let port = 1; port <= 17; port++) handshakes.answered("a", port);
  fail(handshakes, 5, 1);
  assert.deepEqual(suspects, [], "the first one is forgotten");
  fail(handshakes, 5, 2);
  assert.deepEqual(suspects, ["a"]);
  handshakes.forget("a");
  fail(handshakes, 5, 2);
  assert.deepEqual(suspects, ["a"]);
});
