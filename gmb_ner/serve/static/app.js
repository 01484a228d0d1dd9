"use strict";
(function () {
  var EXAMPLES = {
    "News": "President Ada Lin met Kenyan officials in Nairobi on Monday to discuss the drought that has struck the Horn of Africa since 2009.",
    "Business": "Shares of Fjordline Capital fell in Oslo after the World Bank cut its forecast on Tuesday.",
    "Events": "Thousands fled before Hurricane Katrina reached New Orleans in August 2005, the Red Cross said."
  };
  var el = function (id) { return document.getElementById(id); };
  var text = el("text"), threshold = el("threshold"), scheme = el("scheme"), labels = el("labels");
  var state = { model: null, answer: null, timer: 0, request: null };

  function say(message, wrong) {
    el("status").textContent = message;
    el("status").classList.toggle("wrong", Boolean(wrong));
  }

  function problem(response) {
    return response.json().then(
      function (body) { return body.detail || "status " + response.status; },
      function () { return "status " + response.status; });
  }

  function showLabels() {
    labels.replaceChildren();
    var colors = state.model.schemes[scheme.value];
    Object.keys(colors).forEach(function (name) {
      var chip = document.createElement("label"), box = document.createElement("input");
      chip.className = "chip";
      chip.style.background = colors[name];
      chip.title = state.model.labels[name] || "";
      box.type = "checkbox";
      box.value = name;
      box.checked = true;
      box.addEventListener("change", soon);
      chip.append(box, name);
      labels.append(chip);
    });
  }

  function chosen() {
    return Array.from(labels.querySelectorAll("input:checked")).map(function (box) { return box.value; });
  }

  function show(answer) {
    // The service escapes the text and the labels: what comes back holds no element of theirs.
    el("marked").innerHTML = answer.html;
    var rows = answer.entities.map(function (entity) {
      var row = document.createElement("tr");
      var sure = entity.confidence === null ? "" : entity.confidence.toFixed(3);
      [entity.text, entity.label, sure, entity.start + " to " + entity.end].forEach(function (value) {
        row.insertCell().textContent = value;
      });
      return row;
    });
    el("rows").replaceChildren.apply(el("rows"), rows);
    el("table").hidden = !rows.length;
    el("copy").disabled = false;
    say(rows.length + (rows.length === 1 ? " entity" : " entities"));
  }

  function ask() {
    if (state.request) { state.request.abort(); }
    if (!text.value.trim()) {
      state.answer = null;
      el("marked").textContent = "";
      el("table").hidden = true;
      el("copy").disabled = true;
      say("Nothing to read yet.");
      return;
    }
    var request = state.request = new AbortController();
    fetch("v1/entities", {
      method: "POST",
      signal: request.signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        text: text.value, threshold: Number(threshold.value), labels: chosen(), scheme: scheme.value, html: true
      })
    }).then(function (response) {
      if (!response.ok) { return problem(response).then(function (detail) { throw new Error(detail); }); }
      return response.json();
    }).then(function (body) {
      state.answer = body.results[0];
      show(state.answer);
    }).catch(function (error) {
      if (error.name !== "AbortError") { say(error.message || "The service does not answer.", true); }
    });
  }

  function soon() {
    clearTimeout(state.timer);
    state.timer = setTimeout(ask, 250);
  }

  function open(file) {
    if (!file) { return; }
    if (state.model && file.size > state.model.limits.text_chars * 4) {
      say(file.name + " is too large: at most " + state.model.limits.text_chars + " characters.", true);
      return;
    }
    file.text().then(function (content) { text.value = content; ask(); },
      function () { say(file.name + " cannot be read.", true); });
  }

  text.addEventListener("input", soon);
  threshold.addEventListener("input", function () {
    el("threshold-shown").textContent = Number(threshold.value).toFixed(2);
    soon();
  });
  scheme.addEventListener("change", function () { showLabels(); ask(); });
  el("file").addEventListener("change", function (event) { open(event.target.files[0]); });
  text.addEventListener("dragover", function (event) { event.preventDefault(); text.classList.add("over"); });
  text.addEventListener("dragleave", function () { text.classList.remove("over"); });
  text.addEventListener("drop", function (event) {
    text.classList.remove("over");
    if (event.dataTransfer.files.length) { event.preventDefault(); open(event.dataTransfer.files[0]); }
  });
  el("copy").addEventListener("click", function () {
    var json = JSON.stringify({ text: text.value, entities: state.answer.entities }, null, 2);
    navigator.clipboard.writeText(json).then(
      function () { say("Copied."); },
      function () { say("The browser does not allow copying here.", true); });
  });
  Object.keys(EXAMPLES).forEach(function (name) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", function () { text.value = EXAMPLES[name]; ask(); });
    el("examples").append(button);
  });
  fetch("v1/model").then(function (response) {
    if (!response.ok) { return problem(response).then(function (detail) { throw new Error(detail); }); }
    return response.json();
  }).then(function (model) {
    state.model = model;
    el("model").textContent = model.name;
    showLabels();
    text.value = EXAMPLES.News;
    ask();
  }).catch(function (error) { say(error.message || "The service does not answer.", true); });
})();
