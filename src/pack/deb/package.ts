/**
 * Makes a Debian package of `./proxy`, where it is called treegate (`deno task package`): the
 * program, its service, manual page, completions, examples, and what dpkg is to do. Read first:
 * deb(5), dpkg-deb(1), deb-conffiles(5).
 */
import { gzipSync } from "node:zlib";
import manifest from "../../../deno.json" with { type: "json" };
import { parseArgs } from "../../cli/args.ts";
import { SHELLS } from "../../cli/shell_args.ts";
import { buildProxy } from "../package.ts";
import { refuseOthers } from "../words.ts";
import { controlText, debianArchitecture, neededLibc } from "./control.ts";

const ROOT = decodeURIComponent(new URL("../../..", import.meta.url).pathname);

/** How the program is called where the package installs it. */
const NAME = "treegate";

/** Where each shell looks for completions. */
const COMPLETIONS: Readonly<Record<typeof SHELLS[number], string>> = {
  bash: `usr/share/bash-completion/completions/${NAME}`,
  zsh: `usr/share/zsh/vendor-completions/_${NAME}`,
  fish: `usr/share/fish/vendor_completions.d/${NAME}.fish`,
};

const CONFIG = `etc/${NAME}/${NAME}.conf`;
const DOC = `usr/share/doc/${NAME}`;

/** Files of the project as they are, and where they go. */
const COPIES: readonly (readonly [from: string, to: string])[] = [
  [`contrib/systemd/${NAME}.service`, `usr/lib/systemd/system/${NAME}.service`],
  [`contrib/systemd/${NAME}.conf`, CONFIG],
  ["LICENSE", `${DOC}/copyright`],
  ["contrib/policies", `${DOC}/examples/policies`],
  ["contrib/prometheus/alerts.yml", `${DOC}/examples/alerts.yml`],
  ["contrib/grafana/treegate.json", `${DOC}/examples/grafana.json`],
];

/** What dpkg runs. */
const SCRIPTS = ["postinst", "prerm", "postrm"];

export interface PackageOptions {
  /** The built file. */
  readonly program: string;
  readonly version: string;
  /** The folder in which the package is to be. */
  readonly folder: string;
  /** How dpkg-deb presses it together: its own flags. */
  readonly compression: readonly string[];
}

/** Makes the package, and returns its path. Throws an Error with dpkg-deb's words. */
export async function makePackage(
  { program, version, folder, compression }: PackageOptions,
): Promise<string> {
  const bytes = await Deno.readFile(program);
  const architecture = debianArchitecture(Deno.build.arch);
  const target = `${folder}/${NAME}_${version}_${architecture}.deb`;
  const tree = await Deno.makeTempDir({ prefix: "treegate-deb-" });
  try {
    await Deno.chmod(tree, 0o755);
    await put(`${tree}/usr/bin/${NAME}`, bytes, 0o755);
    for (const [from, to] of COPIES) await copy(`${ROOT}${from}`, `${tree}/${to}`);
    await put(`${tree}/usr/share/man/man8/${NAME}.8.gz`, pressed(printed(version, "man")));
    for (const shell of SHELLS) {
      await put(`${tree}/${COMPLETIONS[shell]}`, printed(version, "completion", shell));
    }
    const changes = await Deno.readTextFile(`${ROOT}CHANGELOG.md`);
    await put(`${tree}/${DOC}/NEWS.gz`, pressed(changes));
    const files = await filesIn(tree);
    await put(`${tree}/DEBIAN/md5sums`, await tool("md5sum", files, tree));
    await put(`${tree}/DEBIAN/conffiles`, `/${CONFIG}\n`);
    for (const script of SCRIPTS) {
      const text = await Deno.readFile(new URL(script, import.meta.url));
      await put(`${tree}/DEBIAN/${script}`, text, 0o755);
    }
    const sizes = await Promise.all(files.map((file) => Deno.stat(`${tree}/${file}`)));
    const installedBytes = sizes.reduce((sum, { size }) => sum + size, 0);
    const facts = { version, architecture, libc: neededLibc(bytes), installedBytes };
    await put(`${tree}/DEBIAN/control`, controlText(facts));
    await tool("dpkg-deb", ["--root-owner-group", ...compression, "--build", tree, target], folder);
    return target;
  } finally {
    await Deno.remove(tree, { recursive: true });
  }
}

/** What the program prints when it is called as the package does. */
function printed(version: string, ...words: string[]): string {
  const command = parseArgs(words, { name: NAME, version, build: "portable" });
  if (command.kind !== "print") throw new Error(`Cannot print: ${words.join(" ")}`);
  return command.text;
}

/** Writes a file, whatever the umask. */
async function put(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
  await makeFolder(path.slice(0, path.lastIndexOf("/")));
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  await Deno.writeFile(path, bytes);
  await Deno.chmod(path, mode);
}

async function makeFolder(path: string): Promise<void> {
  const isThere = await Deno.stat(path).then(() => true, () => false);
  if (isThere) return;
  await makeFolder(path.slice(0, path.lastIndexOf("/")));
  await Deno.mkdir(path);
  await Deno.chmod(path, 0o755);
}

/** Copies a file, or a folder of files. */
async function copy(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) return await put(to, await Deno.readFile(from));
  for (const file of await filesIn(from)) await copy(`${from}/${file}`, `${to}/${file}`);
}

/** All files of a folder and those in it, in order. */
async function filesIn(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (!isDirectory) files.push(name);
    else files.push(...(await filesIn(`${folder}/${name}`)).map((file) => `${name}/${file}`));
  }
  return files.sort();
}

function pressed(text: string): Uint8Array {
  return gzipSync(text, { level: 9 });
}

/** Runs a program for what it prints. Throws an Error with its words. */
async function tool(name: string, args: readonly string[], cwd: string): Promise<string> {
  const command = new Deno.Command(name, { args: [...args], cwd, env: { LC_ALL: "C" } });
  const { success, stdout, stderr } = await command.output().catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot make the package: there is no program "${name}"`);
  });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) throw new Error(`Cannot make the package: ${text(stderr).trim()}`);
  return text(stdout);
}

if (import.meta.main) {
  try {
    refuseOthers("package", Deno.args);
    buildProxy(false);
    const { version } = manifest;
    const program = `${ROOT}proxy`;
    const folder = ROOT.slice(0, -1);
    const path = await makePackage({ program, version, folder, compression: ["-Zxz", "-z1"] });
    // deno-lint-ignore no-console
    console.error(`Built ./${path.slice(ROOT.length)}`);
  } catch (error) {
    // deno-lint-ignore no-console
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
