/** A proxy with a dashboard in a lab, and a browser in its network. */
import type { Browser } from "playwright-core";
import { buildPage } from "../../src/pack/build_page.ts";
import type { Host, Lab } from "../lab/lab.ts";
import { proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { bridged, type Topology } from "../lab/topology.ts";
import type { Background } from "../support/shell.ts";
import { startBrowser } from "./browser.ts";

/** Where the dashboard is, in the network of the proxy's host. */
export const ADMIN = "127.0.0.1:9100";

interface Paths {
  readonly policy: string;
  readonly control: string;
  /** Beside the usual ones; one of theirs is in its place. */
  readonly flags: readonly string[];
}

export class WatchedPage implements AsyncDisposable {
  readonly topology: Topology;
  readonly browser: Browser;
  /** The policy's file. */
  readonly policy: string;
  proxy: Background;
  readonly #paths: Paths;

  private constructor(topology: Topology, browser: Browser, paths: Paths, proxy: Background) {
    this.topology = topology;
    this.browser = browser;
    this.policy = paths.policy;
    this.proxy = proxy;
    this.#paths = paths;
  }

  static async start(policy: string, ...flags: string[]): Promise<WatchedPage> {
    buildPage();
    const topology = await bridged("behind a port", "nobody");
    const { host, lab } = topology;
    const folder = `${lab.folder}/control`;
    await Deno.mkdir(folder, { mode: 0o700 });
    const paths = { policy: `${lab.folder}/own.policy`, control: `${folder}/s`, flags };
    await Deno.writeTextFile(paths.policy, policy);
    const executable = await chromiumIn(lab, host);
    const [browser, proxy] = await Promise.all([startBrowser(executable), start(host, paths)]);
    return new WatchedPage(topology, browser, paths, proxy);
  }

  /** The proxy is started again, after it has ended. */
  async restart(): Promise<void> {
    this.proxy = await start(this.topology.host, this.#paths);
  }

  ctl(...words: string[]): Promise<string> {
    const control = `--control=${this.#paths.control}`;
    return this.topology.host.must(proxyCommand(["ctl", control, ...words]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser.close();
    await this.topology[Symbol.asyncDispose]();
  }
}

async function start(host: Host, { policy, control, flags }: Paths): Promise<Background> {
  const options = [`--admin=${ADMIN}`, `--control=${control}`, `--policy=${policy}`];
  const usual = usualOptions.filter((one) =>
    !flags.some((flag) => flag.startsWith(one.split("=")[0]!))
  );
  const proxy = await startProxy(host, [...usual, ...options, "--trace=off", ...flags]);
  await proxy.waitFor("metrics are served");
  return proxy;
}

/** What starts Chromium in the network of a host. */
async function chromiumIn(lab: Lab, host: Host): Promise<string> {
  const path = `${lab.folder}/chromium`;
  const words = host.command(["chromium"]).map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(path, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o700 });
  return path;
}
