import type { Actions, StreamOptions, View } from "./view.js";

export type { Actions, StreamOptions, View };

/**
 * One answer at a time in a React component: what is known of it, and what can be done.
 *
 * The component renders at most once a frame while words come in, and at once when the state changes. Unmounting closes
 * the reading, not the answer. The same object comes back until something changes. On a server it renders as `idle`.
 */
export function useZantaraStream(options?: StreamOptions): View & Actions;
