/** The man page, from what the help pages say. Read first: man(7), groff_man_style(7). */
import { DEFAULT_CONTROL } from "./ctl_args.ts";
import type { CommandWords, FlagWords } from "./grammar.ts";
import { called } from "./program_name.ts";

const SECTION = "8";

/** By how many characters man(7) indents the text, and the most that has room there, of 80. */
const INDENT = 7;
const MOST_INDENTED = 80 - INDENT;

/** What a label of the help page is called on a man page (man-pages(7)). */
const HEADINGS: Readonly<Record<string, string>> = { "Exit codes": "EXIT STATUS" };

/** Part of a help text: what follows `Label:` up to the next one, or a text without a label. */
interface Part {
  readonly label: string | null;
  readonly lines: readonly string[];
}

/** The page as roff; `name` is the program's. */
export function manPage(
  name: string,
  version: string,
  [run, ...commands]: readonly CommandWords[],
): string {
  const parts = partsOf(called(run!.help, name));
  const [what, ...more] = run!.description.replaceAll("\n", " ").split(":");
  return [
    `.TH ${name.toUpperCase()} ${SECTION} "" "treegate ${version}"`,
    ".SH NAME",
    `${escape(name)} \\- ${escape(what!.replace(/^A /, ""))}`,
    ".SH SYNOPSIS",
    ...[run!, ...commands].flatMap((command) => [synopsis(name, command), ".br"]).slice(0, -1),
    ".SH DESCRIPTION",
    escape(`Treegate is a ${what!.replace(/^A /, "")}: it${more.join(":")}`),
    ".SH OPTIONS",
    ...run!.flags.flatMap(option),
    ...parts.filter(({ label }) => label === null).flatMap(({ lines }) => [".PP", ...text(lines)]),
    ".SH COMMANDS",
    ...commands.flatMap((command) => section(name, command)),
    ...parts.flatMap(({ label, lines }) =>
      label === null ? [] : [`.SH ${HEADINGS[label] ?? label.toUpperCase()}`, ...text(lines)]
    ),
    ".SH FILES",
    ...file("/etc/treegate/treegate.conf", "The flags of treegate.service, of the Debian package."),
    ...file("/var/lib/treegate/state", "What that service keeps from one run to the next."),
    ...file(
      "/var/lib/treegate/captures",
      "The folder of captures that are started at that service.",
    ),
    ...file(DEFAULT_CONTROL, `The socket at which ${name} ctl asks, unless told.`),
    ".SH SEE ALSO",
    ".BR ip\\-tuntap (8),",
    ".BR systemctl (1),",
    ".BR sd_notify (3)",
  ].join("\n") + "\n";
}

function synopsis(name: string, { name: command, usage }: CommandWords): string {
  return `.B ${escape([name, command].filter((word) => word !== "").join(" "))}\n${escape(usage)}`;
}

function section(name: string, command: CommandWords): string[] {
  return [
    `.SS ${escape(`${name} ${command.name}`)}`,
    escape(called(command.description, name)),
    ...command.flags.filter(({ isOwn }) => isOwn).flatMap(option),
    ...partsOf(called(command.help, name)).flatMap(({ label, lines }) => [
      ".PP",
      ...(label === null ? [] : [`.B ${escape(label)}:`]),
      ...text(lines),
    ]),
  ];
}

function option({ name, value, text }: FlagWords): string[] {
  const term = value === null ? `.B ${escape(name)}` : `.BI ${escape(name)}= "${escape(value)}"`;
  return [".TP", term, escape(text)];
}

function file(path: string, what: string): string[] {
  return [".TP", `.I ${escape(path)}`, escape(what)];
}

/** What follows in a paragraph; lines that are indented stay as they are. */
function text(lines: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < lines.length;) {
    const isLiteral = lines[i]!.startsWith(" ");
    const end = lines.findIndex((line, at) => at > i && line.startsWith(" ") !== isLiteral);
    const block = lines.slice(i, end < 0 ? undefined : end);
    if (isLiteral) out.push(...literal(block));
    else out.push(...(i > 0 ? [".PP"] : []), ...block.map(escape));
    i += block.length;
  }
  return out;
}

/** Lines as they are, as far to the left of the text as the longest of them needs. */
function literal(lines: readonly string[]): string[] {
  const over = Math.max(...lines.map((line) => line.length)) - MOST_INDENTED;
  if (over <= 0) return [".nf", ...lines.map(escape), ".fi"];
  const left = Math.min(INDENT, over);
  return [".nf", `.in -${left}n`, ...lines.map(escape), `.in +${left}n`, ".fi"];
}

/** A part begins with a label, or as a paragraph after an empty line. */
function partsOf(help: string): Part[] {
  const parts: { label: string | null; lines: string[] }[] = [];
  let isNew = true;
  for (const line of help.split("\n")) {
    const [, label = null, rest = line] = /^([A-Z][a-z]+(?: [a-z]+){0,3}): ?(.*)$/.exec(line) ?? [];
    if (line !== "") {
      if (label !== null || (isNew && !line.startsWith(" ")) || parts.length === 0) {
        parts.push({ label, lines: [] });
      }
      if (rest !== "") parts.at(-1)!.lines.push(rest);
    }
    isNew = line === "";
  }
  return parts;
}

/** What means something to roff, as it is: backslashes, hyphens of flags, and lines' beginnings. */
function escape(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll(/^(?=[.'])/gm, "\\&");
}
