/**
 * Permissions that are no longer needed. They belong to all threads of the process; what is open
 * stays so. `src/pack/launcher.c` can't know which ones a command needs, and grants what any of
 * them does.
 */

/** Gives up these permissions for good. */
export function giveUp(names: readonly Deno.PermissionName[]): void {
  for (const name of names) Deno.permissions.revokeSync({ name });
}
