/**
 * The system calls that a filter tells apart, each with its numbers on x86-64 and on arm64
 * (`asm/unistd.h` there). A dash: that machine has no such call.
 */

/** Machines whose calls are known. */
export type Machine = "x86_64" | "aarch64";

/** Forbidden to a run that has opened what it needs. */
const DENIED = `
  # Other programs
  execve=59/221 execveat=322/281 fork=57/- vfork=58/- uselib=134/-
  # Other processes
  ptrace=101/117 process_vm_readv=310/270 process_vm_writev=311/271 process_madvise=440/440
  process_mrelease=448/448 kcmp=312/272 pidfd_open=434/434 pidfd_getfd=438/438
  pidfd_send_signal=424/424 migrate_pages=256/238 move_pages=279/239
  # File systems
  mount=165/40 umount2=166/39 pivot_root=155/41 chroot=161/51 move_mount=429/429 open_tree=428/428
  open_tree_attr=467/467 mount_setattr=442/442 fsopen=430/430 fsconfig=431/431 fsmount=432/432
  fspick=433/433 statmount=457/457 listmount=458/458 swapon=167/224 swapoff=168/225
  quotactl=179/60 quotactl_fd=443/443 acct=163/89
  # The kernel
  init_module=175/105 finit_module=313/273 delete_module=176/106 kexec_load=246/104
  kexec_file_load=320/294 reboot=169/142 syslog=103/116
  # What goes round a filter, or reads what others do
  bpf=321/280 perf_event_open=298/241 userfaultfd=323/282 io_uring_setup=425/425
  io_uring_register=427/427 add_key=248/217 request_key=249/218 keyctl=250/219
  fanotify_init=300/262 open_by_handle_at=304/265 name_to_handle_at=303/264 lookup_dcookie=212/18
  # Namespaces, and what the processor is told
  unshare=272/97 setns=308/268 personality=135/92 modify_ldt=154/- iopl=172/- ioperm=173/-
  # Users and capabilities
  setuid=105/146 setgid=106/144 setreuid=113/145 setregid=114/143 setresuid=117/147
  setresgid=119/149 setfsuid=122/151 setfsgid=123/152 setgroups=116/159 capset=126/91
  # The machine
  settimeofday=164/170 clock_settime=227/112 clock_adjtime=305/266 adjtimex=159/171
  sethostname=170/161 setdomainname=171/162 vhangup=153/58
  # Connections: what is listened at is open by now, and datagrams need none
  connect=42/203 bind=49/200 listen=50/201
  # Signals to others, and shares of the processors
  tkill=200/130 rt_sigqueueinfo=129/138 rt_tgsigqueueinfo=297/240 sched_setaffinity=203/122
  sched_setparam=142/118 sched_setscheduler=144/119 sched_setattr=314/274 ioprio_set=251/30
  # Memory and queues that others have by name
  shmget=29/194 shmat=30/196 shmctl=31/195 semget=64/190 semop=65/193 semtimedop=220/192
  semctl=66/191 msgget=68/186 msgsnd=69/189 msgrcv=70/188 msgctl=71/187 mq_open=240/180
  mq_unlink=241/181
  # Properties of files, of which Landlock does not know
  chmod=90/- fchmod=91/52 fchmodat=268/53 fchmodat2=452/452 chown=92/- fchown=93/55 lchown=94/-
  fchownat=260/54 setxattr=188/5 lsetxattr=189/6 fsetxattr=190/7 setxattrat=463/463
  removexattr=197/14 lremovexattr=198/15 fremovexattr=199/16 removexattrat=466/466
  file_setattr=469/469 utime=132/- utimes=235/- futimesat=261/- utimensat=280/88 mknod=133/-
  mknodat=259/33
`;

/** Allowed or not by what they are asked for. */
const CHECKED = `
  clone=56/220 clone3=435/435 socket=41/198 socketpair=53/199 kill=62/129 tgkill=234/131 prlimit64=302/261 setpriority=141/140 ioctl=16/29
`;

