"use strict";
// The form of a task's page: reads the limits, keeps them in the address, and shows what `zoobench.recommend` answers.
zoobench.ready(() => {
  const { data, say, number, state, element, recommend } = zoobench;
  const known = data.recommend;
  const place = document.getElementById("recommend-place");
  const verdict = document.getElementById("recommend-verdict");
  const answer = document.getElementById("recommend-answer");
  if (!place || !known) return;
  const inputs = [...document.querySelectorAll("input[data-limit]")];
  const ties = recommend.unpack(known.ties);

  const title = (cost) => say(`js.recommend.${cost}`);
  const plain = (cost, value) => number(value, cost === "parameters" ? 0 : undefined);
  const times = (factor) => number(factor, factor < 10 ? 2 : 0);
  const value = ([middle, low, high]) =>
    number(middle, 3) + (low === null ? "" : ` [${number(low, 3)}; ${number(high, 3)}]`);

  class Answer {
    constructor(budget) {
      this.budget = budget;
      this.here = known.places[place.selectedIndex];
      this.found = recommend({ candidates: this.here.candidates, ties }, budget);
    }

    name(each) {
      return known.names[this.here.candidates[each][0]];
    }

    score(each) {
      return value(known.values[this.here.candidates[each][0]]);
    }

    cost(each, name) {
      const at = recommend.COSTS.indexOf(name);
      const [, , costs, estimated] = this.here.candidates[each];
      return costs[at] === null ? "–" : ((estimated >> at) & 1 ? "~" : "") + plain(name, costs[at]);
    }

    costs(each, name) {
      return say(`js.recommend.of.${name}`, { value: this.cost(each, name) });
    }

    words() {
      const { best, recommended, untold, nearest, excluded, barred } = this.found;
      if (best === null) return [say("js.recommend.nothing"), ...(nearest ? [this.relaxing(nearest)] : [])];
      const lines = [say("js.recommend.best", { name: this.name(best), value: `${data.metric} ${this.score(best)}` })];
      const within = this.here.candidates.length - excluded.length - barred.length;
      const others = recommended.length - 1;
      if (others) lines.push(say("js.recommend.take", { name: this.name(recommended[0]), count: others }));
      else if (within === 1) lines.push(say("js.recommend.only"));
      else if (!untold.length) lines.push(say("js.recommend.alone"));
      if (this.here.candidates[recommended[0]][3]) lines.push(say("js.recommend.guess", { hardware: this.here.hardware }));
      if (known.blind.includes(this.here.candidates[recommended[0]][0])) lines.push(say("js.recommend.blind"));
      if (untold.length) lines.push(say("js.recommend.untold", { count: untold.length }));
      return lines;
    }

    relaxing({ place: nearest, over }) {
      const needs = over.map(([name, cost]) =>
        say("js.recommend.need", { value: this.costs(nearest, name), times: times(cost / this.budget[name]) }),
      );
      return say("js.recommend.nearest", { name: this.name(nearest), needs: needs.join("; ") });
    }

    remarks() {
      const lines = [];
      const names = (list) => list.join(", ");
      const { barred } = this.found;
      if (barred.length) lines.push(say("js.recommend.barred", { names: names(barred.map((each) => this.name(each))) }));
      if (this.here.unmeasured.length) {
        const left = this.here.unmeasured.map((row) => known.names[row]);
        lines.push(say("js.recommend.unmeasured", { hardware: this.here.hardware, names: names(left) }));
      }
      const guessed = recommend.COSTS.filter((_, at) => this.here.candidates.some((each) => (each[3] >> at) & 1));
      if (guessed.length) lines.push(say("js.recommend.estimates"));
      for (const cost of guessed) {
        const [middle, worst, count] = known.errors[cost] ?? [];
        const said = { cost: title(cost), middle: number(middle, 2), worst: number(worst, 2), count };
        lines.push(say(count ? "js.recommend.error" : "js.recommend.no_error", said));
      }
      return lines;
    }

    table(caption, places) {
      const heads = [say("js.recommend.configuration"), data.metric, ...recommend.COSTS.map(title), say("js.recommend.on_front")];
      const rows = places.map((each) => [
        this.score(each),
        ...recommend.COSTS.map((name) => this.cost(each, name)),
        this.found.front.includes(each) ? say("js.recommend.yes") : "",
      ]);
      const marks = places.map((each) => (each === this.found.best ? say("js.recommend.is_best") : ""));
      return grid(caption, heads, places.map((each) => this.name(each)), rows, marks);
    }

    outside() {
      const { excluded } = this.found;
      const over = ([name, cost], each) =>
        Number.isFinite(cost)
          ? `${this.costs(each, name)} (${times(cost / this.budget[name])}×)`
          : say("js.recommend.unknown", { cost: title(name) });
      const heads = [say("js.recommend.configuration"), data.metric, say("js.recommend.limit")];
      const rows = excluded.map((each) => [
        this.score(each.place),
        element("td", { class: "wide" }, each.over.map((broken) => over(broken, each.place)).join("; ")),
      ]);
      const words = say("js.recommend.excluded", { count: excluded.length });
      const names = excluded.map((each) => this.name(each.place));
      return element("details", {}, element("summary", {}, words), grid(say("js.recommend.breaks"), heads, names, rows));
    }
  }

  function grid(caption, heads, names, rows, marks = []) {
    const head = heads.map((each, at) => element("th", { scope: "col", class: at ? "number" : null }, each));
    if (!marks.length) head[head.length - 1].removeAttribute("class");
    const lines = rows.map((cells, at) => {
      const mark = marks[at] ? [" ", element("b", { class: "mark" }, marks[at])] : [];
      const made = cells.map((cell) => (cell instanceof Node ? cell : element("td", { class: "number" }, cell)));
      return element("tr", {}, element("th", { scope: "row" }, names[at], ...mark), ...made);
    });
    const table = element(
      "table",
      {},
      element("caption", {}, element("span", {}, caption)),
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...lines),
    );
    return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
  }

  const limit = (input) => (input.value.trim() === "" && !input.validity.badInput ? null : Number(input.value || NaN));

  function show() {
    const limits = inputs.map(limit);
    inputs.forEach((input, at) => {
      if (limits[at] === null || limits[at] > 0) input.removeAttribute("aria-invalid");
      else input.setAttribute("aria-invalid", "true");
    });
    if (inputs.some((input) => input.hasAttribute("aria-invalid"))) {
      verdict.replaceChildren(element("p", {}, say("js.recommend.invalid")));
      answer.replaceChildren();
      return;
    }
    const made = new Answer(Object.fromEntries(inputs.map((input, at) => [input.dataset.limit, limits[at]])));
    const { recommended, front, excluded } = made.found;
    const rest = front.filter((each) => !recommended.includes(each));
    verdict.replaceChildren(...made.words().map((line, at) => element(at ? "p" : "b", {}, line)));
    answer.replaceChildren(
      ...(recommended.length ? [made.table(say("js.recommend.recommended"), recommended)] : []),
      ...(rest.length ? [made.table(say("js.recommend.front"), rest)] : []),
      ...(excluded.length ? [made.outside()] : []),
      ...made.remarks().map((line) => element("p", { class: "caption" }, line)),
    );
  }

  function restore() {
    for (const input of inputs) input.value = state.get(`rec.${input.dataset.limit}`) ?? "";
    const asked = known.places.findIndex((each) => each.hardware === state.get("rec.on"));
    place.selectedIndex = Math.max(0, asked);
    show();
  }

  for (const input of inputs) {
    input.addEventListener("input", () => {
      state.set({ [`rec.${input.dataset.limit}`]: input.value });
      show();
    });
  }
  place.addEventListener("change", () => {
    state.set({ "rec.on": place.selectedIndex ? place.value : null });
    show();
  });
  state.onChange(restore);
  restore();
});
