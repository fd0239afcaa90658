/** `include "file"`, with files in memory. */
import assert from "node:assert/strict";
import {
  type Included,
  includesOf,
  MAX_INCLUDE_DEPTH,
  MAX_INCLUDED_FILES,
  pathOf,
} from "../../../src/policy/notation/include.ts";
import { formatError, MAX_POLICY_LENGTH, parse } from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";

type Files = Readonly<Record<string, string>>;

/** Parses the file `main` of some files. */
function read(files: Files, main = "etc/main.policy") {
  const include = (path: string): Included =>
    path in files ? { file: path, text: files[path]! } : { problem: "there is no such file" };
  return parse(files[main]!, { file: main, include });
}

function messagesOf(files: Files): string {
  return read(files).errors.map(formatError).join("\n");
}

const MAIN = `default drop
define $own = 10.9.0.0/16
include "lists.policy"   # a comment
include "parts/ping.policy"
ip.src in $web -> drop
icmp           -> use ping
`;
const FILES: Files = {
  "etc/main.policy": MAIN,
  "etc/lists.policy": "# lists\ndefine $web = {\n  10.0.0.1,\n  $own\n}\n",
  "etc/parts/ping.policy":
    'include "../lists.policy"\ninclude "/abs.policy"\ndefine ping\n  ip.src in $far -> drop\n  otherwise -> echo\n',
  "/abs.policy": "\ufeffdefine $far = 10.0.0.2\r\n",
  // The name by which the other file has it, as a reader that knows files gives it.
  "etc/parts/../lists.policy": "define $other = 10.0.0.3",
};

Deno.test("parse reads the definitions of included files where the include is", () => {
  const { policy, errors } = read(FILES);
  assert.equal(errors.map(formatError).join("\n"), "");
  assert.equal(
    print(policy!),
    `default drop

define $own = 10.9.0.0/16
define $web = 10.0.0.1, $own
define $other = 10.0.0.3
define $far = 10.0.0.2

define ping
  ip.src in $far -> drop
  otherwise      -> echo

ip.src in $web -> drop
icmp           -> use ping
`,
  );
});

Deno.test("parse says in which file a node is written, and gives the files' texts", () => {
  const parsed = read(FILES);
  assert.ok(parsed.policy !== null);
  const { policy, positions, sources } = parsed;
  const at = (node: object) => {
    const { file, line, column } = positions.get(node)!;
    return `${file}:${line}:${column}`;
  };
  assert.equal(at(policy.lists["web"]!), "etc/lists.policy:2:8");
  assert.equal(at(policy.lists["web"]![1]!), "etc/lists.policy:4:3");
  assert.equal(at(policy.subtrees["ping"]!), "etc/parts/ping.policy:3:8");
  assert.equal(at(policy.next), "etc/main.policy:5:1");
  assert.deepEqual(Object.fromEntries(sources), FILES);
});

Deno.test("parse reads a file once, whatever the number of includes", () => {
  const text = 'default drop\ninclude "a"\ninclude "b"\ninclude "a"\nip.src in $c -> drop\n';
  const files = {
    "etc/main.policy": text,
    "etc/a": 'include "c"\n',
    "etc/b": 'include "c"\n',
    "etc/c": "define $c = 10.0.0.1\n",
  };
  assert.equal(messagesOf(files), "");
});

const wrong: readonly { name: string; files: Files; message: string }[] = [
  {
    name: "an error in an included file, at its file, line and column",
    files: {
      "etc/main.policy": 'default drop\ninclude "a"\nicmp -> drpo\n',
      "etc/a": "define $a = {\n  10.0.0.1,\n  10.0.0.1/8\n}\ndefine b\n\t-> drop\n",
    },
    message:
      `etc/a:3:3: Found "10.0.0.1/8", expected a network: host bits must be zero; did you mean "10.0.0.0/8"?
  3 |   10.0.0.1/8
    |   ^^^^^^^^^^
etc/a:6:1: Found a tab, expected spaces as indentation
  6 | \\u0009-> drop
    | ^^^^^^
etc/main.policy:3:9: Found "drpo", expected a step or a decision; did you mean "drop"?
  3 | icmp -> drpo
    |         ^^^^`,
  },
  {
    name: "a file that is not there",
    files: { "etc/main.policy": 'default drop\ninclude "none"\n-> drop\n' },
    message:
      `etc/main.policy:2:9: Found the file "none", expected a file that can be read; there is no such file
  2 | include "none"
    |         ^^^^^^`,
  },
  {
    name: "a cycle",
    files: {
      "etc/main.policy": 'default drop\ninclude "a"\n-> drop\n',
      "etc/a": 'include "b"\n',
      "etc/b": '\ninclude "a"\n',
    },
    message:
      `etc/b:2:9: Found the file "a", expected no cycle of includes; "etc/a" includes "etc/b" includes "etc/a"
  2 | include "a"
    |         ^^^`,
  },
  {
    name: "a file that includes itself",
    files: { "etc/main.policy": 'default drop\ninclude "main.policy"\n-> drop\n' },
    message:
      `etc/main.policy:2:9: Found the file "main.policy", expected no cycle of includes; "etc/main.policy" includes "etc/main.policy"
  2 | include "main.policy"
    |         ^^^^^^^^^^^^^`,
  },
  {
    name: "a tree in an included file",
    files: {
      "etc/main.policy": 'default drop\ninclude "a"\n-> drop\n',
      "etc/a": "default drop\nicmp -> drop\nudp -> drop\n",
    },
    message:
      `etc/a:1:1: Found "default", expected "define", "pool" or "include"; an included file has no default and no tree
  1 | default drop
    | ^^^^^^^`,
  },
  {
    name: "a name that another file has, and one that is defined later there",
    files: {
      "etc/main.policy":
        'default drop\ndefine $a = 10.0.0.1\ninclude "a"\ndefine $late = 10.0.0.1\n-> drop\n',
      "etc/a": "define $a = 10.0.0.2\ndefine $b = $late\n",
    },
    message:
      `etc/a:1:8: Found "$a", expected a new name; the first of this name is in line 2 of "etc/main.policy"
  1 | define $a = 10.0.0.2
    |        ^^
etc/a:2:13: Found "$late", expected a list that is defined above; its definition begins in line 4 of "etc/main.policy"
  2 | define $b = $late
    |             ^^^^^`,
  },
  {
    name: "an include that is no line of its own",
    files: {
      "etc/main.policy":
        'default drop\ninclude lists\ninclude "a" "b"\ninculde "a"\ninclude ""\n  icmp\nudp\n  include "a"\n',
      "etc/a": "",
    },
    message: `etc/main.policy:2:9: Found "lists", expected the name of a file in double quotes
  2 | include lists
    |         ^^^^^
etc/main.policy:3:13: Found a label, expected the end of the line
  3 | include "a" "b"
    |             ^^^
etc/main.policy:4:1: Found "inculde", expected "include"; did you mean "include"?
  4 | inculde "a"
    | ^^^^^^^
etc/main.policy:5:9: Found the file "", expected the name of a file
  5 | include ""
    |         ^^
etc/main.policy:6:3: Found a block, expected none below an include; is it indented too far?
  6 |   icmp
    |   ^^^^
etc/main.policy:8:3: Found "include", expected a predicate; includes are on the top level
  8 |   include "a"
    |   ^^^^^^^`,
  },
];

