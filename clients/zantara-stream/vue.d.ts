import type { ComputedRef, MaybeRefOrGetter } from "vue";

import type { Actions, StreamOptions, View } from "./view.js";

export type { Actions, StreamOptions, View };

/** A view whose every property is a ref. */
export type ViewRefs = { readonly [Name in keyof View]: ComputedRef<View[Name]> };

/**
 * One answer at a time in a Vue component or effect scope: what is known of it, as refs, and what can be done.
 *
 * `options` may be a ref or a getter. The refs change at most once a frame while words come in, and at once when the
 * state changes. The end of the scope closes the reading, not the answer. On a server it renders as `idle`.
 */
export function useZantaraStream(options?: MaybeRefOrGetter<StreamOptions>): ViewRefs & Actions;
