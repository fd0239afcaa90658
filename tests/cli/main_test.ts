/**
 * The program as a process: exit codes, streams that fail, files that are given twice, early
 * signals.
 */
import assert from "node:assert/strict";
import { writePcap } from "../support/pcap.ts";
import { proxyCommand } from "../lab/proxy.ts";
import { permitted, whyNoTap } from "../ffi/namespace.ts";
import { buildIcmp } from "../support/frames.ts";
import { Background, type Result, run } from "../support/shell.ts";

const ignore = !permitted;
const explain = ["explain", "--dst-addrs=192.168.0.1", "icmp 192.168.0.254 > 192.168.0.100"];
const replay = ["replay", "--dst-addrs=192.168.0.1", "--pcap=in.pcap"];
const twoSided = ["replay", "--dst-addrs=10.0.0.2", "--ipv4-b=10.0.0.1"]
  .concat("--pcap=in.pcap", "--pcap-b=in.pcap");

/** A folder with a capture and a policy. */
class Folder {
  readonly path = Deno.makeTempDirSync();

  constructor() {
    const frame = buildIcmp({ rest: [7, 1], payload: new Uint8Array(1000) });
    const record = { timeUs: 0, frame, lengthBytes: frame.length };
    Deno.writeFileSync(`${this.path}/in.pcap`, writePcap([record, record]));
    Deno.writeTextFileSync(`${this.path}/p`, "default drop\n");
    Deno.writeTextFileSync(`${this.path}/conf`, "spin = 100\n");
    Deno.symlinkSync("in.pcap", `${this.path}/link`);
  }

  /** Runs the proxy with `words` behind it for the shell, e.g. a redirection. */
  async shell(args: readonly string[], words: string, before = ""): Promise<Result> {
    const command = ["bash", "-c", `${before} "$0" "$@" ${words}`, ...proxyCommand(args)];
    return await run(command, { cwd: this.path });
  }

