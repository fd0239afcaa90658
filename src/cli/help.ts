/**
 * What `--help` says after the flags, for the program and for each of its commands: 80 columns at
 * most.
 */

export const EXAMPLES = `
Examples:
  Answer at 192.168.0.100 and spread connections over two backends:
    proxy --net=tap100 --dst-addrs=192.168.0.1,192.168.0.2
  Another address, a backend beyond a router, no PDUs on the console:
    proxy --net=tap0 --ipv4=10.0.0.9 --gateway=10.0.0.1 \\
      --dst-addrs=10.7.0.5 --trace=off
  Clients on one side, backends on the other, one of them beyond a router:
    proxy --net=tap100 --net-b=tap101 --ipv4-b=10.0.0.1/24 \\
      --route=10.7.0.0/16,10.0.0.254 --dst-addrs=10.0.0.2,10.7.0.5

A file for --config has these flags without their dashes, one a line, as
"net = tap100" or "preserve-source"; "#" begins a comment. A flag on the
command line wins.

Output: PDUs and the summary on stdout, log lines on stderr.
Signals: SIGUSR2 prints the summary; SIGHUP reloads the config file and the
policy; SIGINT and SIGTERM save the connections (--state) or reset the open
ones, print the summary and exit.
Exit codes: 0 after a signal, 1 for a failure at run time, 2 for a wrong
command line.`;

export const POLICY_HELP = `
  check    look for mistakes: what and where; exit code 1 if there are errors
  print    the policy in the text notation, in its one canonical form: one file,
           without comments
  format   the text of FILE, evenly spaced; keeps comments and includes
  mermaid  its picture as Mermaid, for a page that draws it
  dot      its picture as Graphviz DOT
  svg      its picture

Examples:
  proxy policy check web.policy
  proxy policy format web.policy > web.formatted
  proxy policy svg > built-in.svg

Exit codes: 0, 1 for a wrong policy or a failure, 2 for a wrong command line.`;

export const EXPLAIN_HELP = `
PACKET is one argument, in the words of the policy notation:
  'tcp ADDR:PORT > ADDR:PORT [FLAG…]'
      flags syn, ack, fin, rst, psh, urg, none (default syn)
  'udp ADDR:PORT > ADDR:PORT'
  'icmp ADDR > ADDR [TYPE [code CODE]]'
      each a name or a number (default echo-request)
  'proto N ADDR > ADDR'
and after each: ttl N, length N (of the whole IP packet), id N (of an ICMP
query). An IPv6 address is in brackets before a port, as in [2001:db8::1]:443;
icmp is ICMPv6 then. Packets are taken in order: each finds the connections that
those before it have opened.
Flags --config, --policy, --hash-key-file, --ipv4, --ipv6, --gateway, --route,
--mac, --preserve-source, --translate-families, --clamp-mss, --retries,
--connect-timeout, --strays, --ports, --max-conn, --max-neighbors,
--max-limit-sources and --seed are those of a run (seed default 0), and so are
those of side B: --ipv4-b makes it two-sided, without --net-b. Every backend is
up and in service, and every neighbour has answered. Nothing is sent.

Examples:
  proxy explain --dst-addrs=192.168.0.1 \\
    'tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn'
  proxy explain --dst-addrs=192.168.0.1 \\
    'tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn' \\
    'tcp 192.168.0.1:2000 > 192.168.0.100:40000 syn ack'

Exit codes: 0, 1 for a wrong policy or a failure, 2 for a wrong command line.`;

