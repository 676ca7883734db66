// Uses of the Vue composable, right and wrong. They are compiled and never run.
import { computed, ref, type ComputedRef } from "vue";
import type { Answer, Citation, State } from "zantara-stream";
import { useZantaraStream, type Actions, type StreamOptions, type View, type ViewRefs } from "zantara-stream/vue";

type Same<Left, Right> = (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false;
const same = <Left, Right>(equal: Same<Left, Right>) => equal;

const options: StreamOptions = { resume: true };
const stream: ViewRefs & Actions = useZantaraStream(options);
useZantaraStream();
useZantaraStream(ref(options));
useZantaraStream(computed(() => options));
useZantaraStream(() => ({ session: "s" }));

same<typeof stream.text, ComputedRef<string>>(true);
same<typeof stream.state.value, State | "idle">(true);
same<typeof stream.citations.value, readonly Citation[]>(true);
same<keyof View, keyof ViewRefs>(true);
same<ReturnType<typeof stream.ask>, Answer>(true);

type Handler = (event: { type: string }) => unknown;
export const handlers: Handler[] = [stream.stop, stream.close, stream.reset, stream.reconnect];

// @ts-expect-error: there is no such option
useZantaraStream({ resumes: true });
// @ts-expect-error: an option is what it is in the client
useZantaraStream(() => ({ session: 1 }));
// @ts-expect-error: each is a ref
stream.text.length;
// @ts-expect-error: and is not to be written
stream.text.value = "";
