/**
 * The man page and the completions of shells: made from the help pages' data, and tried in the
 * programs that read them. A shell on a terminal of script(1) is typed at, with tabs.
 */
import assert from "node:assert/strict";
import { parseArgs } from "../../src/cli/args.ts";
import { called, programName } from "../../src/cli/program_name.ts";
import { permitted } from "../ffi/namespace.ts";
import { run, which } from "../support/shell.ts";

const NAME = "treegate";

function printed(...argv: string[]): string {
  const command = parseArgs(argv, { name: NAME, version: "1.2.3", build: "source" });
  assert.ok(command.kind === "print", JSON.stringify(command));
  return command.text;
}

/** All flags of the help pages, with their dashes. */
function flagsOf(page: string): string[] {
  return [...page.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag!);
}

const COMMANDS = ["policy", "explain", "replay", "ctl", "completion", "man"];
const ALL_FLAGS = new Set(
  ["", ...COMMANDS].flatMap((command) =>
    flagsOf(printed(...(command === "" ? [] : [command]), "--help"))
  ),
);

Deno.test("man page and completions have every flag and command of the help pages", () => {
  assert.ok(ALL_FLAGS.size > 40 && ALL_FLAGS.has("--pcap") && ALL_FLAGS.has("--wait"));
  const man = printed("man").replaceAll("\\-", "-");
  const texts = ["bash", "zsh", "fish"].map((shell) => printed("completion", shell));
  for (const flag of ALL_FLAGS) {
    assert.match(man, new RegExp(`^\\.BI? ${flag}(=| |$)`, "m"));
    for (const text of texts) assert.match(text, new RegExp(`(${flag}|-l ${flag.slice(2)})\\b`));
  }
  for (const command of COMMANDS) {
    assert.match(man, new RegExp(`^\\.SS treegate ${command}$`, "m"));
    for (const text of texts) assert.match(text, new RegExp(`\\b${command}\\b`));
  }
});

Deno.test("a program that is called otherwise calls itself so, on lines that are not too long", () => {
  for (const command of [[], ...COMMANDS.map((one) => [one])]) {
    const page = printed(...command, "--help");
    assert.match(page, /^Usage: treegate /);
    assert.doesNotMatch(page, /\bproxy (--|ctl|policy|explain|replay)/);
    for (const line of page.split("\n")) assert.ok(line.length <= 83, line);
  }
  assert.equal(called("proxy ctl: the proxy", NAME), "treegate ctl: the proxy");
  assert.equal(called("a proxy --net=x, proxy manual", NAME), "a treegate --net=x, proxy manual");
  assert.deepEqual(
    ["/usr/sbin/treegate", "./proxy", "x", "/", "", "/a b", "-bash"].map(programName),
    ["treegate", "proxy", "x", "proxy", "proxy", "proxy", "proxy"],
  );
});

const REFUSED: [argv: string[], message: string][] = [
  [["completion"], 'Missing word after "completion": expected "bash", "zsh" or "fish"'],
  [
    ["completion", "tcsh"],
    'Cannot use "tcsh" after "completion": expected "bash", "zsh" or "fish"',
  ],
  [["completion", "bash", "x"], 'Cannot use "x" after "completion": expected nothing'],
  [
    ["completion", "toString"],
    'Cannot use "toString" after "completion": expected "bash", "zsh" or "fish"',
  ],
  [["man", "x"], 'Cannot use "x" after "man": expected nothing'],
  [["man", "--net=x"], 'Cannot use --net with "man": expected no flags'],
];
for (const [argv, message] of REFUSED) {
  Deno.test(`parseArgs refuses ${argv.join(" ")}`, () => {
    const about = { version: "1.2.3", build: "source" };
    assert.deepEqual(parseArgs(argv, about), { kind: "usage-error", message });
  });
}

/** Declares a test that needs programs: without one it is skipped, with CI=true it fails. */
async function test(name: string, programs: string[], body: () => Promise<void>): Promise<void> {
  const missing = permitted ? (await Promise.all(programs.map(lacks))).join("") : "";
  const ignore = !permitted || (missing !== "" && Deno.env.get("CI") !== "true");
  Deno.test({ name: missing === "" ? name : `${name} (skipped: no ${missing})`, ignore, fn: body });
}

async function lacks(program: string): Promise<string> {
  return await which(program) ? "" : program;
}

await test("man page, mandoc and groff have nothing to say about it", ["mandoc"], async () => {
  const page = printed("man");
  const lint = await run(["mandoc", "-Tlint", "-Wwarning"], { stdin: page });
  assert.deepEqual(lint.stdout.split("\n").filter((line) => !/missing date|^$/.test(line)), []);
  const { stdout, code } = await run(["mandoc", "-Tutf8", "-Owidth=100"], { stdin: page });
  const text = stdout.replaceAll(/.[\b]/g, "");
  assert.equal(code, 0);
  for (const line of [/^TREEGATE\(8\)/, /treegate 1\.2\.3/, /^ +--route=CIDR,ADDR$/m]) {
    assert.match(text, line);
  }
  assert.ok(
    text.includes("'tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn' \\\n"),
    "examples stay",
  );
  const usual = await run(["mandoc", "-Tutf8", "-Owidth=78"], { stdin: page });
  const wide = usual.stdout.replaceAll(/.[\b]/g, "").split("\n").filter((line) => line.length > 80);
  assert.deepEqual(wide, [], "lines too long for a terminal of 80 columns");
});