  size(name: string): number {
    return Deno.statSync(`${this.path}/${name}`).size;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

const talking = [
  ["--version"],
  ["--help"],
  ["policy", "print"],
  ["policy", "svg"],
  ["policy", "check"],
  explain,
  replay,
];
for (const args of talking) {
  const name = args.slice(0, 2).join(" ");
  Deno.test({ name: `proxy ${name}, a full disk is an error`, ignore }, async () => {
    using folder = new Folder();
    const { code, stderr } = await folder.shell(args, ">/dev/full");
    assert.equal(stderr, "error: Cannot write output: No space left on device (os error 28)\n");
    assert.equal(code, 1);
    const both = await folder.shell(args, ">/dev/full 2>&1");
    assert.deepEqual([both.code, both.stderr], [1, ""]);
  });

  Deno.test({ name: `proxy ${name}, a reader that has gone is none`, ignore }, async () => {
    using folder = new Folder();
    const { stdout, stderr } = await folder.shell(args, '| true; echo "${PIPESTATUS[0]}"');
    assert.deepEqual([stdout, stderr], ["0\n", ""]);
  });
}

Deno.test({ name: "proxy, wrong usage is 2 and a failure 1 if nobody hears", ignore }, async () => {
  using folder = new Folder();
  assert.equal((await folder.shell(["--bogus"], "2>/dev/full")).code, 2);
  assert.equal((await folder.shell(["policy", "print", "none"], "2>/dev/full")).code, 1);
});

Deno.test({ name: "proxy replay, a limit of file sizes is said in one line", ignore }, async () => {
  using folder = new Folder();
  const args = [...replay, "--out=out.pcap", "--trace=off"];
  const { code, stderr } = await folder.shell(args, "", "trap '' XFSZ; ulimit -S -f 1;");
  assert.equal(stderr, 'error: Cannot write capture "out.pcap": File too large (os error 27)\n');
  assert.equal(code, 1);
});

const twice: readonly [args: string[], words: string, message: string][] = [
  [[...replay, "--out=in.pcap"], "", '--out: Cannot write "in.pcap": it is the file of --pcap'],
  [[...replay, "--out=./link"], "", '--out: Cannot write "./link": it is the file of --pcap'],
  [[...twoSided, "--out-b=link"], "", '--out-b: Cannot write "link": it is the file of --pcap'],
  [
    [...twoSided, "--out=a", "--out-b=./a"],
    "",
    '--out-b: Cannot write "./a": it is the file of --out',
  ],
  [
    [...replay, "--policy=p", "--out=p"],
    "",
    '--out: Cannot write "p": it is the file of the policy',
  ],
  [
    ["--net=tap100", "--dst-addrs=192.168.0.1", "--policy=p", "--state=./p"],
    "",
    '--state: Cannot write "./p": it is the file of the policy',
  ],
  [
    ["--net=tap100", "--dst-addrs=192.168.0.1", "--config=conf", "--state=./conf"],
    "",
    '--state: Cannot write "./conf": it is the file of --config',
  ],
  [
    ["--net=tap100", "--dst-addrs=192.168.0.1", "--hash-key-file=p", "--state=./p"],
    "",
    '--state: Cannot write "./p": it is the file of --hash-key-file',
  ],
  [
    [
      ...["--net=tap100", "--dst-addrs=192.168.0.1", "--policy=p_2", "--capture=p"],
      "--capture-options=rotate=2 max-size=1M",
    ],
    "",
    '--capture: Cannot write "p_2": it is the file of the policy',
  ],
  [replay, ">>in.pcap", "standard output: Cannot write: it is the file of --pcap"],
  [
    [...replay, "--out=a"],
    ">>a",
    '--out: Cannot write "a": it is the file of standard output',
  ],
  [["policy", "print", "p"], ">>p", "standard output: Cannot write: it is the file of the policy"],
  [
    ["policy", "print", "-"],
    "<p >>p",
    "standard output: Cannot write: it is the file of standard input",
  ],
];
for (const [args, words, message] of twice) {
  const name = `proxy ${args.join(" ")} ${words}: refused, and no file is touched`;
  Deno.test({ name, ignore }, async () => {
    using folder = new Folder();
    const sizes = () => ["in.pcap", "p"].map((name) => folder.size(name));
    const before = sizes();
    const { code, stdout, stderr } = await folder.shell(args, words);
    assert.deepEqual([code, stdout, stderr], [2, "", `${message}, expected another one\n`]);
    assert.deepEqual(sizes(), before);
  });
}

Deno.test(
  { name: "proxy replay, one log for both streams, and /dev/null twice", ignore },
  async () => {
    using folder = new Folder();
    const args = [...twoSided, "--out=/dev/null", "--out-b=/dev/null"];
    const { code, stdout, stderr } = await folder.shell(args, ">log 2>&1");
    assert.deepEqual([code, stdout, stderr], [0, "", ""]);
  },
);

Deno.test({
  name: "proxy, SIGHUP and SIGUSR2 end no run, from when it holds or catches them to its end",
  ignore: ignore || whyNoTap() !== undefined,
  fn: async () => {
    const args = ["--net=early0", "--dst-addrs=192.168.0.1"];
    await using proxy = new Background(["unshare", "--net", ...proxyCommand(args)]);
    const bits = (1n << 0n) | (1n << 11n); // SIGHUP, SIGUSR2
    while (!isReady(proxy.pid, bits)) assert.ok(!await proxy.ended(1), proxy.stderr);
    const bombard = async (until: () => boolean) => {
      while (!until() && !await proxy.ended(1)) {
        proxy.signal("SIGHUP");
        proxy.signal("SIGUSR2");
      }
    };
    await bombard(() =>
      /SIGHUP ignored: no --policy file/.test(proxy.stderr) && /^Summary$/m.test(proxy.stdout)
    );
    proxy.signal("SIGINT");
    await bombard(() => false);
    const { code, stderr } = await proxy.result();
    assert.deepEqual(
      [code, stderr.match(/^.*error.*$/m)],
      [0, null],
      proxy.stdout.slice(-300),
    );
  },
});

Deno.test({
  name: "proxy, a run whose console fails says so, goes on, and exits 1",
  ignore: ignore || whyNoTap() !== undefined,
  fn: async () => {
    const args = ["--net=full0", "--dst-addrs=192.168.0.1"];
    const words = ["bash", "-c", 'exec "$0" "$@" >/dev/full', ...proxyCommand(args)];
    await using proxy = new Background(["unshare", "--net", ...words]);
    await proxy.waitFor("warning: full0 is down");
    proxy.signal("SIGUSR2"); // the summary is the first text for stdout
    await proxy.waitFor("error: Cannot write output: No space left on device (os error 28)\n");
    proxy.signal("SIGHUP");
    await proxy.waitFor("SIGHUP ignored"); // it goes on
    const { code, stderr } = await proxy.stop("SIGINT");
    assert.equal(stderr.match(/Cannot write/g)!.length, 1);
    assert.equal(code, 1);
  },
});

/**
 * True if process `pid` catches the signals of that mask, or holds back them alone: a fork holds
 * all.
 */
function isReady(pid: number, bits: bigint): boolean {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    const maskOf = (name: string) => BigInt(`0x${status.split(`${name}:\t`)[1]!.split("\n")[0]}`);
    return maskOf("SigBlk") === bits || (maskOf("SigCgt") & bits) === bits;
  } catch {
    return false;
  }
}
