import { computed, getCurrentInstance, getCurrentScope, onMounted, onScopeDispose, shallowRef, toValue } from "vue";

import { IDLE, Reading } from "./view.js";

export function useZantaraStream(options = {}) {
  const reading = new Reading(() => toValue(options));
  const view = shallowRef(reading.view());
  reading.subscribe(() => (view.value = reading.view()));
  let leave = reading.close;
  const use = () => (leave = reading.use());
  // In a component not before what a server has rendered is taken over, and never on the server.
  if (getCurrentInstance()) onMounted(use);
  else use();
  if (getCurrentScope()) onScopeDispose(() => leave());
  const refs = Object.keys(IDLE).map((name) => [name, computed(() => view.value[name])]);
  const { ask, stop, close, reset, reconnect } = reading;
  return { ...Object.fromEntries(refs), ask, stop, close, reset, reconnect };
}