/** What is typed, and the arguments that the program then gets; <tab> asks for a completion. */
const TYPED: [keys: string, args: string[]][] = [
  ["--trac<tab>of<tab>", ["--trace=off"]],
  ["--net-b l<tab>", ["--net-b", "lo"]],
  ["--preserve<tab>--strays re<tab>", ["--preserve-source", "--strays", "reset"]],
  ["--policy=/etc/host.c<tab>", ["--policy=/etc/host.conf"]],
  ["pol<tab>ch<tab>/etc/host.c<tab>", ["policy", "check", "/etc/host.conf"]],
  ["replay --pc<tab>", ["replay", "--pcap"]],
  ["ctl ki<tab>sour<tab>10.0.0.0/8", ["ctl", "kill", "source=10.0.0.0/8"]],
  ["ctl --js<tab>dra<tab>dst<tab>", ["ctl", "--json", "drain", "dst-addrs/10.0.0.7"]],
  ["ctl ready web/10.0.0.1:8<tab>", ["ctl", "ready", "web/10.0.0.1:8080"]],
  ["ctl --control=/run/b drain web<tab>", ["ctl", "--control=/run/b", "drain", "web/10.9.9.9"]],
  ["completion f<tab>", ["completion", "fish"]],
];

/** In the shell the program prints its arguments, and the backends of either of two proxies. */
const FUNCTION = `${NAME}() {
  if [ "$2$4" = backends--control=/run/b ]; then echo '{"backends":[{"name":"web/10.9.9.9"}]}'
  elif [ "$2" = backends ]; then
    echo '{"backends":[{"name":"dst-addrs/10.0.0.7","x":1},{"name":"web/10.0.0.1:8080"}]}'
  else printf '<%s>' "$@"; echo; fi
}`;

const SHELLS = [
  ["bash", "bash --norc --noprofile -i", "bind 'set bell-style none'"],
  ["zsh", "zsh -f -i", "autoload -U compinit; compinit -u -D; unsetopt beep; setopt menu_complete"],
] as const;
for (const [shell, command, before] of SHELLS) {
  await test(
    `completion ${shell}, what is typed with tabs on a terminal`,
    [shell, "script"],
    async () => {
      const folder = await Deno.makeTempDir({ prefix: "treegate-shell-" });
      try {
        const file = `${folder}/rc`;
        await Deno.writeTextFile(file, `${before}\n${printed("completion", shell)}\n${FUNCTION}\n`);
        const lines = TYPED.map(([keys]) => `${NAME} ${keys.replaceAll("<tab>", "\t")}\n`);
        const { stdout } = await run(
          ["script", "-qec", command, "/dev/null"],
          {
            stdin: `. ${file}\n${lines.join("")} exit\n`,
            env: { TERM: "dumb", HOME: folder, PS1: "" },
          },
        );
        const got = [...stdout.matchAll(/^(<.*>)\r?$/gm)].map(([, words]) => words);
        assert.deepEqual(got, TYPED.map(([, args]) => `<${args.join("><")}>`), stdout);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  );
}

/** A line, and all that fish offers to go on with. */
const OFFERED: [line: string, offers: string[]][] = [
  ["--trac", ["--trace"]],
  ["--trace=", ["--trace=all", "--trace=auto", "--trace=drops", "--trace=off"]],
  ["pol", ["policy"]],
  ["policy ch", ["check"]],
  ["policy check /etc/host.c", ["/etc/host.conf"]],
  ["ctl rem", ["remove"]],
  ["ctl kill so", ["source="]],
  ["ctl drain ", ["dst-addrs/10.0.0.7", "web/10.0.0.1:8080"]],
  ["ctl --control=/run/b drain ", ["web/10.9.9.9"]],
  ["replay --pcap-", ["--pcap-b"]],
  ["completion ", ["bash", "fish", "zsh"]],
];
await test("completion fish, what it offers", ["fish"], async () => {
  const script = `${printed("completion", "fish")}
function ${NAME}
  if test "$argv[4]" = --control=/run/b
    echo '{"backends":[{"name":"web/10.9.9.9"}]}'
  else
    echo '{"backends":[{"name":"dst-addrs/10.0.0.7","x":1},{"name":"web/10.0.0.1:8080"}]}'
  end
end
${OFFERED.map(([line]) => `complete -C '${NAME} ${line}'; echo ====`).join("\n")}\n`;
  const { stdout, stderr } = await run(["fish", "--no-config", "-c", script]);
  const got = stdout.split("====\n").slice(0, -1)
    .map((lines) => lines.split("\n").map((one) => one.split("\t")[0]).filter((one) => one !== ""));
  assert.deepEqual(got.map((one) => one.sort()), OFFERED.map(([, offers]) => offers), stderr);
});
