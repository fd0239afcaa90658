import assert from "node:assert/strict";
import * as lifetimes from "../../src/flow/lifetimes.ts";
import {
  FINISHED,
  HALF_OPEN,
  LIVE,
  ONE_SIDED,
  RESET,
  UNANSWERED,
} from "../../src/flow/eviction.ts";
import * as tcp from "../../src/flow/tcp_state.ts";

const { UDP_NEW, UDP_ANSWERED, UDP_ONGOING } = lifetimes;
const { QUERY_NEW, QUERY_ANSWERED, ONE_SIDED_QUERY } = lifetimes;

/** [state, its flag, how many minutes by default, class] */
const STATES: [string, number, keyof lifetimes.Timeouts, number, number][] = [
  ["SYN_SENT", tcp.SYN_SENT, "halfOpen", 4, HALF_OPEN],
  ["SYN_BOTH", tcp.SYN_BOTH, "halfOpen", 4, HALF_OPEN],
  ["SYN_RECEIVED", tcp.SYN_RECEIVED, "halfOpen", 4, HALF_OPEN],
  ["ESTABLISHED", tcp.ESTABLISHED, "established", 124, LIVE],
  ["FIN_A", tcp.FIN_A, "halfClosed", 124, LIVE],
  ["FIN_B", tcp.FIN_B, "halfClosed", 124, LIVE],
  ["CLOSED", tcp.CLOSED, "closing", 4, FINISHED],
  ["RESET_A", tcp.RESET_A, "reset", 4, RESET],
  ["RESET_B", tcp.RESET_B, "reset", 4, RESET],
  ["ABORTED", tcp.ABORTED, "reset", 4, RESET],
  ["UDP_NEW", UDP_NEW, "unanswered", 0.5, UNANSWERED],
  ["UDP_ANSWERED", UDP_ANSWERED, "udp", 5, FINISHED],
  ["UDP_ONGOING", UDP_ONGOING, "udp", 5, LIVE],
  ["QUERY_NEW", QUERY_NEW, "unanswered", 0.5, UNANSWERED],
  ["QUERY_ANSWERED", QUERY_ANSWERED, "icmp", 1, FINISHED],
  ["ONE_SIDED_QUERY", ONE_SIDED_QUERY, "icmp", 1, ONE_SIDED],
];

Deno.test("DEFAULT_TIMEOUTS keeps what RFC 5382, 7857, 4787 and 5508 ask for, but for what is unanswered", () => {
  const times = lifetimes.timeoutsMs(lifetimes.DEFAULT_TIMEOUTS);
  for (const [name, state, , minutes] of STATES) assert.equal(times[state], minutes * 60_000, name);
});

Deno.test("timeoutsMs gives each state the time of its flag", () => {
  const tcpTimeouts = { halfOpen: 1, established: 2, halfClosed: 7, closing: 3, reset: 4 };
  const timeouts = { ...tcpTimeouts, udp: 5, unanswered: 6, icmp: 1_000_000 };
  const times = lifetimes.timeoutsMs(timeouts);
  for (const [name, state, flag] of STATES) {
    assert.equal(times[state], timeouts[flag] * 1000, name);
  }
});

Deno.test("CLASS_OF_STATE gives each state its class", () => {
  for (const [name, state, , , kind] of STATES) {
    assert.equal(lifetimes.CLASS_OF_STATE[state], kind, name);
  }
  assert.equal(new Set(STATES.map(([, state]) => state)).size, STATES.length);
});
