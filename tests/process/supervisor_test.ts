/** What the supervisor is told, and which descriptors are believed to come from it. */
import assert from "node:assert/strict";
import { aliveEveryMs, handedOver, Supervisor } from "../../src/process/supervisor.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { permitted } from "../ffi/namespace.ts";

const ignore = !permitted;

const CASES: [name: string, env: Record<string, string>, fds: number[]][] = [
  ["none", {}, []],
  ["two", { LISTEN_PID: "7", LISTEN_FDS: "2" }, [3, 4]],
  ["another process's", { LISTEN_PID: "8", LISTEN_FDS: "2" }, []],
  ["without a process", { LISTEN_FDS: "2" }, []],
  ["without a count", { LISTEN_PID: "7" }, []],
  ["a count that is none", { LISTEN_PID: "7", LISTEN_FDS: "2x" }, []],
  ["a negative count", { LISTEN_PID: "7", LISTEN_FDS: "-2" }, []],
  ["more than anybody keeps", { LISTEN_PID: "7", LISTEN_FDS: "9999" }, []],
  ["a process that only looks like ours", { LISTEN_PID: "07", LISTEN_FDS: "1" }, []],
];
for (const [name, env, fds] of CASES) {
  Deno.test(`handedOver, ${name}`, () => assert.deepEqual(handedOver(env, 7), fds));
}

const WATCHED: [name: string, env: Record<string, string>, everyMs: number][] = [
  ["none", {}, Infinity],
  ["ten seconds", { WATCHDOG_USEC: "10000000" }, 5000],
  ["of this process", { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" }, 1500],
  ["of another process", { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "8" }, Infinity],
  ["no time", { WATCHDOG_USEC: "0" }, Infinity],
  ["a time that is none", { WATCHDOG_USEC: "10s" }, Infinity],
  ["more than can be", { WATCHDOG_USEC: "9".repeat(20) }, Infinity],
];
for (const [name, env, everyMs] of WATCHED) {
  Deno.test(`aliveEveryMs, ${name}`, () => assert.equal(aliveEveryMs(env, 7), everyMs));
}

/** Tells a socket `address` everything; what came there, and what was logged. */
async function told(
  address: string,
  listen = address,
): Promise<{ texts: string[]; log: string[] }> {
  const log: string[] = [];
  const line = (text: string) => void log.push(text);
  const listener = new Deno.Command("python3", {
    args: ["-c", LISTENER, listen.replace(/^@/, "\\0")],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = listener.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const more = async () => {
    const { value, done } = await reader.read();
    text += value ?? "";
    return !done;
  };
  while (!text.includes("bound\n")) await more();
  {
    const logs = { info: line, warning: line, error: line };
    const environment = { NOTIFY_SOCKET: address, LISTEN_FDNAMES: "tap100:tap101" };
    using supervisor = new Supervisor(environment, 7, buildShim(), logs);
    supervisor.forget(4);
    supervisor.forget(5); // it has no name
    supervisor.keep("tap100", 0);
    supervisor.ready();
    supervisor.reloading(1234.5678);
    supervisor.alive();
    supervisor.stopping();
  }
  while (await more());
  await listener.status;
  return { texts: text.trim().split("\n").slice(1), log };
}

/**
 * Prints each message, and whether a descriptor of a character device came along, for two seconds
 * at most.
 */
const LISTENER = `
import socket, sys, array, os, stat
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.settimeout(2)
s.bind(sys.argv[1].encode().decode("unicode_escape"))
print("bound", flush=True)
text = b""
try:
  while text != b"STOPPING=1":
    text, control, _, _ = s.recvmsg(4096, 64)
    fds = [fd for _, kind, data in control for fd in array.array("i", data)]
    print(repr(text.decode()), *(stat.S_ISCHR(os.fstat(fd).st_mode) for fd in fds), flush=True)
except TimeoutError: pass`;

const hasPython = permitted &&
  await new Deno.Command("python3", { args: ["--version"], stdout: "null", stderr: "null" })
    .output().then(({ success }) => success, () => false);

const SAID = [
  String.raw`'FDSTOREREMOVE=1\nFDNAME=tap101'`,
  String.raw`'FDSTOREREMOVE=1\nFDNAME=tap100'`,
  String.raw`'FDSTORE=1\nFDNAME=tap100' True`,
  `'READY=1'`,
  String.raw`'RELOADING=1\nMONOTONIC_USEC=1234567'`,
  `'WATCHDOG=1'`,
  `'STOPPING=1'`,
];
for (const kind of ["a path", "an abstract name"]) {
  Deno.test({ name: `Supervisor, is told at ${kind}`, ignore: !hasPython }, async () => {
    const folder = await Deno.makeTempDir({ prefix: "treegate-notify-" });
    try {
      const address = kind === "a path" ? `${folder}/socket` : `@${folder}/socket`;
      assert.deepEqual(await told(address), { texts: SAID, log: [] });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

const NOWHERE: [string, string][] = [
  ["/nowhere/socket", "ENOENT"],
  ["relative/socket", "EINVAL"],
  ["/", "EINVAL"],
  [`/${"x".repeat(200)}`, "ENAMETOOLONG"],
];
for (const [address, errno] of NOWHERE) {
  Deno.test(
    { name: `Supervisor, ${errno} is said once for "${address.slice(0, 20)}"`, ignore },
    () => {
      const log: string[] = [];
      const line = (text: string) => void log.push(text);
      const logs = { info: line, warning: line, error: line };
      using supervisor = new Supervisor({ NOTIFY_SOCKET: address }, 7, buildShim(), logs);
      supervisor.ready();
      supervisor.stopping();
      assert.deepEqual(log, [`Cannot tell the supervisor ($NOTIFY_SOCKET): ${errno}`]);
    },
  );
}

/** Binds a socket, sends as many datagrams to it as it holds, and reads none for a second. */
const FULL = `
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
o = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
o.setblocking(False)
try:
  while True: o.sendto(b"x", sys.argv[1])
except BlockingIOError: print("full", flush=True)
sys.stdin.read()`;

Deno.test(
  { name: "Supervisor, alive does not wait, and complains to nobody", ignore: !hasPython },
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "treegate-notify-" });
    const address = `${folder}/socket`;
    const listener = new Deno.Command("python3", {
      args: ["-c", FULL, address],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = listener.stdout.getReader();
    try {
      assert.match(new TextDecoder().decode((await reader.read()).value), /^full/);
      const log: string[] = [];
      const line = (text: string) => void log.push(text);
      const environment = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "2000000" };
      const logs = { info: line, warning: line, error: line };
      using supervisor = new Supervisor(environment, 7, buildShim(), logs);
      assert.equal(supervisor.aliveEveryMs, 1000);
      supervisor.alive();
      assert.deepEqual([log, supervisor.isThere], [[], true]);
      supervisor.ready();
      assert.deepEqual(log, ["Cannot tell the supervisor ($NOTIFY_SOCKET): EAGAIN"]);
      using unsupervised = new Supervisor({ WATCHDOG_USEC: "2000000" }, 7, buildShim(), logs);
      assert.equal(unsupervised.aliveEveryMs, Infinity);
    } finally {
      await listener.stdin.close();
      await listener.status;
      await reader.cancel(); // earlier, it can end the process
      await Deno.remove(folder, { recursive: true });
    }
  },
);
