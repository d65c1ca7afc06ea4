"use strict";
// Draws what stands in `figure[data-chart]`: a figure of the page's JSON, or one that a script of the page makes
// (`zoobench.chart(name, make)`), in the page's colours, when it comes into sight.
(() => {
  const quiet = matchMedia("(prefers-reduced-motion: reduce)");
  // Okabe and Ito 2008; a few are lightened or darkened where the page's ground asks for it.
  const palette = {
    light: ["#0072b2", "#d55e00", "#007a5a", "#b0568a", "#2b8cbe", "#a66f00", "#4d4d4d"],
    dark: ["#5db3e6", "#ff8a3d", "#2fc79a", "#e79ac4", "#9bd4f5", "#f0b63f", "#c8c8c8"],
  };
  // What figures made in Python are drawn with (leaderboard/curves_page.py, datasets/report/plots.py), on dark.
  const onDark = {
    "#0072b2": "#5db3e6", "#d55e00": "#ff8a3d", "#009e73": "#2fc79a", "#cc79a7": "#e79ac4", "#56b4e9": "#9bd4f5",
    "#e69f00": "#f0b63f", "#4d4d4d": "#c8c8c8", "#3b4352": "#c5cdd9", "#e3e7ed": "#2c3542",
  };
  const symbols = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star"];
  const makers = {};
  const drawn = new Map();

  // The bundle is as long as all else by far: it is asked for once a chart comes into sight, and nothing waits for it.
  const bundle = new URL("plotly.min.js", document.currentScript.src);
  let loaded = null;
  const plotly = () => {
    loaded ??= new Promise((done, failed) => {
      const script = zoobench.element("script", { src: bundle });
      script.addEventListener("load", done);
      script.addEventListener("error", () => failed(new Error(`${bundle} is missing`)));
      document.head.append(script);
    });
    return loaded;
  };

  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const colours = () => palette[zoobench.isDark() ? "dark" : "light"];
  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const style = (place) => ({ color: colours()[place % colours().length], symbol: symbols[place % symbols.length] });

  const recoloured = (value) => {
    if (typeof value === "string") return onDark[value] ?? value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, recoloured(each)]));
    }
    return value;
  };

  const dressed = (layout, width, height) => {
    const axis = { gridcolor: ink("line"), zerolinecolor: ink("line"), linecolor: ink("line"), automargin: true, fixedrange: true };
    const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
    const named = Object.fromEntries(["xaxis", "yaxis", ...axes].map((name) => [name, { ...axis, ...(layout[name] ?? {}) }]));
    return {
      margin: { l: 8, r: 12, t: 12, b: 40 },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: ink("card"), bordercolor: ink("soft"), font: { color: ink("ink") }, namelength: -1 },
      transition: { duration: 0 },
      ...layout,
      ...named,
      template: "none",
      separators: zoobench.language === "es" ? ",." : ".,",
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink("ink"), size: width < 560 ? 11 : 12, family: getComputedStyle(document.body).fontFamily },
      width,
      height,
    };
  };

  const figureOf = (name) => (makers[name] ? makers[name]() : zoobench.figures[name]);

  const draw = (holder) => {
    drawn.set(holder, holder.querySelector(".plot").clientWidth);
    return plotly().then(() => drawNow(holder));
  };

  const drawNow = (holder) => {
    const name = holder.dataset.chart;
    const plot = holder.querySelector(".plot");
    const found = structuredClone(figureOf(name));
    holder.hidden = !found;
    if (!found || !plot.clientWidth) return;
    const figure = zoobench.isDark() && !makers[name] ? recoloured(found) : found;
    const height = figure.layout.height ?? plot.clientHeight;
    plot.style.height = `${height}px`;
    drawn.set(holder, plot.clientWidth);
    Plotly.react(plot, figure.data, dressed(figure.layout, plot.clientWidth, height), {
      displayModeBar: false,
      scrollZoom: false,
      doubleClick: false,
      staticPlot: false,
    });
  };

  const redraw = (name) => {
    for (const holder of drawn.keys()) if (!name || holder.dataset.chart === name) draw(holder);
  };

  zoobench.chart = (name, make) => {
    makers[name] = make;
    redraw(name);
  };
  zoobench.redraw = redraw;
  zoobench.charts = { style, colours, ink, escaped, quiet };

  zoobench.ready(() => {
    const sight = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter((each) => each.isIntersecting)) {
          sight.unobserve(entry.target);
          draw(entry.target);
          sizes.observe(entry.target.querySelector(".plot"));
        }
      },
      { rootMargin: "400px" },
    );
    const sizes = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const holder = target.closest("figure");
        // Drawing changes the height, which is no business of the observer's own turn.
        if (drawn.get(holder) !== target.clientWidth) requestAnimationFrame(() => draw(holder));
      }
    });
    document.querySelectorAll("figure[data-chart]").forEach((holder) => sight.observe(holder));
    zoobench.onTheme(() => redraw());
    // Paper has no dark theme, and shows what was not yet in sight.
    addEventListener("beforeprint", () => document.querySelectorAll("figure[data-chart]").forEach(draw));
  });
})();
