import assert from "node:assert/strict";
import { withRequire } from "../../src/pack/bundle.ts";

/** What a minified bundle begins with where Deno has not seen that it needs `require`. */
const begin = `var $n=(n=>typeof require<"u"?require:n)(function(n){` +
  `if(typeof require<"u")return require.apply(this,arguments);` +
  `throw Error('Dynamic require of "'+n+'" is not supported')});`;

async function load(program: string): Promise<{ default: unknown }> {
  return await import(`data:text/javascript,${encodeURIComponent(program)}`);
}

Deno.test("bundle: CommonJS modules find those of Node.js, whatever the minifier calls it", async () => {
  const program = `${begin}export default $n("node:util").inspect("a");`;
  await assert.rejects(load(program), /Dynamic require/);
  assert.equal((await load(withRequire(program))).default, "'a'");
});

Deno.test("bundle: a program that needs no CommonJS stays as it is", () => {
  assert.equal(withRequire("export default 1;"), "export default 1;");
});
