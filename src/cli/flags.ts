/** From the flags of a run to its configuration: which are required, what the others default to. */
import { DEFAULT_TIMEOUTS, type Timeouts } from "../flow/lifetimes.ts";
import { MOST_RETRIES } from "../flow/retries.ts";
import { parseHealth } from "../policy/notation/parse_health.ts";
import { parseHostAddress } from "../wire/host_address.ts";
import { checkBackends } from "../datapath/address_rules.ts";
import type { AdminConfig, Config, TapConfig, TraceMode } from "../datapath/config.ts";
import { WHOLE_CAPTURE } from "../capture/options.ts";
import { parseCaptureOptions } from "../control/capture_options.ts";
import type { CaptureConfig } from "../process/captures.ts";
import type { StateConfig } from "../process/state_file.ts";
import { type Nets, readLinks } from "./link_flags.ts";
import { FlagError, type Flags, isGiven, read, readAll, readOptional } from "./flag_values.ts";
import {
  DEFAULT_PORTS,
  parseAdmin,
  parseFastPath,
  parseFolders,
  parseHostNames,
  parseInteger,
  parsePath,
  parsePorts,
  parseSandbox,
  parseStrays,
  parseSwitch,
  parseTrace,
  parseUser,
} from "./values.ts";

export const DEFAULT_MAX_CONN = "262144";
export const DEFAULT_MAX_LIMIT_SOURCES = "262144";
export const DEFAULT_STRAYS = "reset";
export const DEFAULT_TRANSLATE_FAMILIES = "off";
export const DEFAULT_RETRIES = "3";
export const DEFAULT_CONNECT_TIMEOUT = "3";
export const DEFAULT_CHECK = "neighbor";
export const DEFAULT_LOG = "text";
export const DEFAULT_LOG_CONNECTIONS = "0/s";
export const DEFAULT_LOG_LEVEL = "info";
export const DEFAULT_OFFLOAD = "on";
export const DEFAULT_SPIN = "100";
export const DEFAULT_STATE_MAX_AGE = "60";
export const DEFAULT_FAST_PATH = "auto";
export const DEFAULT_SANDBOX = "on";
const MAX_CONN = 1_000_000;
const MAX_LIMIT_SOURCES = 10_000_000;
const MAX_CONNECT_TIMEOUT_SECONDS = 60;
/** Signals and timers have their turn after it at the latest. */
const MAX_SPIN_US = 1000;
const MAX_STATE_AGE_SECONDS = 86_400;
const MAX_SEED = 0xffff_ffff;

const MAX_TIMEOUT_SECONDS = 1_000_000;

/** Flag after `--timeout-`, and which connections it is about. */
export const TIMEOUT_FLAGS = [
  ["half-open", "TCP before the handshake is over"],
  ["established", "TCP with both sides open"],
  ["half-closed", "TCP after a FIN of one side"],
  ["closing", "TCP after a FIN of both sides"],
  ["reset", "TCP after an RST"],
  ["udp", "UDP"],
  ["unanswered", "UDP and queries without an answer"],
  ["icmp", "ICMP queries"],
] as const;

export function readConfig(flags: Flags, nets: Nets, trace: TraceMode): Config {
  const maxConn = read(
    flags,
    "max-conn",
    DEFAULT_MAX_CONN,
    (text) => parseInteger(text, "number of connections", 1, MAX_CONN),
  );
  const translateFamilies = readTranslateFamilies(flags);
  const links = readLinks(flags, nets, translateFamilies);
  const dstAddrs = read(flags, "dst-addrs", null, (text) => {
    const parsed = text.split(",").map(parseHostAddress);
    checkBackends(parsed, links);
    return parsed;
  });
  return {
    links,
    dstAddrs,
    health: read(flags, "check", DEFAULT_CHECK, parseHealth),
    ports: read(flags, "ports", DEFAULT_PORTS, parsePorts),
    maxConn,
    maxNeighbors: readOptional(
      flags,
      "max-neighbors",
      (text) => parseInteger(text, "number of neighbours", 1, MAX_CONN),
    ) ?? maxConn,
    maxLimitSources: read(
      flags,
      "max-limit-sources",
      DEFAULT_MAX_LIMIT_SOURCES,
      (text) => parseInteger(text, "number of buckets", 1, MAX_LIMIT_SOURCES),
    ),
    maxConnPerSource: readOptional(
      flags,
      "max-conn-per-source",
      (text) => parseInteger(text, "number of connections", 1, MAX_CONN),
    ),
    timeouts: readTimeouts(flags),
    seed: readOptional(flags, "seed", (text) => parseInteger(text, "seed", 0, MAX_SEED)),
    trace: readOptional(flags, "trace", parseTrace) ?? trace,
    preserveSource: isGiven(flags, "preserve-source"),
    translateFamilies,
    clampMss: readOptional(flags, "clamp-mss", parseSwitch),
    retries: read(
      flags,
      "retries",
      DEFAULT_RETRIES,
      (text) => parseInteger(text, "number of retries", 0, MOST_RETRIES),
    ),
    connectTimeout: read(
      flags,
      "connect-timeout",
      DEFAULT_CONNECT_TIMEOUT,
      (text) => parseInteger(text, "time in seconds", 1, MAX_CONNECT_TIMEOUT_SECONDS),
    ),
    strays: read(flags, "strays", DEFAULT_STRAYS, parseStrays),
    hashKeyFile: readOptional(flags, "hash-key-file", parsePath),
    policy: readOptional(flags, "policy", parsePath),
  };
}

