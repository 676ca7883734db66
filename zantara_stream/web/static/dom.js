// DOM nodes from names, attributes and texts: whatever a text says, it stays text.

export const byId = (id) => document.getElementById(id);

// Attributes that are undefined or false are left out, and so are children that are nothing.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  node.append(...children.flat(Infinity).filter(Boolean));
  return node;
}

// "1 chunk", "2 chunks"
export function counted(count, name) {
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