export const REPLAY_HELP = `
Flags --config, --policy, --hash-key-file, --check, --ipv4, --ipv6, --accept-ra,
--gateway, --route, --preserve-source, --translate-families, --clamp-mss,
--retries, --connect-timeout, --strays, --ports, --max-conn, --max-neighbors,
--max-limit-sources, --timeout-…, --seed and --trace are those of a run; for the
same decisions give those of the run that was captured (seed default 0, trace
default all). Backends are not checked:
frames of checks that the capture has are left out.
A capture is a pcap or a pcapng file. With --ipv4-b and the other flags of side
B there are two, whose records are taken, and counted, in the order of time; or
one pcapng file with two interfaces, the first of which is side A's.
Without --mac the proxy's MAC address is found in the capture. Frames from that
address are not received but compared with those sent here, ARP requests
excepted.
A capture does not tell the MTU of its interface: --mtu and --mtu-b do.
Of a pause only the first and the last minute are run: ARP requests between
are not sent.
A file that is read or already written is never overwritten, whatever name it
is given by.
A neighbour that has packets in the capture, but no ARP, counts as resolved.
A TCP or UDP checksum that is the bare sum of the pseudo-header counts as not
completed yet; in --out it is completed.

Examples:
  proxy replay --dst-addrs=192.168.0.1,192.168.0.2 --pcap=in.pcap --seed=7
  proxy replay --policy=new.policy --dst-addrs=192.168.0.1 --pcap=in.pcap \\
    --trace=off --out=out.pcap

Exit codes: 0, 1 for frames that differ or a failure, 2 for a wrong command
line.`;

export const CTL_HELP = `
Commands that read:
  status                      version, interfaces, counts
  pools, backends             status, weight, connections, failed checks
  connections [FILTER…]       protocol, time to expiry, state, addresses, age;
                              at most 1,000 unless limit=N
  tree                        the policy with how many PDUs came where
  drops                       how many packets were dropped, and why
  neighbors                   hosts on the links: address, MAC address, state
  explain PACKET…             what would happen to packets: see
                              proxy explain --help
  trace PREDICATE [limit=N] [seconds=S]
                              packets for which the predicate holds, as they
                              come (100, 60 s)
  version                     of the running proxy
  top [--interval=TIME] [--once]
                              all of this as it changes, with rates, on the
                              terminal; ? there shows the keys
Commands that change:
  reload                      as SIGHUP; errors, and exit code 1, if anything is
                              wrong
  upgrade                     saves the state (--state) and ends, for the
                              supervisor to start the program again
  drain BACKEND [--wait=TIME] no new connections; waits until the last has ended
  maintenance BACKEND         out of service
  ready BACKEND               in service again
  add POOL/ADDR[:PORT] [weight=N]
                              one more backend in a pool; used when it answers
  remove BACKEND              one less in a pool; from maintenance only
  weight BACKEND N            its share of new connections, 0 to 256
  capture start NAME [filter=PREDICATE] [drops-only] [snaplen=N] [max-size=10M]
          [rotate=N] [duration=60s]
                              packets into the pcapng file NAME, which must be
                              new, in the folder of --capture-dir
  capture stop                ends it
  kill FILTER…|all            resets TCP connections on both sides and forgets
                              them, and others that fit

BACKEND is [POOL/]ADDR[:PORT], as the table of backends names it; an IPv6
address is in brackets before a port, as in web/[2001:db8::1]:443. A change
stays over a reload, unless the policy says something else of that backend than
before.
FILTER is NAME=VALUE; all that are given must fit:
  source=ADDR[/LEN]  backend=ADDR[:PORT]  port=PORT
  protocol=tcp|udp|icmp  state=STATE
  older=TIME  younger=TIME    since the connection was opened, as in 500ms, 60s,
                              5m, 2h
--control is /run/treegate/control.sock unless given. The socket speaks HTTP and
answers JSON:
  curl --unix-socket /run/treegate/control.sock http://localhost/

Examples:
  proxy ctl status --watch
  proxy ctl connections state=established source=10.0.0.0/8 older=1h
  proxy ctl kill backend=192.168.0.3
  proxy ctl trace 'tcp.dport = 80 and new' limit=10
  proxy ctl capture start web.pcapng 'filter=tcp.dport = 80' duration=60s

Exit codes: 0, 1 for a failure (no proxy there, a wrong policy), 2 for a wrong
command line.`;
