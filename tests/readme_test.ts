/** The README's TypeScript example is a whole program; its picture is what `policy svg` draws. */
import assert from "node:assert/strict";
import readme from "../README.md" with { type: "text" };
import picture from "./golden/render/demo.svg" with { type: "text" };

const canRun = Deno.permissions.querySync({ name: "run", command: Deno.execPath() }).state ===
  "granted";
const root = new URL("../", import.meta.url);

async function program(args: string[], source: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", "--allow-read", "--ext=ts", "-", ...args],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test({
  name: "README's program type-checks, runs, and has the policy that it shows",
  ignore: !canRun,
  fn: async () => {
    const [, example] = /```ts\n(.*?)```/s.exec(readme)!;
    assert.equal(
      await program(["policy", "print"], example!),
      `default drop
not ip.src in $dst-addrs
  custom odd-port -> drop
  otherwise       -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`,
    );
  },
});

Deno.test({
  name: "README's picture is what policy svg draws of the built-in policy",
  ignore: !canRun,
  fn: async () => {
    const source = 'import { demo, run } from "./src/mod.ts";\nawait run(demo);\n';
    assert.equal(await program(["policy", "svg"], source), picture);
  },
});

Deno.test("README's policy text is the built-in policy's", async () => {
  const { print } = await import("../src/policy/notation/print.ts");
  const { demo } = await import("../src/policy/language/built_in.ts");
  assert.ok(readme.includes(`\`\`\`\n${print(demo)}\`\`\``));
});
