import assert from "node:assert/strict";
import type { Arm, Policy, Predicate, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { check, type CheckOptions, type Finding } from "../../../src/policy/check/check.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";
import { parseAddress } from "../../../src/wire/address.ts";

interface Row {
  readonly name: string;
  readonly text: string;
  readonly options?: CheckOptions;
  /** `line: level check: path: message`. */
  readonly finds: readonly string[];
}

const ROUND_TRIP = `from side a -> translate-a-to-b, forward
from side b -> translate-b-to-a, forward
`;

const rows: readonly Row[] = [
  {
    name: "the demo",
    text: `default drop
not ip.src in $dst-addrs
  icmp
    echo-request   -> in turn: drop | track, echo
  tcp
    tcp.dport = 80 -> drop
    otherwise      -> translate-a-to-b, forward
otherwise          -> translate-b-to-a, forward
`,
    finds: [],
  },

  // Unreachable
  {
    name: "otherwise before two arms",
    text: `default drop
icmp -> drop
otherwise -> drop
udp -> drop
tcp -> drop
`,
    finds: [
      '3: error otherwise-not-last: otherwise: "otherwise" is not the last arm: ' +
      "the 2 arms below it can never be taken",
    ],
  },
  {
    name: "an arm that one above takes",
    text: `default drop
ip.src in 10.0.0.0/8 -> drop
tcp -> drop
ip.src = 10.1.2.3 and udp.dport = 53 -> drop
tcp.dport in 8000-8080 -> drop
`,
    finds: [
      '4: error unreachable: ip.src = 10.1.2.3 and udp.dport = 53: "ip.src = 10.1.2.3 and ' +
      'udp.dport = 53" is unreachable: "ip.src in 10.0.0.0/8" above it takes all of it',
      '5: error unreachable: tcp.dport in 8000-8080: "tcp.dport in 8000-8080" is unreachable: ' +
      '"tcp" above it takes all of it',
    ],
  },
  {
    name: "an arm that those above take together",
    text: `default drop
ip.src in 10.0.0.0/9 -> drop
tcp.dport in 1-100 -> drop
ip.src in 10.128.0.0/9 -> drop
ip.src in 10.64.0.0/10 and udp -> drop
ip.src in 10.0.0.0/8 -> drop
`,
    finds: [
      '5: error unreachable: ip.src in 10.64.0.0/10 and udp: "ip.src in 10.64.0.0/10 and udp" is ' +
      'unreachable: "ip.src in 10.0.0.0/9" above it takes all of it',
      '6: error unreachable: ip.src in 10.0.0.0/8: "ip.src in 10.0.0.0/8" is unreachable: ' +
      "the arms above it take all that comes here",
    ],
  },
  {
    name: "an arm that two arms of two tests each take together",
    text: `default drop
tcp.dport = 80 and ip.src in 10.0.0.0/9 -> drop
tcp.dport = 80 and ip.src in 10.128.0.0/9 -> drop
tcp.dport = 80 and ip.src in 10.0.0.0/8 -> drop
tcp.dport in {80, 81} and ip.src in 10.0.0.0/8 -> drop
`,
    finds: [
      '4: error unreachable: tcp.dport = 80 and ip.src in 10.0.0.0/8: "tcp.dport = 80 and ip.src ' +
      'in 10.0.0.0/8" is unreachable: the arms above it take all that comes here',
    ],
  },
  {
    name: "an arm in a block, which an arm of the block around it takes",
    text: `default drop
tcp.dport = 80 -> drop
tcp
  tcp.dport in 80-80 -> drop
  tcp.dport in 80-81 -> drop
`,
    finds: [
      '4: error never-holds: tcp / tcp.dport = 80: "tcp.dport = 80" can never hold here',
    ],
  },
  {
    name: "otherwise behind arms that take all, in warning only",
    text: `default drop
new -> drop
established -> drop
invalid -> drop
otherwise -> drop
`,
    finds: [
      '5: warning unreachable: otherwise: "otherwise" is unreachable: ' +
      "the arms above it take all that comes here",
    ],
  },
  {
    name: "weights, balancers, limits and users' own tests, of which nothing is known",
    text: `default drop
custom odd -> in turn: 3x drop | drop
not custom odd -> limit 5/second burst 5, drop
otherwise -> drop
`,
    finds: [
      '4: warning unreachable: otherwise: "otherwise" is unreachable: ' +
      "the arms above it take all that comes here",
    ],
  },

  {
    name: "stray, a part of invalid",
    text: `default drop
stray -> reject
invalid -> drop
new
  stray -> drop
established
  stray -> drop
stray -> drop
`,
    finds: [
      '5: error never-holds: new / stray: "stray" can never hold below "new"',
      '7: error never-holds: established / stray: "stray" can never hold below "established"',
      '8: error unreachable: stray: "stray" is unreachable: "stray" above it takes all of it',
    ],
  },
  {
    name: "stray below invalid and the other way round, and below a scanner",
    text: `default drop
stray
  invalid -> drop
invalid
  stray -> drop
  not stray -> drop
tcp -> track
  stray -> drop
`,
    finds: [
      '3: warning always-holds: stray / invalid: "invalid" always holds here',
      '5: error never-holds: invalid / stray: "stray" can never hold here',
      '6: warning always-holds: invalid / not stray: "not stray" always holds here',
      '8: error never-holds: tcp / stray: "stray" can never hold here',
    ],
  },

  // Never or always
  {
    name: "tests of another protocol than the one above",
    text: `default drop
icmp
  tcp.dport = 80 -> drop
  udp.sport in {1, 5-7} -> drop
udp
  tcp.flags syn -> drop
  echo-request -> drop
protocol = 47
  tcp.sport = 1 -> drop
`,
    finds: [
      '3: error never-holds: icmp / tcp.dport = 80: "tcp.dport = 80" can never hold below "icmp"',
      '4: error never-holds: icmp / udp.sport in {1, 5-7}: "udp.sport in {1, 5-7}" can never hold ' +
      'below "icmp"',
      '6: error never-holds: udp / tcp.flags syn: "tcp.flags syn" can never hold below "udp"',
      '7: error never-holds: udp / echo-request: "echo-request" can never hold below "udp"',
      '9: error never-holds: protocol = 47 / tcp.sport = 1: "tcp.sport = 1" can never hold below ' +
      '"protocol = 47"',
    ],
  },
  {
    name: "disjoint sets of one field",
    text: `default drop
define $lan = 10.0.0.0/8
ip.src in $lan
  ip.src in 192.168.0.0/16 -> drop
  not ip.src in 10.0.0.0/7 -> drop
tcp.dport in 8000-8080
  tcp.dport = 80 -> drop
tcp.flags syn !ack
  tcp.flags ack -> drop
ip.ttl in 2-5
  ip.ttl = 1 -> drop
ip.length = 40
  ip.length in 41-65535 -> drop
destination-unreachable
  destination-unreachable code 3 -> drop
  echo-request -> drop
new
  established -> drop
from side a
  from side b -> drop
fragment
  not fragment -> drop
custom odd
  not custom odd -> drop
`,
    finds: [
      '4: error never-holds: ip.src in $lan / ip.src in 192.168.0.0/16: "ip.src in ' +
      '192.168.0.0/16" can never hold below "ip.src in $lan"',
      '5: error never-holds: ip.src in $lan / not ip.src in 10.0.0.0/7: "not ip.src in ' +
      '10.0.0.0/7" can never hold below "ip.src in $lan"',
      '7: error never-holds: tcp.dport in 8000-8080 / tcp.dport = 80: "tcp.dport = 80" can never ' +
      'hold below "tcp.dport in 8000-8080"',
      '9: error never-holds: tcp.flags syn !ack / tcp.flags ack: "tcp.flags ack" can never hold ' +
      'below "tcp.flags syn !ack"',
      '11: error never-holds: ip.ttl in 2-5 / ip.ttl = 1: "ip.ttl = 1" can never hold below ' +
      '"ip.ttl in 2-5"',
      '13: error never-holds: ip.length = 40 / ip.length in 41-65535: "ip.length in 41-65535" can ' +
      'never hold below "ip.length = 40"',
      '16: error never-holds: destination-unreachable / echo-request: "echo-request" can never ' +
      'hold below "destination-unreachable"',
      '18: error never-holds: new / established: "established" can never hold below "new"',
      '20: error never-holds: from side a / from side b: "from side b" can never hold below "from ' +
      'side a"',
      '22: error never-holds: fragment / not fragment: "not fragment" can never hold below ' +
      '"fragment"',
      '24: error never-holds: custom odd / not custom odd: "not custom odd" can never hold below ' +
      '"custom odd"',
    ],
  },
  {
    name: "tests that contradict themselves, or two above",
    text: `default drop
tcp and udp -> drop
not (new or established or invalid) -> drop
not otherwise -> drop
ip.src = 10.0.0.1 or ip.src = 10.0.0.2
  not ip.src = 10.0.0.1
    not ip.src = 10.0.0.2 -> drop
`,
    finds: [
      '2: error never-holds: tcp and udp: "tcp and udp" can never hold: it contradicts itself',
      '3: error never-holds: not (new or established or invalid): "not (new or established or ' +
      'invalid)" can never hold: it contradicts itself',
      '4: error never-holds: not otherwise: "not otherwise" can never hold: it contradicts itself',
      "7: error never-holds: ip.src = 10.0.0.1 or ip.src = 10.0.0.2 / not ip.src = 10.0.0.1 / " +
      'not ip.src = 10.0.0.2: "not ip.src = 10.0.0.2" can never hold here',
    ],
  },
  {
    name: "a part of an or",
    text: `default drop
udp
  tcp.dport = 53 or udp.dport = 53 -> drop
`,
    finds: [
      '3: warning never-holds: udp / tcp.dport = 53 or udp.dport = 53: "tcp.dport = 53" can never ' +
      'hold here, so "tcp.dport = 53 or udp.dport = 53" need not name it',
    ],
  },
  {
    name: "tests that always hold",
    text: `default drop
tcp.dport = 80
  tcp -> drop
not icmp
  not echo-request -> drop
ip.src in {0.0.0.0/0, ::/0} or tcp -> drop
`,
    finds: [
      '3: warning always-holds: tcp.dport = 80 / tcp: "tcp" always holds here',
      '5: warning always-holds: not icmp / not echo-request: "not echo-request" always holds here',
      '6: warning always-holds: ip.src in {0.0.0.0/0, ::/0} or tcp: "ip.src in {0.0.0.0/0, ::/0} or tcp" always ' +
      "holds here",
    ],
  },
  {
    name: "invalid behind a scanner",
    text: `default drop
tcp -> track
  invalid -> drop
  otherwise -> drop
invalid -> track, drop
`,
    finds: [
      '3: error never-holds: tcp / invalid: "invalid" can never hold here',
      "5: error never-holds: invalid: track lets nothing pass here: all that comes is invalid",
    ],
  },
  {
    name: "$dst-addrs, when it is not known",
    text: `default drop
ip.src in $dst-addrs
  ip.src in {10.0.0.0/8, $dst-addrs} -> drop
  ip.src = 10.0.0.1 -> drop
ip.src = 192.168.0.1
  ip.src in $dst-addrs -> drop
  not ip.src in {$dst-addrs, 192.168.0.0/24} -> drop
  ip.dst in $dst-addrs -> drop
`,
    finds: [
      "3: warning always-holds: ip.src in $dst-addrs / ip.src in {10.0.0.0/8, $dst-addrs}: " +
      '"ip.src in {10.0.0.0/8, $dst-addrs}" always holds here',
      '4: error unreachable: ip.src in $dst-addrs / ip.src = 10.0.0.1: "ip.src = 10.0.0.1" is ' +
      'unreachable: "ip.src in {10.0.0.0/8, $dst-addrs}" above it takes all of it',
      '6: error never-holds: ip.src = 192.168.0.1 / ip.src in $dst-addrs: "ip.src in $dst-addrs" ' +
      "can never hold here",
      "7: error never-holds: ip.src = 192.168.0.1 / not ip.src in {$dst-addrs, 192.168.0.0/24}: " +
      '"not ip.src in {$dst-addrs, 192.168.0.0/24}" can never hold below "ip.src = 192.168.0.1"',
    ],
  },
  {
    name: "$dst-addrs, when it is known",
    options: { dstAddrs: [parseAddress("192.168.0.1")] },
    text: `default drop
ip.src in 10.0.0.0/8
  ip.src in $dst-addrs -> drop
ip.src = 192.168.0.1 -> drop
ip.src in $dst-addrs -> drop
`,
    finds: [
      '3: error never-holds: ip.src in 10.0.0.0/8 / ip.src in $dst-addrs: "ip.src in $dst-addrs" ' +
      'can never hold below "ip.src in 10.0.0.0/8"',
      '5: error unreachable: ip.src in $dst-addrs: "ip.src in $dst-addrs" is unreachable: ' +
      '"ip.src = 192.168.0.1" above it takes all of it',
    ],
  },

  // What comes to a policy
  {
    name: "ports that decoding drops, and the one that it does not",
    text: `default drop
tcp.sport = 0 -> drop
tcp.dport = 0 -> drop
udp.dport = 0 -> drop
udp.sport = 0 -> drop
`,
    finds: ["2: tcp.sport = 0", "3: tcp.dport = 0", "4: udp.dport = 0"].map(dropped),
  },
  {
    name: "packets shorter than their headers",
    text: `default drop
ip.length in 0-19 -> drop
ip.length = 27 and (tcp or udp or icmp) -> drop
tcp and ip.length in 0-39 -> drop
tcp and ip.length = 40 -> drop
udp
  ip.length in {20-27, 0} -> drop
  ip.length = 28 -> drop
time-exceeded and ip.length in 0-55 -> drop
parameter-problem and ip.length = 56 -> drop
not tcp
  not (udp or icmp)
    ip.length = 20 -> drop
`,
    finds: [
      ...[
        "2: ip.length in 0-19",
        "3: ip.length = 27 and (tcp or udp or icmp)",
        "4: tcp and ip.length in 0-39",
      ].map(dropped),
      '7: error never-holds: udp / ip.length in {20-27, 0}: "ip.length in {20-27, 0}" can never ' +
      'hold below "udp"',
      dropped("9: time-exceeded and ip.length in 0-55"),
    ],
  },
  {
    name: "addresses that no host has",
    text: `default drop
ip.src in 224.0.0.0/4 -> drop
ip.src in {127.0.0.0/8, 0.0.0.0/8} -> drop
ip.src = 255.255.255.255 -> drop
ip.dst in 240.0.0.0/4 -> drop
ip.src in 223.0.0.0/8 or ip.src in {1.0.0.0/8, 126.0.0.0/8, 128.0.0.0/8} -> drop
not ip.src in 224.0.0.0/3 -> drop
`,
    finds: [
      ...[
        "2: ip.src in 224.0.0.0/4",
        "3: ip.src in {127.0.0.0/8, 0.0.0.0/8}",
        "4: ip.src = 255.255.255.255",
        "5: ip.dst in 240.0.0.0/4",
      ].map(dropped),
      '7: warning always-holds: not ip.src in 224.0.0.0/3: "not ip.src in 224.0.0.0/3" always ' +
      "holds here",
    ],
  },
  {
    name: "TCP flags that no endpoint sends",
    text: `default drop
tcp.flags !syn !ack !rst -> drop
tcp.flags syn fin -> drop
tcp.flags syn rst -> drop
tcp.flags fin rst ack -> drop
tcp.flags fin !ack -> drop
tcp.flags syn -> drop
tcp.flags fin psh urg ack -> drop
tcp.flags rst !ack -> drop
`,
    finds: [
      "2: tcp.flags !syn !rst !ack",
      "3: tcp.flags fin syn",
      "4: tcp.flags syn rst",
      "5: tcp.flags fin rst ack",
      "6: tcp.flags fin !ack",
    ].map(dropped),
  },
  {
    name: "states that such packets never have",
    text: `default drop
new and tcp.flags ack -> drop
new and tcp.flags rst -> drop
udp and invalid -> drop
protocol = 47 and not new -> drop
new and echo-reply -> drop
established and destination-unreachable -> drop
stray and tcp.flags syn !ack -> drop
stray and echo-request -> drop
new and (tcp.flags syn !ack or echo-request or udp or protocol = 47) -> drop
established and (tcp.flags syn or echo-reply or timestamp-request or udp) -> drop
invalid and (tcp.flags syn !ack or echo-request or time-exceeded) -> drop
tcp and new and not tcp.flags syn !ack !rst !fin -> drop
`,
    finds: [
      "2: new and tcp.flags ack",
      "3: new and tcp.flags rst",
      "4: udp and invalid",
      "5: protocol = 47 and not new",
      "6: new and echo-reply",
      "7: established and destination-unreachable",
      "8: stray and tcp.flags syn !ack",
      "9: stray and echo-request",
      "13: tcp and new and not tcp.flags syn !fin !rst !ack",
    ].map(stateless),
  },

  // Subtrees
  {
    name: "a subtree that is right for one use or the other",
    text: `default drop
define web
  tcp.dport = 80 -> drop
  udp.dport = 443 -> drop
tcp -> use web
udp -> use web
`,
    finds: [],
  },
  {
    name: "a subtree in which something is wrong for every use",
    text: `default drop
define web
  tcp.dport = 80 -> drop
  echo-request -> drop
  fragment and tcp.dport = 80 -> drop
tcp -> use web
not icmp
  not fragment -> use web
`,
    finds: [
      '4: error never-holds: tcp / use web / echo-request: "echo-request" can never hold here',
      '5: error unreachable: tcp / use web / fragment and tcp.dport = 80: "fragment and tcp.dport ' +
      '= 80" is unreachable: "tcp.dport = 80" above it takes all of it',
    ],
  },
  {
    name: "definitions that nobody uses",
    text: `default drop
define $a = 10.0.0.1
define $b = $a
define $c = 10.0.0.2
define $d = $c
define one
  ip.src in $b -> drop
define two
  -> use one
define three
  ip.src in $d -> drop
-> use three
`,
    finds: [
      '2: warning unused-definition: define $a: List "$a" is never used',
      '3: warning unused-definition: define $b: List "$b" is never used',
      '6: warning unused-definition: define one: Subtree "one" is never used',
      '8: warning unused-definition: define two: Subtree "two" is never used',
    ],
  },

  // Translators
  {
    name: "translators that have each other",
    text: `default drop
${ROUND_TRIP}`,
    finds: [],
  },
  {
    name: "translators without a counterpart",
    text: `default drop
tcp -> translate-a-to-b, forward
`,
    finds: [
      "2: warning no-counterpart: tcp: translate-a-to-b has no counterpart: there is no " +
      "translate-b-to-a for what backends answer",
    ],
  },
  {
    name: "a translator back only",
    text: `default drop
ip.src in $dst-addrs -> translate-b-to-a, forward
`,
    finds: [
      "2: warning no-counterpart: ip.src in $dst-addrs: translate-b-to-a has no counterpart: " +
      "there is no translate-a-to-b that opens connections",
    ],
  },
  {
    name: "counterparts that nobody comes to who needs them",
    text: `default drop
not ip.src in $dst-addrs
  established -> translate-a-to-b, forward
  otherwise -> translate-b-to-a, forward
`,
    finds: [
      "3: warning no-counterpart: not ip.src in $dst-addrs / established: translate-a-to-b has no " +
      "counterpart: what backends answer comes to no translate-b-to-a",
      "4: error never-holds: not ip.src in $dst-addrs / otherwise: translate-b-to-a lets nothing " +
      "pass here: it takes only what backends answer in TCP, UDP and ICMP queries",
      "4: warning no-counterpart: not ip.src in $dst-addrs / otherwise: translate-b-to-a has no " +
      "counterpart: nothing that opens a connection comes to translate-a-to-b",
    ],
  },
  {
    name: "a translator that a backend's SYN reaches",
    text: `default drop
new
  from side b -> translate-a-to-b, forward
  otherwise -> drop
from side a -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`,
    finds: [],
  },
  {
    name: "protocols and messages that translators refuse",
    text: `default drop
protocol = 47 -> translate-a-to-b, forward
echo-reply or time-exceeded -> translate-a-to-b, forward
from side a -> translate-b-to-a, forward
udp and new -> translate-b-to-a, forward
echo-request -> translate-b-to-a, forward
icmp -> translate-a-to-b
  not (timestamp-request or icmp.type = 15 or icmp.type = 17) -> drop
  protocol = 1 -> forward
tcp -> translate-a-to-b, forward
otherwise -> translate-b-to-a
  not udp -> drop
  otherwise -> forward
`,
    finds: [
      "2: error never-holds: protocol = 47: translate-a-to-b lets nothing pass here: it takes " +
      "TCP, UDP and ICMP requests only",
      "3: error never-holds: echo-reply or time-exceeded: translate-a-to-b lets nothing pass " +
      "here: it takes TCP, UDP and ICMP requests only",
      ...["4: error never-holds: from side a", "5: error never-holds: udp and new"].concat(
        "6: error never-holds: echo-request",
      ).map((where) =>
        `${where}: translate-b-to-a lets nothing pass here: it takes only what backends answer ` +
        "in TCP, UDP and ICMP queries"
      ),
      "8: error never-holds: icmp / not (timestamp-request or information-request or " +
      'address-mask-request): "not (timestamp-request or information-request or ' +
      'address-mask-request)" can never hold here',
      '9: warning always-holds: icmp / icmp: "icmp" always holds here',
      '12: error never-holds: otherwise / not udp: "not udp" can never hold here',
    ],
  },
  {
    name: "two translators on a path",
    text: `default drop
define out
  icmp -> drop
  otherwise -> translate-a-to-b, forward
udp -> translate-a-to-b, translate-b-to-a, forward
from side a -> translate-a-to-b in turn, use out
from side b -> translate-b-to-a, limit 1/second burst 1, use out
`,
    finds: [
      "4: warning translated-twice: from side a / use out / otherwise: translate-a-to-b is " +
      "below another one: a PDU is translated only once",
      "4: error translated-twice: from side b / use out / otherwise: translate-a-to-b below " +
      "translate-b-to-a drops every PDU: each comes from one side only",
      "5: error translated-twice: udp: translate-b-to-a below translate-a-to-b drops every PDU: " +
      "each comes from one side only",
    ],
  },

  // TTLs
  {
    name: "set-ttl raise, where a packet may come round with the TTL it got",
    text: `default drop
from side a
  ip.ttl in 3-9 -> set-ttl 3 raise, translate-a-to-b, forward
  otherwise     -> set-ttl 64 raise, translate-a-to-b, forward
from side b -> translate-b-to-a, forward
`,
    finds: [["3", "ip.ttl in 3-9", 3], ["4", "otherwise", 64]].map(([at, arm, ttl]) =>
      `${at}: warning raised-ttl: from side a / ${arm}: set-ttl ${ttl} raise disables loop ` +
      "protection: what two routers send to each other goes round for ever"
    ),
  },
  {
    name: "set-ttl without raise, or only for larger TTLs",
    text: `default drop
from side a
  ip.ttl in 65-255 -> set-ttl 64 raise, translate-a-to-b, forward
  tcp              -> set-ttl 1 raise, translate-a-to-b, forward
  otherwise        -> set-ttl 64, translate-a-to-b, forward
from side b -> translate-b-to-a, forward
`,
    finds: [],
  },

  // Decisions
  {
    name: "forward without a translator",
    text: `default drop
icmp -> track, forward "lost"
${ROUND_TRIP}`,
    finds: [
      "2: warning decision-misfit: icmp: forward drops every PDU here (not-translated): no " +
      "translator is above it",
    ],
  },
  {
    name: "forward of packets whose TTL runs out here, whatever it is set to",
    text: `default drop
define out
  ip.ttl = 1 -> set-ttl 64, forward
  otherwise -> forward
ip.ttl in 0-1 -> translate-a-to-b, set-ttl 64, forward
ip.ttl in 0-2 and udp -> translate-a-to-b, forward
from side a -> translate-a-to-b, use out
otherwise -> translate-b-to-a, use out
`,
    finds: [
      '3: error never-holds: from side a / use out / ip.ttl = 1: "ip.ttl = 1" can never hold here',
      "5: warning decision-misfit: ip.ttl in 0-1: forward drops every PDU here (ttl-expired): " +
      "each has come with a TTL of 0 or 1",
    ],
  },
  ...["icmp", "udp", "tcp.flags syn !ack", "not echo-request", "echo-request or echo-reply"]
    .map((when) => ({
      name: `echo for ${when}`,
      text: `default drop\n${when} -> echo\n`,
      finds: [
        `2: warning decision-misfit: ${when}: echo drops what is no echo request ` +
        "(not-echo-request), and such PDUs come here",
      ],
    })),
  ...[
    "echo-request",
    "icmp and not (echo-reply or not echo-request)",
    "icmp and new",
    "custom ping",
    "fragment",
  ].map((when) => ({
    name: `echo for ${when}, which may well be right`,
    text: `default drop\n${when} -> echo\n`,
    finds: [],
  })),
  {
    name: "reject of what is never answered",
    text: `default drop
tcp.flags rst -> reject
destination-unreachable or time-exceeded -> reject
icmp -> reject
`,
    finds: [
      "2: warning decision-misfit: tcp.flags rst: reject answers nothing here: ICMP errors and " +
      "TCP resets get no answer",
      "3: warning decision-misfit: destination-unreachable or time-exceeded: reject answers " +
      "nothing here: ICMP errors and TCP resets get no answer",
    ],
  },
  {
    name: "a default that forwards",
    text: `default forward
udp -> drop
${ROUND_TRIP}`.replace("from side b ->", "otherwise   ->"),
    finds: [],
  },
  {
    name: "pools that take no connection, or are not used",
    text: `default drop
pool $zero = 10.0.0.1 weight 0, 10.0.0.2 weight 0
pool $drained = 10.0.0.3 state drain, 10.0.0.4 weight 0
pool $unused = 10.0.0.5
pool $asked = 10.0.0.6
define $list = $asked
from side a
  ip.dst in $list -> drop
  tcp -> translate-a-to-b to $zero, forward
  udp -> translate-a-to-b to $drained, forward
otherwise -> translate-b-to-a, forward
`,
    finds: [
      '2: error empty-pool: pool $zero: Pool "$zero" takes no connection: every member has weight 0',
      '3: warning empty-pool: pool $drained: Pool "$drained" takes no connection: every member ' +
      "drains or has weight 0",
      '4: warning unused-definition: pool $unused: Pool "$unused" is never used',
    ],
  },
  {
    name: "an arm for an address that a pool above has",
    text: `default drop
pool $web = 10.0.0.1 port 80, 10.0.0.1 port 81, 10.0.0.2
ip.src in $web -> drop
ip.src = 10.0.0.2 -> drop
ip.src = 10.0.0.3 -> drop
`,
    finds: [
      '4: error unreachable: ip.src = 10.0.0.2: "ip.src = 10.0.0.2" is unreachable: ' +
      '"ip.src in $web" above it takes all of it',
    ],
  },
  {
    name: "a default that forwards what is not translated",
    text: `default forward
udp -> drop
${ROUND_TRIP.replace("from side a", "from side a and tcp")}`,
    finds: [
      "1: warning decision-misfit: start: default forward drops PDUs that come to no translator " +
      "(not-translated)",
    ],
  },
  {
    name: "a default that echoes what a rate limit stops",
    text: `default echo-reply
-> limit 1/second burst 1, drop
`,
    finds: [
      "1: warning decision-misfit: start: default echo-reply drops what is no echo request " +
      "(not-echo-request)",
    ],
  },
];

/**
 * The finding about a test, given as `line: test`, of what is dropped before the policy is asked.
 */
function dropped(where: string): string {
  return alone(where, "such packets are dropped before they come to the policy");
}

function stateless(where: string): string {
  return alone(where, "no such packet has that state");
}

function alone(where: string, why: string): string {
  const [, line, test] = /^(\d+): (.*)$/.exec(where)!;
  return `${line}: error never-holds: ${test}: "${test}" can never hold: ${why}`;
}

for (const { name, text, options, finds } of rows) {
  Deno.test(`check, ${name}: ${finds.length === 0 ? "finds nothing" : "says so"}`, () => {
    const parsed = parse(text, {
      file: "test",
      customs: { predicates: { odd: () => true, ping: () => true } },
    });
    assert.ok(parsed.policy !== null, parsed.errors.map(formatError).join("\n"));
    const findings = check(parsed.policy, options);
    assert.deepEqual(
      findings.map((finding) => `${parsed.positions.get(finding.node)?.line}: ${line(finding)}`),
      finds,
    );
  });
}

function line({ level, check, path, message }: Finding): string {
  return `${level} ${check}: ${path}: ${message}`;
}

function lines(policy: Policy): readonly string[] {
  return check(policy).map(line);
}

Deno.test("check, the built-in policy: finds nothing, whatever the backends", () => {
  assert.deepEqual(check(demo), []);
  assert.deepEqual(check(demo, { dstAddrs: ["192.168.0.1", "10.0.0.1"].map(parseAddress) }), []);
});

Deno.test("check, nodes that code shares: each place is judged on its own", () => {
  const inner = build.filter(build.isTcp, build.forward);
  const tree = build.firstMatch([
    [build.fromSide("a"), build.translateAToB(inner)],
    [build.isFragment, inner],
    [build.isUdp, inner],
    [build.otherwise, build.translateBToA(build.forward)],
  ]);
  assert.deepEqual(lines(build.policy("drop", tree)), [
    "warning decision-misfit: fragment / tcp: forward drops every PDU here (not-translated): " +
    "no translator is above it",
    'error never-holds: udp / tcp: "tcp" can never hold below "udp"',
  ]);
});

Deno.test("check, a predicate of more cases than it looks at: finds nothing", () => {
  const cases = Array.from(
    { length: 100 },
    (_, i) => build.and(build.ipSrc.eq(`10.0.0.${i}`), build.tcpDport.eq(1000 + i)),
  );
  const many = build.or(...cases);
  const inner = build.firstMatch([
    [build.tcpDport.eq(1099), build.drop],
    [build.not(build.ipSrc.eq("10.0.0.98")), build.drop],
  ]);
  assert.deepEqual(lines(build.policy("drop", build.filter(many, inner))), []);
  const arms = build.firstMatch([[many, build.drop], [cases[99]!, build.drop], [
    build.ipSrc.eq("10.0.0.99"),
    build.drop,
  ]]);
  assert.deepEqual(lines(build.policy("drop", arms)), []);
});

Deno.test("check, a user's test behind a scanner: may say something else than before it", () => {
  const odd = build.customPredicate("odd", ({ src }) => (Number(src) & 1) === 1);
  const again = build.firstMatch([[odd, build.drop], [build.not(odd), build.drop]]);
  const tree = build.filter(odd, build.track(again));
  assert.deepEqual(lines(build.policy("drop", tree)), []);
});

Deno.test("check, names that are wrong in a policy made in code: says which", () => {
  const policy: Policy = {
    ...build.policy("drop", build.use("a")),
    lists: {
      "x": [{ list: "y" }, { list: "x" }, { list: "constructor" }],
      "y": [{ list: "dst-addrs" }],
      "dst-addrs": [{ network: 1, prefixLength: 32 }],
    },
    subtrees: {
      a: build.firstMatch([
        [build.ipSrc.oneOf(["$x", "$z"]), build.use("b")],
        [build.otherwise, build.use("to-string")],
      ]),
      b: build.filter(build.isTcp, build.drop),
    },
  };
  assert.deepEqual(lines(policy), [
    'error unknown-name: use a / ip.src in {$x, $z}: List "$z" is not defined',
    'error used-before-definition: use a / ip.src in {$x, $z}: Subtree "a" uses "b", which is ' +
    "defined below it",
    'error unknown-name: use a / otherwise: Subtree "to-string" is not defined',
    'error used-before-definition: define $x: List "$x" uses "$y", which is defined below it',
    'error contains-itself: define $x: List "$x" contains itself',
    'error unknown-name: define $x: List "$constructor" is not defined',
    'error reserved-name: define $dst-addrs: Cannot define list "$dst-addrs": it is given by ' +
    "--dst-addrs",
    'warning unused-definition: define $dst-addrs: List "$dst-addrs" is never used',
  ]);
});

Deno.test("check, pools that are wrong in a policy made in code: says which", () => {
  const members = [{
    address: 1,
    port: 0,
    weight: 1,
    isBackup: false,
    maxconn: 0,
    state: null,
  }];
  const policy: Policy = {
    ...build.policy("drop", build.translateAToB(build.translateBToA(build.drop), { to: "nobody" })),
    pools: { "dst-addrs": { members }, "empty": { members: [] }, "x": { members } },
    lists: { x: [{ list: "dst-addrs" }] },
  };
  assert.deepEqual(lines(policy).filter((line) => /pool/i.test(line)), [
    'error unknown-name: start: Pool "$nobody" is not defined',
    'error reserved-name: pool $dst-addrs: Cannot define pool "$dst-addrs": it is given by ' +
    "--dst-addrs",
    'error empty-pool: pool $empty: Pool "$empty" has no members',
    'error reserved-name: pool $x: "$x" is the name of a pool and of a list',
  ]);
});

Deno.test("check, subtrees that contain themselves: says so", () => {
  const subtrees = {
    a: build.firstMatch([[build.isTcp, build.use("b")], [build.otherwise, build.drop]]),
    b: build.filter(build.isUdp, build.use("a")),
    c: build.track(build.use("c")),
  };
  assert.deepEqual(lines(build.policy("drop", build.use("a"), { subtrees })), [
    'error used-before-definition: use a / tcp: Subtree "a" uses "b", which is defined below it',
    'error contains-itself: use a / tcp / use b / udp / use a: Subtree "a" contains itself',
    'warning unused-definition: define c: Subtree "c" is never used',
    'error contains-itself: define c / use c: Subtree "c" contains itself',
  ]);
});

Deno.test("check, trees and predicates that are circles by hand: says so", () => {
  const circle = { node: "track" } as { node: "track"; then: Tree };
  circle.then = circle;
  assert.deepEqual(lines({ ...build.policy("drop", build.drop), next: circle }), [
    "error contains-itself: start: This tree contains itself",
  ]);
  const when = { test: "not" } as { test: "not"; of: Predicate };
  when.of = when;
  assert.deepEqual(lines(build.policy("drop", build.filter(when, build.drop))), [
    "error contains-itself: start: This predicate contains itself",
  ]);
});

Deno.test("check, trees that get too large written out: says so in no time", () => {
  const subtrees: Record<string, Tree> = { t0: build.drop };
  let shared = build.drop;
  for (let i = 1; i <= 64; i++) {
    subtrees[`t${i}`] = build.atRandom([build.use(`t${i - 1}`), build.use(`t${i - 1}`)]);
    shared = build.atRandom([shared, shared]);
  }
  const message =
    "The tree has more than 1,000,000 nodes when every use of a subtree is written out";
  const large = `error too-large: start: ${message}`;
  assert.deepEqual(lines(build.policy("drop", build.use("t64"), { subtrees })), [large]);
  assert.deepEqual(lines(build.policy("drop", shared)), [large]);
});

Deno.test("check, predicates and lists that get too large written out: says so in no time", () => {
  let when = build.isTcp;
  const lists: Record<string, string[]> = { l0: ["10.0.0.1"] };
  for (let i = 1; i <= 64; i++) {
    when = build.and(when, when);
    lists[`l${i}`] = [`$l${i - 1}`, `$l${i - 1}`];
  }
  assert.deepEqual(lines(build.policy("drop", build.filter(when, build.drop))), [
    "error too-large: start: The predicate has more than 1,000,000 parts",
  ]);
  const listed = lines(
    build.policy("drop", build.filter(build.ipSrc.in("$l64"), build.drop), { lists }),
  );
  assert.equal(
    listed[0],
    'error too-large: define $l20: List "$l20" has more than 1,000,000 networks',
  );
});

Deno.test("check, trees and predicates 100,000 levels deep: says so", () => {
  let tree = build.drop;
  let when = build.isTcp;
  for (let i = 0; i < 100_000; i++) {
    tree = build.filter(build.isTcp, tree);
    when = build.not(when);
  }
  assert.deepEqual(lines(build.policy("drop", tree)), [
    "error too-deep: start: The tree is more than 500 levels deep",
  ]);
  assert.deepEqual(lines(build.policy("drop", build.filter(when, build.drop))), [
    "error too-deep: start: The predicate is more than 500 levels deep",
  ]);
});

Deno.test("check, 10,000 arms of address and port rules: finds the ones in their shadow", () => {
  const arms: (readonly [Predicate, Tree])[] = [];
  for (let i = 0; i < 10_000; i++) arms.push([rule(i), build.drop]);
  arms.push([rule(7_001), build.drop]); // an address
  arms.push([rule(7_002), build.drop]); // a port
  arms.push([rule(7_003), build.drop]); // both
  arms.push([build.and(rule(7_003), build.isNew), build.drop]);
  const policy = build.policy("drop", build.firstMatch(arms));
  const findings = check(policy);
  const { next } = policy;
  assert.ok(next.node === "first-match");
  assert.deepEqual(
    findings.map(({ check, node }) => [check, next.arms.indexOf(node as Arm)]),
    [10_000, 10_001, 10_002, 10_003].map((arm) => ["unreachable", arm]),
  );
});

/** A different rule for each number: by address, by port, by both. */
function rule(i: number): Predicate {
  const address = build.ipSrc.eq(`10.${i >> 12}.${(i >> 4) & 255}.${i & 15}`);
  const port = build.tcpDport.eq(20_000 + i);
  switch (i % 3) {
    case 0:
      return port;
    case 1:
      return build.and(address, build.udpDport.eq(53));
    default:
      return address;
  }
}