for (const { name, files, message } of wrong) {
  Deno.test(`parse reports ${name}`, () => assert.equal(messagesOf(files), message));
}

Deno.test("parse refuses an include in a text that comes from no file", () => {
  const { errors } = parse('default drop\ninclude "a"\n-> drop\n', { file: "stdin" });
  assert.equal(
    errors.map(formatError).join("\n"),
    `stdin:2:9: Found the file "a", expected no include; only a policy that is itself read from a file can include others
  2 | include "a"
    |         ^^^`,
  );
});

Deno.test("parse bounds how deep, how many and how long included files are", () => {
  const chain = (length: number): Files =>
    Object.fromEntries([
      ["etc/main.policy", 'default drop\ninclude "1"\n-> drop\n'],
      ...Array.from({ length }, (_, i) => [
        `etc/${i + 1}`,
        i + 1 < length ? `include "${i + 2}"\n` : "",
      ]),
    ]);
  assert.equal(messagesOf(chain(MAX_INCLUDE_DEPTH)), "");
  assert.match(
    messagesOf(chain(MAX_INCLUDE_DEPTH + 1)),
    /^etc\/20:1:9: Found the file "21", expected at most 20 files that include one another\n/,
  );
  const row = (length: number): Files => ({
    "etc/main.policy": `default drop\n${
      Array.from({ length }, (_, i) => `include "${i}"\n`).join("")
    }-> drop`,
    ...Object.fromEntries(Array.from({ length }, (_, i) => [`etc/${i}`, ""])),
  });
  assert.equal(messagesOf(row(MAX_INCLUDED_FILES)), "");
  assert.match(
    messagesOf(row(MAX_INCLUDED_FILES + 1)),
    /^etc\/main.policy:1002:9: .*, expected at most 1000 included files\n/,
  );
  const main = 'default drop\ninclude "a"\n-> drop\n';
  const long = (length: number): Files => ({
    "etc/main.policy": main,
    "etc/a": "#".repeat(length - main.length),
  });
  assert.equal(messagesOf(long(MAX_POLICY_LENGTH)), "");
  assert.match(
    messagesOf(long(MAX_POLICY_LENGTH + 1)),
    /^etc\/main.policy:2:9: .*, expected at most 4194304 characters in all files together\n/,
  );
});

Deno.test("parse counts the depth of what included files define", () => {
  const files = {
    "etc/main.policy": 'default drop\ninclude "a"\n-> use s150\n',
    "etc/a": Array.from(
      { length: 200 },
      (_, i) => `define s${i}\n  -> ${i === 0 ? "drop" : `use s${i - 1}`}\n`,
    ).join(""),
  };
  assert.equal(messagesOf(files), "");
  assert.match(
    messagesOf({ ...files, "etc/main.policy": 'default drop\ninclude "a"\n-> use s199\n' }),
    /^etc\/main.policy:3:1: Found a path of more than 200 nodes/,
  );
});

Deno.test("pathOf is relative to the including file's folder", () => {
  const paths: readonly [from: string, name: string, path: string][] = [
    ["web.policy", "a", "a"],
    ["./web.policy", "b/a", "./b/a"],
    ["/etc/web.policy", "../a", "/etc/../a"],
    ["/etc/web.policy", "/a", "/a"],
  ];
  for (const [from, name, path] of paths) assert.equal(pathOf(from, name), path);
});

Deno.test("includesOf finds the includes of any text", () => {
  const text = `\ufeffinclude "a"\r\n  include "indented"
# include "comment"
define $a = {
  10.0.0.1
}
include "b c\\u0021" # comment
include open "x
include "\\q"
tcp -> drop "include"
`;
  assert.deepEqual(includesOf(text), ["a", "b c!"]);
  assert.deepEqual(includesOf("tcp -> drop"), []);
});
