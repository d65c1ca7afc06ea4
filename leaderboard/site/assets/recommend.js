// What to take within a budget, computed in the page: the same as leaderboard/recommend.py, to which a test holds it.
// `zoobench.recommend(found, budget)` is pure. `found` is one class of hardware of `zoobench.data.recommend.places`, with
// `ties` unpacked: `candidates`, best first, as [row, rank, [latency, memory, training, parameters], estimated (bits),
// barred]; a cost that is null was not measured, and is within no limit. `budget` has a limit or null for each cost.
(() => {
  const COSTS = ["latency_ms", "memory_gb", "train_s", "parameters"];
  const WEIGHED = 3; // costs of the Pareto front; parameters alone cost nobody anything
  const TIED = 1;
  const UNKNOWN = 2;

  const costOf = (candidate, place) => candidate[2][place] ?? Infinity;

  // Two bits a pair of rows, the pairs below the diagonal row by row: 0 apart, 1 tied, 2 nobody can say.
  function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    return (one, other) => {
      if (one === other) return TIED;
      const [low, high] = one < other ? [one, other] : [other, one];
      const place = (high * (high - 1)) / 2 + low;
      return (bytes[place >> 2] >> (2 * (place & 3))) & 3;
    };
  }

  function beats(one, other) {
    const sides = [[one[1], other[1]]];
    for (let place = 0; place < WEIGHED; place += 1) sides.push([costOf(one, place), costOf(other, place)]);
    return sides.every(([a, b]) => a <= b) && sides.some(([a, b]) => a < b);
  }

  function cheapestFirst(candidates) {
    return (one, other) => {
      for (let place = 0; place < COSTS.length; place += 1) {
        const [a, b] = [costOf(candidates[one], place), costOf(candidates[other], place)];
        if (a !== b) return a < b ? -1 : 1;
      }
      return one - other;
    };
  }

  function nearest(excluded, limits) {
    let found = null;
    for (const each of excluded) {
      const factor = Math.max(...each.over.map(([name, cost]) => cost / limits.get(name)));
      if (factor < Infinity && (found === null || factor < found.factor)) found = { ...each, factor };
    }
    return found && { place: found.place, over: found.over };
  }

  function recommend({ candidates, ties }, budget) {
    const limits = new Map(COSTS.filter((name) => budget[name] != null).map((name) => [name, budget[name]]));
    const places = candidates.map((_, place) => place);
    const barred = places.filter((place) => candidates[place][4]);
    const excluded = [];
    const within = [];
    for (const place of places.filter((each) => !candidates[each][4])) {
      const over = [...limits]
        .map(([name, limit]) => [name, costOf(candidates[place], COSTS.indexOf(name)), limit])
        .filter(([, cost, limit]) => cost > limit)
        .map(([name, cost]) => [name, cost]);
      if (over.length) excluded.push({ place, over });
      else within.push(place);
    }
    if (!within.length) {
      return { best: null, recommended: [], untold: [], front: [], excluded, barred, nearest: nearest(excluded, limits) };
    }
    const best = within[0];
    const told = (place) => (place === best ? TIED : ties(candidates[place][0], candidates[best][0]));
    return {
      best,
      recommended: within.filter((place) => told(place) === TIED).sort(cheapestFirst(candidates)),
      untold: within.filter((place) => told(place) === UNKNOWN),
      front: within.filter((place) => !within.some((other) => beats(candidates[other], candidates[place]))),
      excluded,
      barred,
      nearest: null,
    };
  }

  zoobench.recommend = recommend;
  zoobench.recommend.unpack = unpack;
  zoobench.recommend.COSTS = COSTS;
})();