/** Throws a FlagError where it can't be on. */
function readTranslateFamilies(flags: Flags): boolean {
  const isOn = read(flags, "translate-families", DEFAULT_TRANSLATE_FAMILIES, parseSwitch);
  const fail = (text: string) => new FlagError("translate-families", text);
  if (isOn && !isGiven(flags, "ipv6") && !isGiven(flags, "ipv6-b")) {
    throw fail("Cannot use without --ipv6 or --ipv6-b");
  }
  if (isOn && isGiven(flags, "preserve-source")) {
    throw fail("Cannot use with --preserve-source: no client has an address of the other family");
  }
  return isOn;
}

export function readTapConfig(flags: Flags): TapConfig {
  return {
    offload: read(flags, "offload", DEFAULT_OFFLOAD, parseSwitch),
    spinUs: read(
      flags,
      "spin",
      DEFAULT_SPIN,
      (text) => parseInteger(text, "time in microseconds", 0, MAX_SPIN_US),
    ),
    fastPath: read(flags, "fast-path", DEFAULT_FAST_PATH, parseFastPath),
    sandbox: {
      mode: read(flags, "sandbox", DEFAULT_SANDBOX, parseSandbox),
      user: readOptional(flags, "user", parseUser),
      includeDirs: readAll(flags, "include-dir", parseFolders).flat(),
    },
    admin: readAdminConfig(flags),
  };
}

function readAdminConfig(flags: Flags): AdminConfig | null {
  const names = readOptional(flags, "admin-host", parseHostNames);
  const isInsecure = isGiven(flags, "admin-insecure-bind");
  const admin = readOptional(flags, "admin", (text) => parseAdmin(text, isInsecure));
  if (admin !== null) return { ...admin, names: names ?? [] };
  const alone = names !== null ? "admin-host" : isInsecure ? "admin-insecure-bind" : null;
  if (alone !== null) throw new FlagError(alone, "Cannot use without --admin");
  return null;
}

export function readStateConfig(flags: Flags): StateConfig | null {
  const seconds = read(
    flags,
    "state-max-age",
    DEFAULT_STATE_MAX_AGE,
    (text) => parseInteger(text, "time in seconds", 1, MAX_STATE_AGE_SECONDS),
  );
  const file = readOptional(flags, "state", parsePath);
  if (file !== null) return { file, maxAgeMs: seconds * 1000 };
  if (!isGiven(flags, "state-max-age")) return null;
  throw new SyntaxError("--state-max-age: Cannot use without --state");
}

export function readCaptureConfig(flags: Flags): CaptureConfig {
  const file = readOptional(flags, "capture", parsePath);
  const options = readOptional(flags, "capture-options", parseCaptureOptions);
  const dir = readOptional(flags, "capture-dir", parsePath);
  if (file === null && options !== null) {
    throw new FlagError("capture-options", "Cannot use without --capture");
  }
  return { file, options: options ?? WHOLE_CAPTURE, dir };
}

function readTimeouts(flags: Flags): Timeouts {
  const seconds = TIMEOUT_FLAGS.map(([name]) => [
    timeoutKey(name),
    readOptional(
      flags,
      `timeout-${name}`,
      (text) => parseInteger(text, "time in seconds", 1, MAX_TIMEOUT_SECONDS),
    ) ?? DEFAULT_TIMEOUTS[timeoutKey(name)],
  ]);
  return Object.fromEntries(seconds);
}

export function timeoutKey(name: typeof TIMEOUT_FLAGS[number][0]): keyof Timeouts {
  return name.replace(/-(.)/, (_, letter: string) => letter.toUpperCase()) as keyof Timeouts;
}
