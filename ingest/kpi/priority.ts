import { readlinkSync } from "node:fs";
import { access } from "node:fs/promises";
import { constants, getPriority, setPriority } from "node:os";
import { messageOf } from "@jilian/domain/errors.ts";

/** By so much more is the thread nice: beside one that wants the same core it gets about a quarter. */
const niceSteps = 5;

/** What came of it: the niceness that the thread has now, or why it has the one that it had. */
export type ThreadPriority = { readonly nice: number } | { readonly unchanged: string };

const ownThread = "/proc/thread-self";

/**
 * Lowers the priority of the calling thread below that of its process, so that a thread which has little to do and should do it at once, like
 * the broker's, need not wait for the end of its slice. POSIX has one niceness for a process; Linux has one for each thread, and takes a
 * thread's id where it asks for that of a process (setpriority(2), "C library/kernel differences"). It never rises, which needs no right.
 */
export async function lowerThreadPriority(): Promise<ThreadPriority> {
  if (process.platform !== "linux") return { unchanged: "threads have a priority of their own on Linux only" };
  try {
    // Begins the threads of libuv's pool where none run yet: begun by this thread later, they would have its priority, and the store uses them.
    await access(ownThread);
    // Not with a promise: that would be answered by one of them.
    const [pid, , tid] = readlinkSync(ownThread).split("/").map(Number);
    // Mounted from outside a container it has other numbers: those of somebody else.
    if (tid === undefined || pid !== process.pid) return { unchanged: `${ownThread} is not of this process` };
    const before = getPriority(tid);
    const nice = Math.min(before + niceSteps, constants.priority.PRIORITY_LOW);
    if (nice === before) return { unchanged: "it is the lowest" };
    setPriority(tid, nice);
    return { nice };
  } catch (error) {
    return { unchanged: messageOf(error) };
  }
}
