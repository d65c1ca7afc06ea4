"use strict";
// Of every page: the theme, before anything is drawn; the page's data and words; the state in its address.
const zoobench = (() => {
  const root = document.documentElement;
  const kept = {
    get: () => {
      try {
        return localStorage.getItem("zoobench-theme");
      } catch {
        return null; // a browser may forbid a page from disk to keep anything
      }
    },
    set: (theme) => {
      try {
        localStorage.setItem("zoobench-theme", theme);
      } catch {
        // then the choice lasts as long as the page
      }
    },
  };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  if (["dark", "light"].includes(kept.get())) root.dataset.theme = kept.get();
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const themeListeners = [];
  const onTheme = (listener) => themeListeners.push(listener);
  const tellTheme = () => themeListeners.forEach((listener) => listener());
  prefersDark.addEventListener("change", tellTheme);

  const blocks = {};
  const block = (name) => {
    const holder = document.getElementById(`json-${name}`);
    blocks[name] ??= holder ? JSON.parse(holder.textContent) : {};
    return blocks[name];
  };

  const language = root.lang;
  const number = (value, digits) =>
    value === null || value === undefined || Number.isNaN(value)
      ? "–"
      : new Intl.NumberFormat(language, {
          minimumFractionDigits: digits ?? 0,
          maximumFractionDigits: digits ?? (Math.abs(value) < 1 ? 3 : Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0),
        }).format(value);

  const say = (id, values = {}) => {
    const text = block("words")[id];
    if (text === undefined) throw new Error(`no words for ${id}`);
    const chosen = typeof text === "string" ? text : values.count === 1 ? text.one : text.other;
    return chosen.replace(/\{(\w+)\}/g, (_, name) => (Number.isInteger(values[name]) ? number(values[name]) : values[name]));
  };

  // State stands behind the # as a=1&b=2, since that is the part of an address that a page from disk may change.
  // A # without = is an ordinary anchor.
  const read = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const keepLinks = () => {
    for (const link of document.querySelectorAll("[data-keeps-state]")) link.hash = location.hash;
  };
  const state = {
    get: (name) => read().get(name),
    set: (values) => {
      const params = read();
      for (const [name, value] of Object.entries(values)) {
        if (value === null || value === "") params.delete(name);
        else params.set(name, value);
      }
      const text = params.toString();
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
      keepLinks();
    },
    onChange: (listener) => addEventListener("hashchange", () => location.hash.includes("=") && listener()),
  };

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  };

  const ready = (start) => {
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
    else start();
  };

  ready(() => {
    const button = document.getElementById("theme");
    const label = () => {
      button.textContent = say(isDark() ? "js.theme.light" : "js.theme.dark");
    };
    button.hidden = false;
    label();
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      kept.set(root.dataset.theme);
      tellTheme();
    });
    onTheme(label);
    keepLinks();
    addEventListener("hashchange", keepLinks);
  });

  return {
    get data() {
      return block("data");
    },
    get figures() {
      return block("figures");
    },
    isDark,
    onTheme,
    language,
    number,
    say,
    state,
    element,
    ready,
  };
})();
