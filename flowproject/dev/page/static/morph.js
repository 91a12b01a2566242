// What the renewal of a piece leaves alone, because the browser owns it and not the server.

const owned = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-own");

// A moment that stays the same keeps its words, and whoever is reading them their selection.
const same = (old, fresh) => old.nodeName === "TIME" && old.dateTime === fresh.dateTime;

Object.assign(Idiomorph.defaults.callbacks, {
  beforeNodeMorphed: (old, fresh) => !owned(old) && !same(old, fresh),
  beforeNodeRemoved: (node) => !owned(node),
  beforeAttributeUpdated: (name, node) =>
    !(name === "open" && node.nodeName === "DETAILS") && !(name === "tabindex" && node.matches(".mark")),
});
