// Draws a page's diagrams, in the colours of its theme. Only a page with a diagram loads Mermaid.
(() => {
  const diagrams = [...document.querySelectorAll("pre.mermaid")];
  if (!diagrams.length) return;
  const sources = diagrams.map((diagram) => diagram.textContent);
  const html = document.documentElement;
  const isDark = () => ["ayu", "coal", "navy"].some((theme) => html.classList.contains(theme));
  let drawn = null;
  const draw = () => {
    if (drawn === isDark()) return;
    drawn = isDark();
    diagrams.forEach((diagram, number) => {
      diagram.textContent = sources[number];
      delete diagram.dataset.processed;
    });
    mermaid.initialize({ startOnLoad: false, theme: drawn ? "dark" : "default" });
    mermaid.run({ nodes: diagrams });
  };
  const script = document.createElement("script");
  script.src = `${path_to_root}mermaid.min.js`;
  script.onload = () => {
    draw();
    new MutationObserver(draw).observe(html, { attributeFilter: ["class"] });
  };
  document.head.append(script);
})();