/** All that a run needs besides: with `--sandbox=strict` there is nothing else. */
const ALLOWED = `
  # Descriptors
  read=0/63 write=1/64 readv=19/65 writev=20/66 pread64=17/67 pwrite64=18/68 preadv=295/69
  pwritev=296/70 preadv2=327/286 pwritev2=328/287 lseek=8/62 close=3/57 close_range=436/436
  dup=32/23 dup2=33/- dup3=292/24 fcntl=72/25 flock=73/32 fsync=74/82 fdatasync=75/83
  ftruncate=77/46 fallocate=285/47
  # Files
  open=2/- openat=257/56 openat2=437/437 creat=85/- stat=4/- lstat=6/- fstat=5/80
  newfstatat=262/79 statx=332/291 access=21/- faccessat=269/48 faccessat2=439/439 readlink=89/-
  readlinkat=267/78 getdents64=217/61 getcwd=79/17 unlink=87/- unlinkat=263/35 rename=82/-
  renameat=264/38 renameat2=316/276 statfs=137/43 fstatfs=138/44 umask=95/166
  # Waiting
  poll=7/- ppoll=271/73 select=23/- pselect6=270/72 epoll_create=213/- epoll_create1=291/20
  epoll_ctl=233/21 epoll_wait=232/- epoll_pwait=281/22 epoll_pwait2=441/441 eventfd=284/-
  eventfd2=290/19 pipe=22/- pipe2=293/59 timerfd_create=283/85 timerfd_settime=286/86
  io_uring_enter=426/426
  # Sockets that are open
  accept=43/202 accept4=288/242 getsockname=51/204 getpeername=52/205 getsockopt=55/209
  setsockopt=54/208 sendto=44/206 sendmsg=46/211 sendmmsg=307/269 recvfrom=45/207 recvmsg=47/212
  recvmmsg=299/243 shutdown=48/210
  # Memory
  mmap=9/222 munmap=11/215 mremap=25/216 mprotect=10/226 madvise=28/233 brk=12/214 mincore=27/232
  msync=26/227 membarrier=324/283 pkey_alloc=330/289 pkey_free=331/290 pkey_mprotect=329/288
  memfd_create=319/279 mseal=462/462
  # Threads
  futex=202/98 futex_wake=454/454 futex_wait=455/455 futex_requeue=456/456 futex_waitv=449/449
  set_robust_list=273/99 get_robust_list=274/100 set_tid_address=218/96 rseq=334/293
  sched_yield=24/124 sched_getaffinity=204/123
  # Signals and the end
  rt_sigaction=13/134 rt_sigprocmask=14/135 rt_sigreturn=15/139 rt_sigtimedwait=128/137
  sigaltstack=131/132 restart_syscall=219/128 exit=60/93 exit_group=231/94
  # Clocks
  clock_gettime=228/113 clock_getres=229/114 clock_nanosleep=230/115 nanosleep=35/101
  gettimeofday=96/169 time=201/-
  # What is asked about oneself
  getpid=39/172 gettid=186/178 getppid=110/173 getuid=102/174 geteuid=107/175 getgid=104/176
  getegid=108/177 getgroups=115/158 getresuid=118/148 getresgid=120/150 capget=125/90 uname=63/160
  sysinfo=99/179 getrusage=98/165 getrlimit=97/163 getrandom=318/278 getcpu=309/168 prctl=157/167
  arch_prctl=158/- getpriority=140/141 times=100/153
`;

/** By name. */
export type Numbers = ReadonlyMap<string, number>;

export interface Syscalls {
  readonly denied: Numbers;
  readonly checked: Numbers;
  readonly allowed: Numbers;
}

export function syscallsOf(machine: Machine): Syscalls {
  return {
    denied: numbersOf(DENIED, machine),
    checked: numbersOf(CHECKED, machine),
    allowed: numbersOf(ALLOWED, machine),
  };
}

function numbersOf(table: string, machine: Machine): Numbers {
  const rows = table.matchAll(/(\w+)=(\d+|-)\/(\d+|-)/g);
  const numbers = [...rows].map(([, name, x86, arm]) =>
    [name!, machine === "x86_64" ? x86! : arm!] as const
  );
  const there = numbers.filter(([, number]) => number !== "-");
  return new Map(there.map(([name, number]) => [name, Number(number)]));
}
