/** Completion for zsh(1), by its own _arguments and _describe. Read first: zshcompsys(1). */
import type { CommandWords, FlagWords, Place, Word } from "../grammar.ts";
import { backendsCommand, identifier } from "./backends.ts";

export function zshCompletion(name: string, grammar: readonly CommandWords[]): string {
  const f = `_${identifier(name)}`;
  const [run, ...commands] = grammar;
  return `#compdef ${name}
# Completion of ${name} for zsh, printed by: ${name} completion zsh
${f}_backends() {
  local -a names control=(\${(MQ)\${(z)LBUFFER}:#--control=*})
  names=(\${(f)"$(${backendsCommand(name, "$control")})"})
  compadd -- $names
}
${f}() {
  local context state state_descr line ret=1
  typeset -A opt_args
  _arguments -C -A "-*" \\
${
    run!.flags.map((one) => `    ${flag(one)} \\\n`).join("")
  }    '1:command:->command' '*::word:->word' && ret=0
  case $state in
  command)
    local -a commands=(
${
    commands.map(({ name, summary }) =>
      `      ${quote(`${name}:${summary.replaceAll(":", "\\:")}`)}\n`
    ).join("")
  }    )
    _describe -t commands command commands && ret=0
    ;;
  word)
    case $line[1] in
${commands.map(command).join("")}    esac
    ;;
  esac
  return ret
}
if [[ $funcstack[1] == ${f} ]]; then ${f} "$@"; else compdef ${f} ${name}; fi
`;

  function command({ name, flags, words }: CommandWords): string {
    const taken = flags.map((one) => `      ${flag(one)} \\\n`).join("");
    if (words.length === 0) {
      return `    ${name}) _arguments \\\n${taken}      '*:word:' && ret=0 ;;\n`;
    }
    return `    ${name})
      _arguments -C \\
${taken}      '1:word:(${words.map(({ word }) => word).join(" ")})' '*::more:->more' && ret=0
      [[ $state == more ]] && case $line[1] in
${words.map(after).join("")}      esac
      ;;
`;
  }

  function after({ word, then, parameters = [] }: Word): string {
    const named = parameters.map((one) => `${one}=`).join(" ");
    const acts = [
      then.kind === "any" ? "" : `_arguments ${quote(`1:${then.kind}:${action(then)}`)} && ret=0`,
      named === "" ? "" : `compadd -S '' -- ${named} && ret=0`,
    ].filter((act) => act !== "");
    return acts.length === 0 ? "" : `      ${word}) ${acts.join("; ")} ;;\n`;
  }

  function flag({ name, value, place, text }: FlagWords): string {
    const described = text.replaceAll(/[[\]:\\]/g, "\\$&");
    if (value === null) return quote(`${name}[${described}]`);
    return quote(`${name}=[${described}]:${value.replaceAll(":", "\\:")}:${action(place)}`);
  }

  function action(place: Place): string {
    switch (place.kind) {
      case "any":
        return "";
      case "file":
        return "_files";
      case "folder":
        return "_files -/";
      case "device":
        return "_net_interfaces";
      case "backend":
        return `${f}_backends`;
      case "one of":
        return `(${place.words.join(" ")})`;
    }
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
