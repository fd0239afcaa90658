/**
 * The same run twice on a calm LAN, without and with an attacker: no connection may fail, be reset
 * or be held up that is not without it.
 */
import type { Endpoint } from "./endpoint.ts";
import type { Connection } from "./plan.ts";
import { CALM, Sim, type SimOptions, type SimResult } from "./sim.ts";

/** What challenges and their answers may cost: less than any retransmission. */
const SLACK_MS = 200;
const SYN_RTO_MS = 1000;

/** Throws an Error that names the seed where the attacker has done harm. */
export function runUnderAttack(options: SimOptions): SimResult {
  const common = { connections: 100, ...options, impairments: CALM, deafToSyn: true };
  const quiet = new Sim(common);
  quiet.run();
  const attacked = new Sim({ ...common, attacked: true });
  const result = attacked.run();
  attacked.connections.forEach((connection, i) => {
    const harm = harmTo(connection, quiet.connections[i]!);
    if (harm === "") return;
    attacked.fail(`attacked, ${connection.kind} ${connection.number} ${harm}`, connection);
  });
  return result;
}

function harmTo(connection: Connection, twin: Connection): string {
  const end = connection.clientEnd!;
  const twinEnd = twin.clientEnd!;
  if (outcomeOf(end) !== outcomeOf(twinEnd)) {
    return `ended as ${outcomeOf(end)}, without attacker ${outcomeOf(twinEnd)}`;
  }
  const retries = end.openRetries - twinEnd.openRetries;
  if (retries > connection.excusedRetries) return `sent its SYN ${retries} times more`;
  const longerMs = end.overAtMs - connection.beganMs - (twinEnd.overAtMs - twin.beganMs);
  return longerMs > SLACK_MS + connection.excusedRetries * SYN_RTO_MS
    ? `was held up for ${longerMs} ms`
    : "";
}

/** What becomes of TIME-WAIT does not count: challenges end it on a wire, too (RFC 1337). */
function outcomeOf(end: Endpoint): string {
  return end.eof && end.sentAll ? "closed" : end.end;
}
