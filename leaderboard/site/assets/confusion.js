"use strict";
// Confusion matrices as tables whose counts say more when they are pointed at, focused or touched:
// `zoobench.confusion(part)` returns the element. Of several labels a 2 x 2 matrix each, of classes one of all.
(() => {
  const { element, number, say } = zoobench;
  const tip = element("div", { role: "tooltip", id: "tip", class: "tip", hidden: true });
  const ratio = (part, whole) => (whole ? part / whole : null);
  const shade = (kind, share) => `${kind}${share === null ? 0 : Math.min(5, Math.ceil(share * 5))}`;
  const sum = (values) => values.reduce((one, other) => one + other, 0);

  // The counts of one label against the rest: (true negatives, false positives, false negatives, true positives).
  const countsOf = (part, label) => {
    if (part.kind === "multilabel") return part.confusion[label];
    const [hits, all] = [part.confusion[label][label], sum(part.confusion.map(sum))];
    const missed = sum(part.confusion[label]) - hits;
    const wrong = sum(part.confusion.map((row) => row[label])) - hits;
    return [all - hits - missed - wrong, wrong, missed, hits];
  };

  const show = (button) => {
    if (!tip.isConnected) document.body.append(tip);
    hide();
    tip.textContent = button.dataset.tip;
    tip.hidden = false;
    button.setAttribute("aria-describedby", "tip");
    const [place, size] = [button.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.min(Math.max(8, place.left + place.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = place.top - size.height - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above < 60 ? place.bottom + 8 : above) + scrollY}px`;
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll('[aria-describedby="tip"]').forEach((each) => each.removeAttribute("aria-describedby"));
  };
  addEventListener("keydown", (event) => event.key === "Escape" && hide());

  const cell = (count, kind, share, told) => {
    const button = element("button", { type: "button", tabindex: "-1", "data-tip": told }, number(count));
    return element("td", { class: shade(kind, share) }, button);
  };

  // One stop of the Tab key for a matrix; arrows go about in it.
  const steered = (table) => {
    const rows = [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("button")]);
    rows[0][0].tabIndex = 0;
    table.addEventListener("focusin", (event) => {
      const mine = event.target.closest("button");
      if (!mine) return;
      rows.flat().forEach((each) => (each.tabIndex = each === mine ? 0 : -1));
      show(mine);
    });
    table.addEventListener("focusout", hide);
    table.addEventListener("pointerover", (event) => event.target.closest("button") && show(event.target.closest("button")));
    table.addEventListener("pointerout", hide);
    table.addEventListener("click", (event) => event.target.closest("button") && show(event.target.closest("button")));
    table.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const y = rows.findIndex((row) => row.includes(document.activeElement));
      if (!steps[event.key] || y < 0) return;
      const x = rows[y].indexOf(document.activeElement);
      event.preventDefault();
      (rows[y + steps[event.key][0]]?.[x + steps[event.key][1]] ?? rows[y][x]).focus();
    });
    return table;
  };

  const head = (...words) =>
    element("thead", {}, element("tr", {}, element("td", {}), ...words.map((each) => element("th", { scope: "col" }, each))));
  const line = (name, ...cells) => element("tr", {}, element("th", { scope: "row" }, name), ...cells);

  const ofLabel = (part, label) => {
    const name = part.labels[label];
    const [tn, fp, fn, tp] = countsOf(part, label);
    const rates = { label: name, precision: number(ratio(tp, tp + fp), 3), recall: number(ratio(tp, tp + fn), 3) };
    const told = (id, count) => `${say(`js.model.confusion.${id}`, { count, label: name })} ${say("js.model.confusion.rates", rates)}`;
    const f1 = part.scores.f1?.[label];
    const caption = element("caption", {}, element("b", {}, name), ` F1 ${number(f1, 3)}`);
    const body = element(
      "tbody",
      {},
      line(say("js.model.has"), cell(tp, "h", ratio(tp, tp + fn), told("tp", tp)), cell(fn, "w", ratio(fn, tp + fn), told("fn", fn))),
      line(say("js.model.hasnot"), cell(fp, "w", ratio(fp, fp + tn), told("fp", fp)), cell(tn, "h", ratio(tn, fp + tn), told("tn", tn))),
    );
    return steered(element("table", { class: "matrix" }, caption, head(say("js.model.given"), say("js.model.notgiven")), body));
  };

  const ofClasses = (part) => {
    const matrix = part.confusion;
    const columns = part.labels.map((_, answer) => sum(matrix.map((row) => row[answer])));
    const cells = (truth) =>
      matrix[truth].map((count, answer) => {
        const values = { count, truth: part.labels[truth], answer: part.labels[answer] };
        const rows = sum(matrix[truth]);
        const shares = {
          recall: number(ratio(count, rows), 3),
          precision: number(ratio(count, columns[answer]), 3),
          rows,
          answers: columns[answer],
        };
        const told = `${say("js.model.confusion.cell", values)} ${say(truth === answer ? "js.model.confusion.right" : "js.model.confusion.shares", shares)}`;
        return cell(count, truth === answer ? "h" : "w", ratio(count, rows), told);
      });
    const body = element("tbody", {}, ...part.labels.map((name, truth) => line(name, ...cells(truth))));
    const caption = element("caption", {}, say("js.model.confusion.caption"));
    return steered(element("table", { class: "matrix classes" }, caption, head(...part.labels), body));
  };

  zoobench.counts = countsOf;
  zoobench.confusion = (part) => {
    if (part.kind === "multiclass") {
      return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": say("js.model.confusion.caption") }, ofClasses(part));
    }
    return element("div", { class: "matrices" }, ...part.labels.map((_, label) => ofLabel(part, label)));
  };
})();
