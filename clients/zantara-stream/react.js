"use client";

import { useEffect, useInsertionEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import { IDLE, Reading } from "./view.js";

const idle = () => IDLE;

export function useZantaraStream(options = {}) {
  const latest = useRef(options);
  const [reading] = useState(() => new Reading(() => latest.current));
  const view = useSyncExternalStore(reading.subscribe, reading.view, idle);
  // Before any other effect of this render can ask.
  useInsertionEffect(() => {
    latest.current = options;
  });
  useEffect(reading.use, [reading]);
  return useMemo(() => {
    const { ask, stop, close, reset, reconnect } = reading;
    return { ...view, ask, stop, close, reset, reconnect };
  }, [reading, view]);
}
