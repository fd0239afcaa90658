/** What a run has given up, in one line. */
import type { SandboxShape } from "./shapes.ts";

export function sandboxText(sandbox: SandboxShape): string {
  const { mode, user, landlock, threads } = sandbox;
  if (mode === "off" && user === null) return "off";
  const parts: readonly (readonly [count: number, what: string])[] = [
    [sandbox.noNewPrivileges, "no new privileges"],
    [sandbox.noCapabilities, "no capabilities"],
    [sandbox.emptyBoundingSet, "an empty bounding set"],
    [sandbox.filtered, "system calls filtered"],
  ];
  const all = parts.filter(([count]) => count === threads).map(([, what]) => what);
  const some = parts.filter(([count]) => count > 0 && count < threads)
    .map(([count, what]) => `${what} in ${count}`);
  return [
    `${mode}: ${threads} threads with ${[...all, ...some].join(", ") || "all that they had"}`,
    landlock === null ? "files not restricted" : `files restricted (Landlock ${landlock})`,
    ...(user === null ? [] : [`user ${user}`]),
  ].join("; ");
}
