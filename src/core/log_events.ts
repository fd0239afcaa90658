/**
 * The names of the log's events: they stay the same while the words of messages change, so that
 * programs can tell lines by them. In the order of the README's table, which a test compares.
 */

const TABLE = [
  // At the start
  ["device", "an interface: its address, MAC and MTU, and the backends"],
  ["device-created", "a device was created, and goes with the proxy"],
  ["device-taken-over", "a device is as the last run left it"],
  ["descriptor-closed", "a descriptor was handed over that is of no device here"],
  ["offload-refused", "a device does not support offload"],
  ["fast-path-on", "the kernel carries established connections"],
  ["fast-path-off", "it does not, and why"],
  ["fast-path-verifier", "a line of the kernel's verifier about a program that it refused"],
  ["sandbox", "what the run has given up, and what it could not"],
  ["control-open", "the control socket is open"],
  ["admin-open", "metrics are served, and where"],
  ["state-resumed", "connections of the last run go on"],
  ["state-refused", "a saved state was not taken, and why"],
  ["state-members-refused", "what `ctl` changed in the last run could not be done again"],
  // While it runs
  ["device-up", "a device is up"],
  ["device-down", "a device is down or gone, or can't be attached to"],
  ["next-hop-found", "a backend or gateway has said where it is"],
  ["next-hop-lost", "a backend or gateway does not say any more where it is"],
  ["backend-health", "a check has changed a backend's status"],
  ["backends-silent", "all backends of a family that were up have fallen silent"],
  ["backend-conflict", "two stations claim the address of a backend or gateway"],
  ["own-conflict", "another station uses the proxy's own address"],
  ["own-address", "an IPv6 address is the proxy's alone, and used from now on"],
  ["own-looped", "the link sends back what the proxy has sent"],
  ["default-router", "the default router of IPv6 is taken, changes or is lost"],
  ["advertised-mtu", "the MTU in router advertisements has changed"],
  ["custom-failed", "a function of the policy threw"],
  ["fast-path-full", "some connections can't be carried: the policy has too many ends"],
  ["fast-path-lost", "a device that is new has no fast path"],
  ["host-refused", "a device that is new does not get the host's address"],
  ["control-failed", "the thread of the control socket has ended"],
  ["admin-failed", "the thread that serves metrics has ended"],
  ["backend-changed", "`ctl` has changed a backend"],
  ["connection-opened", "a connection has opened (`--log-connections`)"],
  ["connection-closed", "a connection has ended, why, and how long it was there"],
  ["supervisor-lost", "the supervisor can't be told how it stands"],
  ["capture-begun", "a capture has begun"],
  ["capture-ended", "it has ended, why, and what it has lost"],
  // A policy, and a reload
  ["policy-warnings", "what the check of a policy warns of"],
  ["policy-unchecked", "a policy is too large to be checked while packets wait"],
  ["reloaded", "something has changed by a reload"],
  ["restart-needed", "something changes at the next start only"],
  ["reload-failed", "nothing has changed, and why"],
  ["reload-ignored", "there is nothing to reload"],
  ["reload-times", "how long a reload took"],
  // At the end
  ["upgrade", "`ctl upgrade`: the supervisor is to start the program again"],
  ["state-saved", "connections were saved for the next run"],
  ["state-not-saved", "they could not be saved"],
  ["connections-reset", "open connections were reset at the end"],
  ["fast-path-resting", "entries of the table that still wait for the fast path"],
  ["failed", "why the program ends"],
  // The log itself
  ["lines-left-out", "lines of a kind that were one too many"],
  ["lines-lost", "lines that its reader was too slow, or its disk too full, for"],
  ["output-failed", "standard output can't be written, as where its disk is full"],
] as const;

export type LogEvent = typeof TABLE[number][0];

/** Each event's name and meaning. */
export const LOG_EVENTS: readonly (readonly [name: LogEvent, meaning: string])[] = TABLE;
