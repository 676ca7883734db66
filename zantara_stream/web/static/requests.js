// Requests beside the answer's stream, and what the server says when it refuses them.

export class Refused extends Error {
  constructor(message, code) {
    super(message);
    Object.assign(this, { name: "Refused", code });
  }
}

// The response, if it is a good one; otherwise the server's words are thrown as `Refused`.
export async function request(path, { token, body, ...more } = {}) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { "Content-Type": "application/json" }) };
  const made = { headers, body: body && JSON.stringify(body), cache: "no-store", ...more };
  const response = await fetch(path, made).catch(() => {
    throw new Refused("The server cannot be reached.", "unreachable");
  });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(said.error ?? `The server answered with status ${response.status}.`, said.code);
}

// What keeps the server from answering, in its words; empty if nothing does.
export async function unreadiness() {
  try {
    await request("/ready");
    return "";
  } catch (refused) {
    return refused.message;
  }
}
