/** The flags of a run as the help page shows them; what they mean is decided in `flags.ts`. */
import type { Command as Program } from "commander";
import { DEFAULT_TIMEOUTS } from "../flow/lifetimes.ts";
import type { Values } from "./flag_values.ts";
import {
  DEFAULT_CHECK,
  DEFAULT_CONNECT_TIMEOUT,
  DEFAULT_FAST_PATH,
  DEFAULT_LOG,
  DEFAULT_LOG_CONNECTIONS,
  DEFAULT_LOG_LEVEL,
  DEFAULT_MAX_CONN,
  DEFAULT_MAX_LIMIT_SOURCES,
  DEFAULT_OFFLOAD,
  DEFAULT_RETRIES,
  DEFAULT_SANDBOX,
  DEFAULT_SPIN,
  DEFAULT_STATE_MAX_AGE,
  DEFAULT_STRAYS,
  DEFAULT_TRANSLATE_FAMILIES,
  TIMEOUT_FLAGS,
  timeoutKey,
} from "./flags.ts";
import { DEFAULT_IPV4 } from "./link_flags.ts";
import { DEFAULT_PORTS } from "./values.ts";

export function addRunFlags(program: Program): void {
  const flag = (flags: string, text: string) => addFlag(program, flags, text);
  flag("--net <DEVICE>", "TAP device, 1 to 15 characters (required)");
  flag("--dst-addrs <ADDR,…>", "addresses of the backends, comma-separated (required)");
  flag("--check <CHECK>", `how backends are checked, as in "tcp 80" (default ${DEFAULT_CHECK})`);
  flag("--ipv4 <ADDR/LEN>", `own address; without /LEN, /24 (default ${DEFAULT_IPV4})`);
  flag("--ipv6 <ADDR/LEN>", "own IPv6 address; without /LEN, /64, repeatable (default none)");
  flag("--accept-ra <on|off>", "routers tell the default gateway of IPv6 (default off)");
  flag("--gateway <ADDR>", "default gateway, one for each family (default none)");
  flag("--host-ipv4 <ADDR/LEN>", "the host's address on the device; brings it up (default none)");
  flag("--host-ipv6 <ADDR/LEN>", "the host's IPv6 address there, likewise (default none)");
  flag("--route <CIDR,ADDR>", "route to a network via a neighbour, repeatable (default none)");
  flag("--mac <MAC>", "own MAC address (default: from device and address)");
  flag("--net-b <DEVICE>", "TAP device of side B, the backends' (default: one device)");
  flag("--ipv4-b <ADDR/LEN>", "own address on side B (required with --net-b)");
  flag(
    "--ipv6-b <ADDR/LEN>",
    "own IPv6 address on side B, repeatable (required with --ipv6 unless families are translated)",
  );
  flag("--gateway-b <ADDR>", "default gateway on side B, one for each family (default none)");
  flag("--host-ipv4-b <ADDR/LEN>", "the host's address on side B's device (default none)");
  flag("--host-ipv6-b <ADDR/LEN>", "the host's IPv6 address there (default none)");
  flag("--mac-b <MAC>", "own MAC address on side B (default: likewise)");
  flag("--ports <FIRST-LAST>", `source ports towards backends (default ${DEFAULT_PORTS})`);
  flag("--max-conn <N>", `maximum connections (default ${DEFAULT_MAX_CONN})`);
  flag(
    "--max-limit-sources <N>",
    `maximum sources that limits track (default ${DEFAULT_MAX_LIMIT_SOURCES})`,
  );
  flag(
    "--max-neighbors <N>",
    "maximum neighbors of a family for each interface (default --max-conn)",
  );
  flag(
    "--max-conn-per-source <N>",
    "maximum unanswered connections of one source (default a quarter)",
  );
  for (const [name, text] of TIMEOUT_FLAGS) {
    const seconds = DEFAULT_TIMEOUTS[timeoutKey(name)];
    flag(`--timeout-${name} <SECONDS>`, `idle timeout: ${text} (default ${seconds})`);
  }
  program.option("--preserve-source", "backends see clients' addresses (default: the proxy's)");
  flag(
    "--translate-families <on|off>",
    `backends of either family for any client (default ${DEFAULT_TRANSLATE_FAMILIES})`,
  );
  flag(
    "--clamp-mss <on|off>",
    "lower TCP's MSS to the MTUs (default: on if MTUs or families differ)",
  );
  flag(
    "--retries <N>",
    `other backends tried if one refuses or is silent (default ${DEFAULT_RETRIES})`,
  );
  flag(
    "--connect-timeout <SECONDS>",
    `time for a backend to answer a SYN (default ${DEFAULT_CONNECT_TIMEOUT})`,
  );
  flag(
    "--strays <reset|drop>",
    `answer to TCP segments of no connection (default ${DEFAULT_STRAYS})`,
  );
  flag("--config <FILE>", "more flags, one a line, reloaded at SIGHUP (default none)");
  flag("--policy <FILE>", "policy to run, reloaded at SIGHUP (default: built-in)");
  flag("--seed <N>", "seed of a repeatable run, for replay and tests (default random)");
  flag("--hash-key-file <FILE>", "key that instances share: by source, by maglev (default none)");
  flag("--trace <MODE>", "PDUs shown: auto, all, drops, off or a predicate (default auto)");
  flag("--capture <FILE>", "packets into a pcapng file, each with its decision (default none)");
  flag(
    "--capture-options <OPTION …>",
    "drops-only, snaplen=N, max-size=10M, rotate=N, duration=60s and, last, filter=PREDICATE (default: all, whole)",
  );
  flag("--capture-dir <FOLDER>", "folder of captures that ctl starts (default none)");
  flag("--log <text|json>", `log lines as text, or as JSON objects (default ${DEFAULT_LOG})`);
  flag("--log-level <LEVEL>", `debug, info, warning or error (default ${DEFAULT_LOG_LEVEL})`);
  flag(
    "--log-connections <N/s>",
    `lines a second about connections opened and closed (default ${DEFAULT_LOG_CONNECTIONS})`,
  );
  flag(
    "--offload <on|off>",
    `TCP segmentation and checksum offload (default ${DEFAULT_OFFLOAD})`,
  );
  flag("--spin <MICROSECONDS>", `busy-poll time before sleeping (default ${DEFAULT_SPIN})`);
  flag(
    "--fast-path <auto|on|off>",
    `the kernel carries established connections (default ${DEFAULT_FAST_PATH})`,
  );
  flag(
    "--sandbox <on|strict|off>",
    `gives up what a run does not need, once it is open (default ${DEFAULT_SANDBOX})`,
  );
  flag("--user <NAME>", "goes on as this user, once all is open (default: the same)");
  flag("--include-dir <FOLDER,…>", "more folders to include from, repeatable (default none)");
  flag(
    "--admin <ADDR:PORT>",
    "serves metrics, as in 127.0.0.1:9100 or [::1]:9100 (default: nowhere)",
  );
  flag("--admin-host <NAME,…>", "names for its Host header (default: the address, localhost)");
  program.option("--admin-insecure-bind", "--admin may be reached by others (default: it may not)");
  flag("--control <PATH>", "Unix socket to be asked and changed at (default none)");
  flag("--state <FILE>", "keeps connections over a restart (default none)");
  flag(
    "--state-max-age <SECONDS>",
    `maximum age of a saved state (default ${DEFAULT_STATE_MAX_AGE})`,
  );
}

/** A flag with a value; all that are given are kept. */
export function addFlag(program: Program, flags: string, text: string): Program {
  return program.option(flags, text, (value: string, previous?: Values) => {
    if (value.startsWith("--")) {
      throw new SyntaxError(`${flags.split(" ")[0]}: Missing value before "${value}"`);
    }
    return [...previous ?? [], value];
  });
}
