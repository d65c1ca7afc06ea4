"use strict";
// The Try-it page: what a task asks for, the question to the server, and its answer. Nothing is put into the page as HTML.
zoobench.ready(() => {
  const by = (id) => document.getElementById(id);
  const form = by("try");
  if (!form) return;
  const { element, number, say, state } = zoobench;
  const tasks = zoobench.data.tasks;
  const SHOWN_WORDS = 8;
  let running = null;

  const task = () => tasks[by("task").value];
  const fields = () => task().fields.map((name) => by(name));
  const show = (node, shown) => {
    node.hidden = !shown;
  };
  const complain = (text, foreign = true) => {
    by("problem").textContent = text;
    by("problem").lang = foreign ? "en" : zoobench.language;
    show(by("problem"), Boolean(text));
  };

  const chooseTask = (model) => {
    const { title, description, modality, models, beside, spoken, example } = task();
    by("about").textContent = `${title}. ${description}`;
    by("model").replaceChildren(by("model").options[0], ...models.map((name) => new Option(name, name)));
    by("model").value = models.includes(model) ? model : "";
    for (const label of form.querySelectorAll("[data-field]")) show(label, task().fields.includes(label.dataset.field));
    show(by("shot"), modality === "image");
    show(by("spoken"), spoken);
    show(by("beside"), !spoken && beside.length > 0);
    by("beside").replaceChildren(
      ...(spoken ? [] : beside).map((name) => {
        const words = by("beside").dataset.words.replace("%", () => name);
        return element("label", {}, element("span", {}, words), element("input", { type: "number", step: "any", "data-beside": name }));
      }),
    );
    show(by("example"), Boolean(example));
    show(by("answer"), false);
    complain("");
    by("status").textContent = "";
    state.set({ task: by("task").value, model: by("model").value });
  };

  const takeState = () => {
    if (Object.hasOwn(tasks, state.get("task"))) by("task").value = state.get("task");
    chooseTask(state.get("model"));
  };

  const common = () => ({
    task: by("task").value,
    ...(by("model").value && { model: by("model").value }),
    ...(by("confidence").value && { confidence: Number(by("confidence").value) }),
    calibrated: by("calibrated").checked,
    explain: true,
  });

  const request = () => {
    if (task().modality === "text") {
      const text = fields().map((field) => field.value.trim()).filter(Boolean).join(task().joined);
      if (!text) return { problem: say("js.try.empty"), at: fields()[0] };
      const headers = { "content-type": "application/json" };
      return { text, options: { method: "POST", headers, body: JSON.stringify({ ...common(), text }) } };
    }
    const [file] = by("image").files;
    if (!file) return { problem: say("js.try.no_image"), at: by("image") };
    const body = new FormData();
    for (const [name, value] of Object.entries(common())) body.append(name, value);
    for (const name of task().spoken ? ["age", "sex", "view"] : []) if (by(name).value) body.append(name, by(name).value);
    for (const input of by("beside").querySelectorAll("input")) if (input.value) body.append(input.dataset.beside, input.value);
    body.append("image", file);
    return { text: "", options: { method: "POST", body } };
  };

  const ask = async () => {
    const { text, options, problem, at } = request();
    complain(problem ?? "", false);
    if (problem) return at.focus();
    running?.abort();
    const mine = (running = new AbortController());
    const colours = task().colours;
    by("status").textContent = say("js.try.asking");
    form.setAttribute("aria-busy", "true");
    const start = performance.now();
    try {
      const response = await fetch("/api/predict", { ...options, signal: mine.signal });
      const found = await response.json();
      if (!response.ok) {
        complain(found.error.message);
        show(by("answer"), false);
        by("status").textContent = "";
        return;
      }
      tell(found, text, colours, performance.now() - start);
    } catch (error) {
      if (mine.signal.aborted) return;
      complain(say("js.try.failed"), false);
      by("status").textContent = "";
    } finally {
      if (running === mine) form.removeAttribute("aria-busy");
    }
  };

  const bar = (each, colour) => {
    const track = element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "fill" }));
    track.firstChild.style.width = `${100 * each.probability}%`;
    track.firstChild.style.background = colour;
    if (each.threshold !== null && each.threshold !== undefined) {
      const mark = element("span", { class: "mark-at" });
      mark.style.left = `${100 * each.threshold}%`;
      track.append(mark);
    }
    return track;
  };

  const card = (title, text, colour, extra = []) => {
    const made = element("li", {}, element("strong", {}, title), element("span", { class: "figure" }, text), ...extra);
    if (colour) made.style.setProperty("--colour", colour);
    return made;
  };

  const cards = (found, answer, colours) => {
    if (answer.answer === "uncertain") {
      const values = { confidence: number(answer.confidence, 3), threshold: number(found.confidence_threshold, 2) };
      return [card(say("js.try.uncertain"), say("js.try.uncertain_about", values))];
    }
    if (!answer.labels.length) return [card(say("js.try.nothing"), say("js.try.nothing_about"))];
    const rows = Object.fromEntries(answer.probabilities.map((each) => [each.label, each]));
    return answer.labels.map(({ label, probability }) =>
      card(label, number(probability, 3), colours[label], [bar(rows[label], colours[label])]),
    );
  };

  const tell = (found, text, colours, ms) => {
    const [answer] = found.answers;
    by("cards").replaceChildren(...cards(found, answer, colours));
    const model = [found.model, found.preset].filter((part) => part && part !== "default").join("@");
    const values = { model, record: found.record, ms: number(ms, 0), policy: found.policy };
    const confidence = say("js.try.confidence", { confidence: number(answer.confidence, 3) });
    by("source").textContent = `${confidence} ${say("js.try.source", values)}`;
    by("remarks").replaceChildren(...found.remarks.map((line) => element("li", {}, line)));
    by("bars").replaceChildren(
      ...answer.probabilities.map((each) =>
        element(
          "tr",
          { class: each.chosen ? "chosen" : false },
          element("th", { scope: "row" }, each.label),
          element("td", {}, bar(each, colours[each.label]), element("span", { class: "figure" }, number(each.probability, 3))),
          element("td", { class: "number" }, each.threshold === null ? "–" : number(each.threshold, 3)),
          element("td", {}, say(each.chosen ? "js.try.chosen" : "js.try.not_chosen")),
        ),
      ),
    );
    offer("words", found.influence, (each) => tellWords(each, Array.from(text)));
    offer("heat", found.heat, (each) => {
      by("seen").src = found.image;
      by("overlay").src = each.overlay;
    });
    by("status").textContent = say("js.try.done", { count: answer.labels.length });
    show(by("answer"), true);
    by("answer").focus({ preventScroll: true });
    const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
    by("answer").scrollIntoView({ behavior: quiet ? "auto" : "smooth", block: "nearest" });
  };

  // A choice of the labels that there is an explanation of, if there is any.
  const offer = (name, list, draw) => {
    show(by(`${name}-figure`), Boolean(list));
    if (!list) return;
    const select = by(`${name}-label`);
    select.replaceChildren(...list.map((each, place) => new Option(each.label, place)));
    select.onchange = () => draw(list[select.value]);
    draw(list[0]);
  };

  // Places are counted in code points: the text comes as a list of them.
  const tellWords = ({ words }, text) => {
    const most = Math.max(...words.map((word) => Math.abs(word.added)), 1e-9);
    const parts = [];
    const sums = new Map();
    let at = 0;
    for (const { start, end, added } of words) {
      const word = text.slice(start, end).join("");
      const share = Math.abs(added) / most;
      parts.push(text.slice(at, start).join(""));
      const mark = element("mark", { class: added > 0 ? "for" : "against", title: number(added, 3) }, word);
      mark.style.setProperty("--share", `${Math.round(60 * share)}%`);
      parts.push(share >= 0.05 ? mark : word);
      const key = word.toLowerCase();
      sums.set(key, (sums.get(key) ?? 0) + added);
      at = end;
    }
    parts.push(text.slice(at).join(""));
    by("told").replaceChildren(...parts);
    const strongest = [...sums].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, SHOWN_WORDS);
    by("weights").replaceChildren(
      ...strongest.map(([word, added]) =>
        element("tr", {}, element("th", { scope: "row" }, word), element("td", { class: "number" }, `${added > 0 ? "+" : ""}${number(added, 3)}`)),
      ),
    );
  };

  by("task").addEventListener("change", () => chooseTask(""));
  by("model").addEventListener("change", () => state.set({ model: by("model").value }));
  by("example").addEventListener("click", () => {
    fields().forEach((field, place) => {
      field.value = task().example[place];
    });
    by("ask").focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  state.onChange(takeState);
  takeState();
});
