/* probs.js: the page of one distribution. */
(function () {
  const label = t => t.token === null ? `#${t.id}` : t.token;
  document.title = `${cut(data.prompt, 40)} · tempera probs`;
  $("prompt").textContent = data.prompt;
  $("made").textContent = [`${count(data.prompt_tokens, "token")}`, `model ${modelName(data.model)}`, data.device, data.dtype, data.build].filter(Boolean).join(" · ");
  $("next-lead").textContent = `The ${data.tokens.length} tokens that the model finds most likely. Each column is the distribution after one more step of the sampling chain.`;
  fill($("next-view"), nextBars({tokens: data.tokens.map(label), raw: data.tokens.map(t => t.logprob), entropy: data.entropy, vocab: data.vocab_size,
    stages: data.stages.map((s, i) => ({heading: data.headings[i], kept: s.kept, mass: s.kept_mass, logprob: s.final_logprob}))}),
  data.stages.length ? null : el("p", {class: "note"}, "No step changes anything under these settings."));
  $("plane-lead").textContent = "What the most likely token's probability would be under every pair, with all other filters off. Exact, not sampled.";
  fill($("plane-view"), planeView({temperature: data.plane.temperature, top_p: data.plane.top_p, logprob: data.plane_logprob, kept: data.plane_kept}));
  whenDrawn(() => { document.documentElement.dataset.ready = performance.now().toFixed(1); });
})();
