/** The words by which dpkg knows the package. Read first: deb-control(5), deb-version(7). */

/** What differs from one build to another. */
export interface ControlFacts {
  readonly version: string;
  /** Debian's name of the processor. */
  readonly architecture: string;
  /** The oldest C library with which the program runs, e.g. `2.28`. */
  readonly libc: string;
  readonly installedBytes: number;
}

/** The file `control`. */
export function controlText(
  { version, architecture, libc, installedBytes }: ControlFacts,
): string {
  return `Package: treegate
Version: ${version}
Architecture: ${architecture}
Maintainer: The Treegate authors <treegate@localhost>
Installed-Size: ${Math.ceil(installedBytes / 1024)}
Depends: adduser, procps, libc6 (>= ${libc}), libgcc-s1
Recommends: systemd
Section: net
Priority: optional
Description: load-balancing firewall on a TAP device
 Treegate attaches to one TAP device, or to one on each side, answers for one
 IPv4 address there, and runs every packet sent to it through a firewall tree
 of selectors, filters, load balancers, translators and decisions.
 .
 The service is neither started nor enabled: it first needs its device and
 backends in /etc/treegate/treegate.conf.
`;
}

/** Debian's name of a processor that Deno runs on. */
export function debianArchitecture(arch: typeof Deno.build.arch): string {
  return arch === "x86_64" ? "amd64" : "arm64";
}

/**
 * The newest version of the C library that a program asks for: all names of versions are in its
 * bytes, as `GLIBC_2.28`. Throws an Error if there is none, as it then is no program of this kind.
 */
export function neededLibc(program: Uint8Array): string {
  let newest = 0;
  const mark = [..."GLIBC_2."].map((letter) => letter.charCodeAt(0));
  for (let at = program.indexOf(mark[0]!); at >= 0; at = program.indexOf(mark[0]!, at + 1)) {
    if (!mark.every((byte, i) => program[at + i] === byte)) continue;
    const digits = String.fromCharCode(...program.subarray(at + mark.length, at + mark.length + 3));
    newest = Math.max(newest, Number(/^\d+/.exec(digits)?.[0] ?? 0));
  }
  if (newest === 0) throw new Error("Cannot tell which C library the program needs");
  return `2.${newest}`;
}
