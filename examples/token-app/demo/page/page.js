"use strict";

const at = (id) => document.getElementById(id);

async function text(answer) {
  const body = await answer.text();
  if (!answer.ok) {
    throw new Error(`${answer.status}: ${body}`);
  }
  return body;
}

// The work header has "KIND WORKER MILLISECONDS" for each job.
function showWork(header) {
  at("work").replaceChildren();
  for (const job of (header || "").split(", ").filter(Boolean)) {
    const words = job.split(" ");
    const row = at("work").insertRow();
    for (const cell of [words[0], words.slice(1, -1).join(" "), words[words.length - 1]]) {
      row.insertCell().textContent = cell;
    }
  }
}

async function signIn() {
  const service = at("service").value;
  const kind = at("with").value;
  const query = new URLSearchParams({ name: at("name").value, service });
  const credentials = await text(await fetch(`/demo/${kind}?${query}`));
  const scheme = kind === "bearer" ? "Bearer" : "BrowserID";
  const answer = await fetch(`/1.0/${service.replace("-", "/")}`, { headers: { Authorization: `${scheme} ${credentials}` } });
  const work = answer.headers.get("X-Demo-Work");
  const given = JSON.parse(await text(answer));
  const opened = JSON.parse(await text(await fetch("/demo/open", { method: "POST", body: JSON.stringify({ service, token: given.id }) })));
  at("node").textContent = opened.node;
  at("endpoint").textContent = given.api_endpoint;
  at("duration").textContent = `${given.duration} seconds`;
  at("token").textContent = given.id;
  at("key").textContent = given.key;
  at("form").textContent = opened.form;
  at("payload").textContent = JSON.stringify(opened.payload, null, 2);
  showWork(work);
}

at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("status").className = "";
  at("status").textContent = "…";
  at("result").hidden = true;
  try {
    await signIn();
    at("status").textContent = "";
    at("result").hidden = false;
  } catch (wrong) {
    at("status").className = "wrong";
    at("status").textContent = wrong.message;
  }
});
