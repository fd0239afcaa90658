/**
 * A machine in a host of a lab: systemd as process 1 of its own namespaces, on a root that begins
 * as this machine's and forgets at the end what was written to it. Packages can be installed there,
 * and services run as they do after a boot; nothing else is started but the journal.
 *
 * Read first: systemd(1), namespaces(7), the kernel's overlayfs and cgroup-v2.
 */
import type { Background, Result, RunOptions } from "../support/shell.ts";
import { type Host, Lab } from "./lab.ts";

const timeoutMs = 30_000;

/** Runs as process 1: the folder for the root, and the name of a group of processes. */
const rootScript = `
folder=$1 group=$2
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root" "$folder/cgroup"
overlay=lowerdir=/,upperdir=$folder/upper,workdir=$folder/work
mount -t overlay overlay -o "$overlay" "$folder/root"
mount -t cgroup2 cgroup2 "$folder/cgroup"
mkdir "$folder/cgroup/$group"
echo 0 > "$folder/cgroup/$group/cgroup.procs"
exec unshare --cgroup sh -ec "$3" sh "$folder/root"`;

/** The rest, where that group is all there is. Nothing here may change the kernel's settings. */
const bootScript = `
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200; do
  (IFS=:; set -- $device; mknod -m 666 "dev/$1" c "$2" "$3")
done
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
rm -rf etc/systemd/system/*.wants
rm -f usr/sbin/policy-rc.d etc/dpkg/dpkg.cfg.d/*
: > etc/fstab
for link in usr/lib/systemd/system/*.target.wants/*; do
  case $link in *journal*) ;; *) ln -sfn /dev/null "etc/systemd/system/\${link##*/}" ;; esac
done
printf '[Unit]\\nDefaultDependencies=no\\n' > etc/systemd/system/lab.target
mkdir -p .old
pivot_root . .old
umount -l /.old
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  /lib/systemd/systemd --unit=lab.target --show-status=no --log-target=journal`;

/** Groups of processes outlive them. */
const cleanScript = `
mount -t cgroup2 cgroup2 /mnt
find "/mnt/$1" -depth -type d -exec rmdir {} +`;

export class Machine implements AsyncDisposable {
  readonly #host: Host;
  readonly #program: Background;
  readonly #process1: number;
  readonly #enter: readonly string[];
  readonly #group: string;

  private constructor(host: Host, program: Background, process1: number, group: string) {
    this.#host = host;
    this.#program = program;
    this.#process1 = process1;
    this.#group = group;
    const namespaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"];
    this.#enter = ["nsenter", `--target=${process1}`, ...namespaces, "--"];
  }

  /** Boots it, with the network of the host. Only root may. */
  static async start(host: Host): Promise<Machine> {
    const { folder } = host.lab;
    const group = folder.slice(folder.lastIndexOf("/") + 1);
    const root = `${folder}/machine`;
    await Deno.mkdir(root);
    const namespaces = ["--mount", "--pid", "--uts", "--ipc"];
    const words = ["sh", "-ec", rootScript, "sh", root, group, bootScript];
    const program = host.start(["unshare", ...namespaces, "--fork", "--kill-child", ...words]);
    try {
      const machine = new Machine(host, program, await processOne(program), group);
      await machine.#booted();
      return machine;
    } catch (error) {
      const { stderr } = await program.stop("SIGKILL");
      throw new Error(`Cannot boot a machine: ${(error as Error).message}: ${stderr.trim()}`);
    }
  }

  /** Why no machine can be booted here; "" where one can. */
  static async obstacle(): Promise<string> {
    try {
      await using lab = await Lab.make();
      await using _machine = await Machine.start(await lab.host("host"));
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Runs a command there to its end. */
  run(argv: readonly string[], options?: RunOptions): Promise<Result> {
    return this.#host.lab.run([...this.#enter, ...argv], options);
  }

  /** As `run`, for a command that must succeed: its output. */
  must(argv: readonly string[], options?: RunOptions): Promise<string> {
    return this.#host.lab.must([...this.#enter, ...argv], options);
  }

  /** Starts a command there that is ended with the lab at the latest. */
  start(argv: readonly string[], options?: RunOptions): Background {
    return this.#host.lab.start([...this.#enter, ...argv], options);
  }

  /** Runs lines of shell there; the first that fails ends them with an exception. */
  script(lines: string, options?: RunOptions): Promise<string> {
    return this.must(["sh", "-ec", lines], options);
  }

  /** Writes a file there. */
  async write(path: string, text: string): Promise<void> {
    await this.must(["sh", "-ec", 'mkdir -p "${0%/*}"; cat > "$0"', path], { stdin: text });
  }

  /** What a service has said so far. */
  journal(unit: string): Promise<string> {
    return this.must(["journalctl", "--quiet", "--output=cat", `--unit=${unit}`]);
  }

  /** Properties of a unit, as systemd has them now. */
  async properties(unit: string, ...names: string[]): Promise<string[]> {
    const flags = names.map((name) => `--property=${name}`);
    const text = await this.must(["systemctl", "show", ...flags, unit]);
    const values = new Map(
      text.trim().split("\n").map((line) => {
        const at = line.indexOf("=");
        return [line.slice(0, at), line.slice(at + 1)];
      }),
    );
    return names.map((name) => values.get(name) ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With process 1 go all others; whoever has started it ends when they are gone.
    if (!await this.#program.ended(0)) Deno.kill(this.#process1, "SIGKILL");
    await this.#program.ended(timeoutMs);
    await this.#host.lab.must(["unshare", "--mount", "sh", "-ec", cleanScript, "sh", this.#group]);
  }

  async #booted(): Promise<void> {
    await until(async () => {
      const { stdout } = await this.run(["systemctl", "is-system-running"]);
      await isAlive(this.#program);
      return /running|degraded/.test(stdout) ? true : null;
    }, "systemd is running");
  }
}

/** Asks until there is an answer, and returns it. */
export async function until<T>(ask: () => Promise<T | null>, what: string): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  while (true) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() > deadline) throw new Error(`Cannot see in time that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The process that a program has started. */
function processOne(program: Background): Promise<number> {
  const { pid } = program;
  return until(async () => {
    await isAlive(program);
    const children = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`).catch(() => "");
    return Number(children.trim()) || null;
  }, "process 1 is there");
}

async function isAlive(program: Background): Promise<void> {
  if (await program.ended(0)) throw new Error("it has ended");
}
