/**
 * Completion for bash(1), without the package bash-completion. The line is cut at white space,
 * because bash itself cuts it at "=" and ":", too: what is before its own word is taken off the
 * answers.
 */
import type { CommandWords, FlagWords, Place } from "../grammar.ts";
import { backendsCommand, DEVICES, identifier } from "./backends.ts";

export function bashCompletion(name: string, grammar: readonly CommandWords[]): string {
  const f = `_${identifier(name)}`;
  const commands = grammar.slice(1);
  const flags = new Map(grammar.flatMap((command) => command.flags.map((one) => [one.name, one])));
  const valued = [...flags.values()].filter(({ value }) => value !== null);
  const subs = commands.flatMap((command) =>
    command.words.map((word) => ({ key: `${command.name} ${word.word}`, word }))
  );
  return `# Completion of ${name} for bash, printed by: ${name} completion bash
${f}() {
  local line=() word flag="" command="" sub="" given before="" words="" kind="" control=()
  local text=\${COMP_LINE:0:COMP_POINT}
  read -ra line <<<"$text"
  [[ $text == *[[:space:]] ]] && line+=("")
  given=\${line[-1]}
  local before_word=\${given%"$2"}
  COMPREPLY=()

  local valued=" ${valued.map(({ name }) => name).join(" ")} "
  for word in "\${line[@]:1:\${#line[@]}-2}"; do
    [[ $word == --control=* ]] && control=("$word")
    if [[ -n $flag ]]; then flag=""
    elif [[ $valued == *" $word "* ]]; then flag=$word
    elif [[ $word == -* ]]; then :
    elif [[ -z $command ]]; then
      case $word in ${commands.map(({ name }) => name).join("|")}) command=$word ;; esac
    elif [[ -z $sub ]]; then sub=$word
    fi
  done
  if [[ -z $flag && $given == --*=* ]]; then
    flag=\${given%%=*} before=$flag= given=\${given#*=}
  fi

  if [[ -n $flag ]]; then
    case $flag in
${flagCases(valued)}    esac
  elif [[ $given == -* ]]; then
    case $command in
${
    grammar.map(({ name, flags }) =>
      `    ${name === "" ? '""' : name}) words="${flags.map(flagWord).join(" ")}" ;;\n`
    ).join("")
  }    esac
  elif [[ -z $command ]]; then
    words="${commands.map(({ name }) => name).join(" ")} help"
  else
    case "$command $sub" in
${
    commands.filter(({ words }) => words.length > 0).map(({ name, words }) =>
      `    "${name} ") words="${words.map(({ word }) => word).join(" ")}" ;;\n`
    ).join("")
  }${
    subs.map(({ key, word: { then, parameters = [] } }) => {
      const then_ = answer(then);
      const named = parameters.map((one) => `${one}=`).join(" ");
      return then_ === "" && named === ""
        ? ""
        : `    "${key}") ${
          [then_, named === "" ? "" : `words="${named}"`].filter(Boolean).join(" ")
        } ;;\n`;
    }).join("")
  }    esac
  fi

  case $kind in
  file) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -P "$before" -f -- "$given") ;;
  folder) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -P "$before" -d -- "$given") ;;
  device) words=$(${DEVICES}) ;;
  backend) words=$(${backendsCommand(name, '"${control[@]}"')}) ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$words" -- "$given")
  fi
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace
  COMPREPLY=("\${COMPREPLY[@]#"$before_word"}")
}
complete -F ${f} ${name}
`;
}

function flagWord({ name, value }: FlagWords): string {
  return value === null ? name : `${name}=`;
}

function flagCases(flags: readonly FlagWords[]): string {
  const byAnswer = Map.groupBy(flags, ({ place }) => answer(place));
  byAnswer.delete("");
  return [...byAnswer].map(([answer, flags]) =>
    `    ${flags.map(({ name }) => name).join("|")}) ${answer} ;;\n`
  ).join("");
}

function answer(place: Place): string {
  if (place.kind === "any") return "";
  return place.kind === "one of" ? `words="${place.words.join(" ")}"` : `kind=${place.kind}`;
}
