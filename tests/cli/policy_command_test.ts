import assert from "node:assert/strict";
import { policyCommand, type PolicyView } from "../../src/cli/policy_command.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { graphOf } from "../../src/policy/picture/graph.ts";
import { print } from "../../src/policy/printing/print.ts";
import { renderDot, renderMermaid } from "../../src/policy/picture/render.ts";

const FILES: Readonly<Record<string, string>> = {
  "good.policy": print(demo),
  "wrong.policy": "default drop\notherwise -> drpo\nicmp -> forwrd\n",
  "unused.policy": `default drop\ndefine $web = 10.0.0.1\n${
    print(demo).split("\n").slice(1).join("\n")
  }`,
  "dead.policy": "default drop\notherwise -> drop\nicmp -> drop\n",
  "reuse.policy": "default drop\ndefine end\n  icmp -> drop\n  otherwise -> drop\n" +
    "udp -> use end\ntcp -> use end\n",
};

/** Runs `policy check` on a text. */
function runText(text: string) {
  return run("check", "text.policy", { "text.policy": text });
}

/** Runs the command with files in memory. */
async function run(view: PolicyView, file: string | null, files = FILES) {
  const out = { stdout: "", stderr: "" };
  const into = (name: "stdout" | "stderr") => ({
    write(bytes: Uint8Array) {
      out[name] += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  const code = await policyCommand({ view, file }, {
    stdout: into("stdout"),
    stderr: into("stderr"),
    builtIn: demo,
    customs: {},
    svg: () => import("../../src/cli/svg.ts"),
    read: (path) =>
      path in files
        ? Promise.resolve({ text: files[path]!, pieces: [files[path]!], id: path })
        : Promise.reject(new Error("there is no such file")),
  });
  return { code, ...out };
}

Deno.test("policyCommand prints and draws the built-in policy, and the same from a file", async () => {
  for (const file of [null, "good.policy"]) {
    const done = (stdout: string) => ({ code: 0, stdout, stderr: "" });
    assert.deepEqual(await run("print", file), done(print(demo)));
    assert.deepEqual(await run("dot", file), done(renderDot(graphOf(demo))));
    assert.deepEqual(await run("mermaid", file), done(renderMermaid(graphOf(demo))));
    const svg = await run("svg", file);
    assert.equal(svg.code, 0);
    assert.match(svg.stdout, /^<\?xml [^]*<\/svg>\n$/);
  }
});

Deno.test("policyCommand check says in one line that there is nothing to say", async () => {
  assert.deepEqual(await run("check", null), {
    code: 0,
    stdout: "built-in policy: no findings, 13 nodes, up to 8.6 KiB of memory\n",
    stderr: "",
  });
  assert.deepEqual(await run("check", "good.policy"), {
    code: 0,
    stdout: "good.policy: no findings, 13 nodes, up to 8.6 KiB of memory\n",
    stderr: "",
  });
});

Deno.test("policyCommand check counts a subtree's nodes wherever it is used", async () => {
  assert.match(
    (await run("check", "reuse.policy")).stdout,
    /^reuse\.policy: .*, 7 nodes, up to .*\n$/m,
  );
});

Deno.test("policyCommand shows all errors of a text: check on stdout, others on stderr", async () => {
  const check = await run("check", "wrong.policy");
  assert.equal(check.code, 1);
  assert.equal(check.stderr, "");
  assert.match(check.stdout, /^wrong\.policy:2:14: Found "drpo", .*"drop"/);
  assert.match(check.stdout, /^wrong\.policy:3:9: Found "forwrd"/m);
  for (const view of ["print", "dot", "mermaid", "svg"] as const) {
    assert.deepEqual(await run(view, "wrong.policy"), {
      code: 1,
      stdout: "",
      stderr: check.stdout,
    });
  }
});

Deno.test("policyCommand check shows a warning at its line, and exits 0", async () => {
  const { code, stdout } = await run("check", "unused.policy");
  assert.match(
    stdout,
    /^unused\.policy:2:8: warning: .*\n {2}2 \| define \$web = 10\.0\.0\.1\n {4}\| {8}\^\n/,
  );
  assert.match(stdout, /\nunused\.policy: 1 warning, 13 nodes, up to .*\n$/);
  assert.equal(code, 0);
});

Deno.test("policyCommand check exits 1 after an error, but the policy can still be drawn", async () => {
  const { code, stdout, stderr } = await run("check", "dead.policy");
  assert.match(stdout, /^dead\.policy:\d:1: error: /m);
  assert.match(stdout, /\ndead\.policy: \d errors?(, \d warnings?)?, 3 nodes, up to .*\n$/);
  assert.deepEqual([code, stderr], [1, ""]);
  assert.equal((await run("dot", "dead.policy")).code, 0);
});

Deno.test("policyCommand check shows 100 findings, errors first, and says how many more there are", async () => {
  for (
    const [arms, more] of [[100, ""], [101, "and 1 more\n"], [20_000, "and 19,900 more\n"]] as const
  ) {
    const { code, stdout } = await runText(
      `default drop\ndefine $never = 10.0.0.1\nudp -> drop\n${"udp -> drop\n".repeat(arms - 1)}`,
    );
    const summary = `text.policy: ${arms - 1} errors, 1 warning, ${arms + 1} nodes, up to`;
    assert.equal(stdout.match(/^text\.policy:\d+:\d+: /gm)?.length, Math.min(arms, 100));
    assert.equal(stdout.includes(": warning: "), arms === 100, "the warning");
    assert.ok(stdout.includes(`^\n${more}${summary}`), stdout.slice(-200));
    assert.ok(stdout.length < 30_000);
    assert.equal(code, 1);
  }
  const warnings = Array.from({ length: 150 }, (_, i) => `define $n${i} = 10.0.0.1\n`);
  const { code, stdout } = await runText(`default drop\n${warnings.join("")}udp -> drop\n`);
  assert.match(stdout, /\nand 50 more\ntext\.policy: 150 warnings, 2 nodes, up to .*\n$/);
  assert.equal(code, 0);
});

Deno.test("policyCommand takes a policy with includes, and shows findings in their files", async () => {
  const files = {
    "d/main": 'default drop\ninclude "lists"\nip.src in $a -> drop\n',
    "d/lists": "# lists\ndefine $a = 10.0.0.1\ndefine $unused = 10.0.0.2\n",
  };
  const { code, stdout } = await run("check", "d/main", files);
  assert.match(
    stdout,
    /^d\/lists:3:8: warning: .*\n {2}3 \| define \$unused = 10\.0\.0\.2\n.*\nd\/main: 1 warning, 2 nodes/,
  );
  assert.equal(code, 0);
  assert.match((await run("print", "d/main", files)).stdout, /^define \$a = 10.0.0.1$/m);
  assert.match((await run("dot", "d/main", files)).stdout, /^digraph/);
  const wrong = await run("print", "d/main", { ...files, "d/lists": "define $a = x\n" });
  assert.match(wrong.stderr, /^d\/lists:1:13: Found "x", expected an address/);
});

Deno.test("policyCommand format spaces a file with its comments, without what it includes", async () => {
  const files = {
    "main": 'default   drop # c\ninclude   "lists"\nip.src in $a->drop',
    "tab": "default drop\n\ttcp -> drop",
  };
  assert.deepEqual(await run("format", "main", files), {
    code: 0,
    stdout: 'default drop  # c\ninclude "lists"\nip.src in $a -> drop\n',
    stderr: "",
  });
  const { code, stdout, stderr } = await run("format", "tab", files);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^tab:2:1: Found a tab, expected spaces as indentation\n/);
  assert.deepEqual(await run("format", null), { code: 0, stdout: print(demo), stderr: "" });
});

Deno.test("policyCommand refuses an include in a policy from standard input", async () => {
  const { code, stdout } = await run("check", "-", { "-": 'default drop\ninclude "a"\n-> drop\n' });
  assert.match(stdout, /^stdin:2:9: Found the file "a", expected no include; only a policy/);
  assert.equal(code, 1);
});

Deno.test("policyCommand says why a file can't be read", async () => {
  for (const view of ["check", "svg"] as const) {
    assert.deepEqual(await run(view, "none.policy"), {
      code: 1,
      stdout: "",
      stderr: 'error: Cannot read policy "none.policy": there is no such file\n',
    });
  }
});
