/**
 * The README's TypeScript example is a whole program; its pictures are what `policy svg` draws; in
 * its policies the check finds nothing.
 */
import assert from "node:assert/strict";
import readme from "../README.md" with { type: "text" };
import language from "../src/policy/README.md" with { type: "text" };
import picture from "./golden/render/demo.svg" with { type: "text" };
import poolsPicture from "./golden/render/pools.svg" with { type: "text" };

const canRun = Deno.permissions.querySync({ name: "run", command: Deno.execPath() }).state ===
  "granted";
const root = new URL("../", import.meta.url);

async function program(args: string[], cwd: URL | string = root, stdin = ""): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", ...args],
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** What the README says to run `own.ts` with, each after `deno run`, in words. */
function commands(): string[][] {
  const [, block] = /```sh\n(npx [^`]* own\.ts [^`]*)```/.exec(readme)!;
  const lines = block!.replaceAll(/\\\n\s*/g, "").trim().split("\n");
  return lines.map((line) => line.replace("npx -y deno@2.9.6 run ", "").split(" "));
}

Deno.test({
  name: "README's program runs in a folder of its own, by the README's command",
  ignore: !canRun,
  fn: async () => {
    const [, example] = /```ts\n(.*?)```/s.exec(readme)!;
    const [print, start] = commands();
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/own.ts`, example!);
      await Deno.symlink(decodeURIComponent(root.pathname), `${folder}/treegate`);
      assert.equal(
        await program(print!, folder),
        `default drop
not ip.src in $dst-addrs
  custom odd-host -> drop
  otherwise       -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`,
      );
      const flags = start!.slice(0, start!.indexOf("own.ts") + 1);
      const packet = (src: string) => [`udp ${src}:7 > 192.168.0.100:53`];
      const explain = (src: string) =>
        program([...flags, "explain", "--dst-addrs=192.168.0.1", ...packet(src)], folder);
      assert.match(await explain("192.168.0.253"), /custom odd-host +true\n.*Drop\n/);
      assert.match(await explain("192.168.0.254"), /custom odd-host +false\n/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "the package's entry is the library, and starts nothing",
  ignore: !canRun,
  fn: async () => {
    const source = 'const { run } = await import("@treegate/proxy");\nconsole.log(typeof run);\n';
    assert.equal(await program(["--ext=ts", "-", "--help"], root, source), "function\n");
  },
});

Deno.test({
  name: "README's picture is what policy svg draws of the built-in policy",
  ignore: !canRun,
  fn: async () => {
    const source = 'import { demo, run } from "./src/mod.ts";\nawait run(demo);\n';
    assert.equal(
      await program(["--allow-read", "--ext=ts", "-", "policy", "svg"], root, source),
      picture,
    );
  },
});

Deno.test("README's policy text is the built-in policy's", async () => {
  const { print } = await import("../src/policy/printing/print.ts");
  const { demo } = await import("../src/policy/language/built_in.ts");
  assert.ok(readme.includes(`\`\`\`\n${print(demo)}\`\`\``));
});

/** The README's texts of policies; the built-in one is the first. */
const policies = [...readme.matchAll(/```\n(default drop\n.*?)```/gs)].map(([, text]) => text!);
const withPools = policies.find((text) => text.includes("pool $canary"))!;

Deno.test("README's policies: the check finds nothing, and they are formatted", async () => {
  const { parse } = await import("../src/policy/notation/parse.ts");
  const { check } = await import("../src/policy/check/check.ts");
  const { format } = await import("../src/policy/printing/format.ts");
  assert.equal(policies.length, 7);
  for (const text of policies) {
    const { policy, errors } = parse(text, { file: "" });
    assert.deepEqual(errors, []);
    assert.deepEqual(check(policy!), [], text);
    assert.deepEqual(format(text, ""), { text, errors: [] });
  }
});

Deno.test("README's checks of DNS are whole queries: for NS records of the root (RFC 1035 §4.1)", () => {
  for (const text of [readme, language]) {
    const [, id, question] = /check udp 53 (....)0100 ?0001000000000000(\w+)/.exec(text)!;
    assert.deepEqual([id, question], ["1234", "0000020001"]);
  }
});

Deno.test({
  name: "README's picture of pools is what policy svg draws of the text above it",
  ignore: !canRun,
  fn: async () => {
    const file = await Deno.makeTempFile({ suffix: ".policy" });
    try {
      await Deno.writeTextFile(file, withPools);
      const source = 'import { demo, run } from "./src/mod.ts";\nawait run(demo);\n';
      const args = ["--allow-read", "--ext=ts", "-", "policy", "svg", file];
      assert.equal(await program(args, root, source), poolsPicture);
    } finally {
      await Deno.remove(file);
    }
  },
});
