/**
 * A lab: a few hosts on one machine, each a network namespace, joined by veth pairs and bridges.
 * See ip-netns(8), unshare(1), nsenter(1).
 *
 * A keeper process holds a mount namespace with a /run of its own, so the hosts' names can't meet
 * those of another lab, and nothing of it is seen outside. Run by root it is just that; run by
 * anyone else the keeper sits in a user namespace too, where the machine allows this. When the
 * keeper ends (it does when its input closes, so also when the test dies), the lab is gone.
 *
 * The current folder of every command in the lab is `/`: give absolute paths.
 */
import {
  Background,
  finish,
  outputOf,
  type Result,
  type RunOptions,
  which,
} from "../support/shell.ts";

const keeperScript = `
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns
echo ready
exec cat`;

/**
 * Ends what the commands of the hosts have started and left, such as the program of a shell loop.
 */
const endScript = `
ip netns list | while read -r name _; do
  pids=$(ip netns pids "$name")
  if [ -n "$pids" ]; then kill -KILL $pids; fi
done`;

/** Namespaces that come and go together. */
export class Lab implements AsyncDisposable {
  /** In the order in which they were made. */
  readonly hosts: Host[] = [];
  readonly #keeper: Background;
  readonly #enter: readonly string[];
  readonly #commands = new Set<Background>();
  #folder = "";
  #closed = false;

  private constructor(keeper: Background, enter: readonly string[]) {
    this.#keeper = keeper;
    this.#enter = enter;
  }

  /**
   * An empty lab.
   *
   * @throws {Error} where the machine does not let this user make namespaces
   */
  static async make(): Promise<Lab> {
    const isRoot = Deno.uid() === 0;
    const user = isRoot ? [] : ["--user", "--map-root-user"];
    const keeper = new Background(
      ["unshare", ...user, "--net", "--mount", "sh", "-ec", keeperScript],
      { keepStdin: true },
    );
    try {
      await keeper.waitFor("ready\n");
    } catch {
      const { stderr } = await keeper.stop("SIGKILL");
      throw new Error(`Cannot make network namespaces: ${stderr.trim()}`);
    }
    const enter = [
      ...["nsenter", `--target=${keeper.pid}`],
      ...(isRoot ? [] : ["--user", "--preserve-credentials"]),
      ...["--mount", "--net", "--"],
    ];
    return new Lab(keeper, enter);
  }

  /** Why no lab can be made here, with these programs in it; "" where it can. */
  static async obstacle(programs: readonly string[] = []): Promise<string> {
    for (const program of ["unshare", "nsenter", "ip", ...programs]) {
      if (!await which(program)) return `there is no program "${program}"`;
    }
    try {
      await using lab = await Lab.make();
      const { code, stderr } = await lab.run(["ip", "tuntap", "add", "dev", "tap0", "mode", "tap"]);
      return code === 0 ? "" : `Cannot make a TAP device: ${stderr.trim()}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /**
   * A new host with nothing but its loopback interface, up. IPv6 is off: labs stay quiet, unless
   * `twins.ts` turns it on.
   */
  async host(name: string): Promise<Host> {
    await this.must(["ip", "netns", "add", name]);
    const host = new Host(this, name);
    await host.script(`
      echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 || true
      echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 || true
      # where br_netfilter is loaded a bridge would hand its frames to the firewall
      for nf in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do
        if [ -e $nf ]; then echo 0 > $nf || true; fi
      done
      ip link set lo up`);
    this.hosts.push(host);
    return host;
  }

  /** A cable: interface `aName` in host `a`, `bName` in host `b`, both up. */
  async cable(a: Host, aName: string, b: Host, bName: string): Promise<void> {
    await this.must([
      ...["ip", "link", "add", aName, "netns", a.name, "type", "veth"],
      ...["peer", "name", bName, "netns", b.name],
    ]);
    await a.script(`ip link set ${aName} up`);
    await b.script(`ip link set ${bName} up`);
  }

  /** A folder for this lab's files (captures, pipes, data); removed at the end. */
  get folder(): string {
    this.#folder ||= Deno.makeTempDirSync({ prefix: "treegate-lab-" });
    return this.#folder;
  }

  /** Runs a command in the lab but outside its hosts, to its end and within its time limit. */
  async run(argv: readonly string[], options?: RunOptions): Promise<Result> {
    const command = this.start(argv, options);
    const result = await finish(command, options);
    this.#commands.delete(command);
    return result;
  }

  /** As `run`, for a command that must succeed: its output. */
  async must(argv: readonly string[], options?: RunOptions): Promise<string> {
    return outputOf(argv, await this.run(argv, options));
  }

  /** Starts a command that is ended with the lab at the latest. */
  start(argv: readonly string[], options?: RunOptions): Background {
    if (this.#closed) throw new Error(`Cannot run "${argv.join(" ")}": the lab is closed`);
    const command = new Background(this.command(argv), options);
    this.#commands.add(command);
    return command;
  }

  /** The words that start a program in the lab. */
  command(argv: readonly string[]): string[] {
    return [...this.#enter, ...argv];
  }

  /** Ends every command, the last one first, then the lab. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const commands = [...this.#commands].reverse();
    this.#commands.clear();
    for (const command of commands) await command.stop("SIGTERM", 2_000);
    await finish(new Background([...this.#enter, "sh", "-c", endScript]));
    await this.#keeper.stop("SIGKILL");
    if (this.#folder) await Deno.remove(this.#folder, { recursive: true }).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** One host of a lab. Its processes are ordinary ones: the pid is that of the command itself. */
export class Host {
  readonly lab: Lab;
  readonly name: string;

  constructor(lab: Lab, name: string) {
    this.lab = lab;
    this.name = name;
  }

  /** Runs a command to its end, within its time limit. */
  run(argv: readonly string[], options?: RunOptions): Promise<Result> {
    return this.lab.run(this.#words(argv), options);
  }

  /** Runs a command that must succeed, for its output. */
  must(argv: readonly string[], options?: RunOptions): Promise<string> {
    return this.lab.must(this.#words(argv), options);
  }

  /** The words that start a program in this host, for who starts and ends it himself. */
  command(argv: readonly string[]): string[] {
    return this.lab.command(this.#words(argv));
  }

  /** Runs lines of shell; the first that fails ends them with an exception. */
  script(lines: string): Promise<string> {
    return this.must(["sh", "-ec", lines]);
  }

  /** Starts a command in the background; ended with the lab at the latest. */
  start(argv: readonly string[], options?: RunOptions): Background {
    return this.lab.start(this.#words(argv), options);
  }

  /** The MAC address of an interface. */
  async mac(device: string): Promise<string> {
    const [link] = JSON.parse(await this.must(["ip", "-json", "link", "show", "dev", device]));
    return link.address;
  }

  #words(argv: readonly string[]): string[] {
    return ["nsenter", `--net=/run/netns/${this.name}`, "--", ...argv];
  }
}
