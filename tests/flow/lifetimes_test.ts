import assert from "node:assert/strict";
import * as lifetimes from "../../src/flow/lifetimes.ts";
import { CLOSED, HALF_OPEN, LIVE, RESET } from "../../src/flow/population.ts";
import * as tcp from "../../src/flow/tcp_state.ts";

const { UDP_NEW, UDP_ANSWERED, QUERY_NEW, QUERY_ANSWERED } = lifetimes;

/** [state, its flag, the least that the RFCs recommend in minutes, what may be evicted] */
const STATES: [string, number, keyof lifetimes.Timeouts, number, number][] = [
  ["SYN_SENT", tcp.SYN_SENT, "halfOpen", 4, HALF_OPEN],
  ["SYN_BOTH", tcp.SYN_BOTH, "halfOpen", 4, HALF_OPEN],
  ["SYN_RECEIVED", tcp.SYN_RECEIVED, "halfOpen", 4, HALF_OPEN],
  ["ESTABLISHED", tcp.ESTABLISHED, "established", 124, LIVE],
  ["FIN_A", tcp.FIN_A, "halfClosed", 124, LIVE],
  ["FIN_B", tcp.FIN_B, "halfClosed", 124, LIVE],
  ["CLOSED", tcp.CLOSED, "closing", 4, CLOSED],
  ["RESET_A", tcp.RESET_A, "reset", 4, RESET],
  ["RESET_B", tcp.RESET_B, "reset", 4, RESET],
  ["ABORTED", tcp.ABORTED, "reset", 4, RESET],
  ["UDP_NEW", UDP_NEW, "udp", 5, HALF_OPEN],
  ["UDP_ANSWERED", UDP_ANSWERED, "udp", 5, LIVE],
  ["QUERY_NEW", QUERY_NEW, "icmp", 1, HALF_OPEN],
  ["QUERY_ANSWERED", QUERY_ANSWERED, "icmp", 1, CLOSED],
];

Deno.test("DEFAULT_TIMEOUTS keeps what RFC 5382, 7857, 4787 and 5508 ask for", () => {
  const times = lifetimes.timeoutsMs(lifetimes.DEFAULT_TIMEOUTS);
  for (const [name, state, , minutes] of STATES) assert.equal(times[state], minutes * 60_000, name);
});

Deno.test("timeoutsMs gives each state the time of its flag", () => {
  const timeouts = {
    ...{
      halfOpen: 1,
      established: 2,
      halfClosed: 7,
      closing: 3,
      reset: 4,
      udp: 5,
      icmp: 1_000_000,
    },
  };
  const times = lifetimes.timeoutsMs(timeouts);
  for (const [name, state, flag] of STATES) {
    assert.equal(times[state], timeouts[flag] * 1000, name);
  }
});

Deno.test("KIND_OF_STATE lets half-open, reset and closed ones be evicted, never live ones", () => {
  for (const [name, state, , , kind] of STATES) {
    assert.equal(lifetimes.KIND_OF_STATE[state], kind, name);
  }
  assert.equal(new Set(STATES.map(([, state]) => state)).size, STATES.length);
});
